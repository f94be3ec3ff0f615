//! The caller of refreshSession and deleteSession: a refresh token, which opens no other door (XR-10).

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::{
    app::App,
    service::auth::token::{Expiry, RefreshToken},
    xrpc::{
        XrpcError,
        caller::{Authorization, auth_missing, authorization},
        trace::RequestNotes,
    },
};

/// A refresh token that has not expired.
pub(super) struct Refresher(pub(super) RefreshToken);

/// A refresh token, expired or not.
pub(super) struct Leaver(pub(super) RefreshToken);

impl FromRequestParts<App> for Refresher {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Refresher, XrpcError> {
        verify(parts, app, Expiry::Enforced).map(Refresher)
    }
}

impl FromRequestParts<App> for Leaver {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Leaver, XrpcError> {
        verify(parts, app, Expiry::Ignored).map(Leaver)
    }
}

fn verify(parts: &Parts, app: &App, expiry: Expiry) -> Result<RefreshToken, XrpcError> {
    let token = match authorization(parts)? {
        // Another kind of credentials is as good as none here.
        Authorization::None | Authorization::Basic { .. } => return Err(auth_missing()),
        Authorization::Bearer(token) => app.tokens.verify_refresh(&token, expiry)?,
    };
    if let Some(notes) = parts.extensions.get::<RequestNotes>() {
        notes.set_did(&token.did);
    }
    Ok(token)
}
