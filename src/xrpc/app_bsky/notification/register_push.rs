//! app.bsky.notification.registerPush: orders push notifications for a device.

use axum::extract::State;
use serde_json::Value;

use super::hand_on;
use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError},
};

pub(super) async fn register_push(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<Value>,
) -> Result<(), XrpcError> {
    hand_on(&app, &caller, "app.bsky.notification.registerPush", &input).await
}
