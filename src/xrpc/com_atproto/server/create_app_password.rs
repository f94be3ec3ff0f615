//! com.atproto.server.createAppPassword: a password for one program, shown once (XR-11).

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::list_app_passwords::AppPasswordView;
use crate::{
    app::App,
    service::auth::app_password::{AppPasswordError, Reach},
    xrpc::{Caller, Input, XrpcError, caller::FullAccess},
};

/// Programs that signed in with an app password cannot make more of them.
pub(super) async fn create_app_password(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    Input(input): Input<CreateAppPasswordInput>,
) -> Result<Json<CreateAppPasswordOutput>, XrpcError> {
    caller.require_not_takendown()?;
    let reach = if input.privileged == Some(true) { Reach::Privileged } else { Reach::Normal };
    let made = app.app_passwords.create(&caller.account, input.name, reach).await?;
    Ok(Json(CreateAppPasswordOutput {
        password: made.secret.to_string(),
        app_password: made.app_password.into(),
    }))
}

#[derive(Deserialize)]
pub(super) struct CreateAppPasswordInput {
    name: String,
    privileged: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct CreateAppPasswordOutput {
    password: String,
    #[serde(flatten)]
    app_password: AppPasswordView,
}

impl From<AppPasswordError> for XrpcError {
    fn from(error: AppPasswordError) -> XrpcError {
        match error {
            AppPasswordError::Name | AppPasswordError::NameTaken(_) | AppPasswordError::TooMany => {
                XrpcError::invalid_request(error)
            }
            AppPasswordError::Store(error) => error.into(),
        }
    }
}
