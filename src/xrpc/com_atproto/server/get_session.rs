//! com.atproto.server.getSession: whose token this is.

use axum::Json;

use super::AccountView;
use crate::xrpc::{Caller, XrpcError, caller::StandardOrQueued};

/// Deactivated accounts get an answer that says so (AC-4); taken-down ones are refused.
pub(super) async fn get_session(caller: Caller<StandardOrQueued>) -> Result<Json<AccountView>, XrpcError> {
    caller.require_not_takendown()?;
    Ok(Json(AccountView::from(&caller.account)))
}
