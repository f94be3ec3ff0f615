//! com.atproto.server.listAppPasswords: names, never secrets.

use atproto::syntax::Datetime;
use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    app::App,
    store::app_password::AppPassword,
    xrpc::{Caller, XrpcError},
};

/// Newest first.
pub(super) async fn list_app_passwords(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<ListAppPasswordsOutput>, XrpcError> {
    let passwords = app.app_passwords.list(caller.account.id).await?;
    Ok(Json(ListAppPasswordsOutput { passwords: passwords.into_iter().map(AppPasswordView::from).collect() }))
}

#[derive(Serialize)]
pub(super) struct ListAppPasswordsOutput {
    passwords: Vec<AppPasswordView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppPasswordView {
    name: String,
    created_at: Datetime,
    privileged: bool,
}

impl From<AppPassword> for AppPasswordView {
    fn from(app_password: AppPassword) -> AppPasswordView {
        AppPasswordView {
            name: app_password.name,
            created_at: Datetime::from_micros(app_password.created_at),
            privileged: app_password.privileged,
        }
    }
}
