//! com.atproto.temp.checkSignupQueue: whether the account is let in yet.

use axum::Json;
use serde::Serialize;

use crate::xrpc::{Caller, caller::StandardOrQueued};

/// Nobody waits here: an account that exists has been let in.
pub(super) async fn check_signup_queue(_: Caller<StandardOrQueued>) -> Json<CheckSignupQueueOutput> {
    Json(CheckSignupQueueOutput { activated: true })
}

#[derive(Serialize)]
pub(super) struct CheckSignupQueueOutput {
    activated: bool,
}
