//! app.bsky.notification.unregisterPush: cancels the push notifications of a device.

use axum::extract::State;
use serde_json::Value;

use super::hand_on;
use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError},
};

pub(super) async fn unregister_push(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<Value>,
) -> Result<(), XrpcError> {
    hand_on(&app, &caller, "app.bsky.notification.unregisterPush", &input).await
}
