//! com.atproto.server.createSession: sign in with handle, DID or email address and password.

use axum::{Json, extract::State};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::SessionView;
use crate::{
    app::App,
    service::auth::session::TakendownSignIn,
    xrpc::{Charges, Input, XrpcError},
};

/// Unknown accounts and wrong passwords get the same answer after the same time. `authFactorToken` is not read.
pub(super) async fn create_session(
    State(app): State<App>,
    charges: Charges,
    Input(input): Input<CreateSessionInput>,
) -> Result<Json<SessionView>, XrpcError> {
    charges.charge_sign_in(&input.identifier)?;
    let takendown =
        if input.allow_takendown == Some(true) { TakendownSignIn::Limited } else { TakendownSignIn::Refused };
    let session = app.sessions.sign_in(&input.identifier, Zeroizing::new(input.password), takendown).await?;
    Ok(Json(session.into()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateSessionInput {
    identifier: String,
    password: String,
    allow_takendown: Option<bool>,
}
