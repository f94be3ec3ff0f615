//! app.bsky.actor.getPreferences: the private settings that apps keep with an account.

use atproto::syntax::Did;
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    app::App,
    service::{auth::service_token, preferences::Access},
    store::{StoreError, account},
    xrpc::{
        Caller, Params, XrpcError,
        app_bsky::ask,
        caller::{Moderator, StandardOrTakendown},
        proxy::{pass_on, proxy_header},
    },
};

const NSID: &str = "app.bsky.actor.getPreferences";

/// The caller's own; for the moderation service, those of the account `did`. With an `atproto-proxy` header for some other
/// AppView, that one's.
pub(super) async fn get_preferences(
    State(app): State<App>,
    Params(params): Params<GetPreferencesParams>,
    mut parts: Parts,
) -> Result<Response, XrpcError> {
    let header = proxy_header(&parts.headers)?.map(str::to_owned);
    let is_ours = app.proxy.is_for_appview(header.as_deref());
    if is_moderation_service(&app, &mut parts).await {
        if !is_ours {
            let message = "Moderator requests cannot be proxied to other app views";
            return Err(XrpcError::invalid_request(message));
        }
        let did = params.did.and_then(|did| Did::parse(&did).ok());
        let did = did.ok_or_else(|| XrpcError::invalid_request("Invalid or missing did parameter"))?;
        let account = app.store.read(move |db| account::get_by_did(db, &did)).await;
        let account = account
            .map_err(|error: StoreError| XrpcError::from(error))?
            .ok_or_else(|| XrpcError::bad_request("NotFound", "Repo not found"))?;
        return answer(&app, account.id, Access::Full).await;
    }
    let caller: Caller<StandardOrTakendown> = Caller::from_request_parts(&mut parts, &app).await?;
    if !is_ours {
        return pass_on(ask(&app, &caller, &parts, NSID).await?);
    }
    answer(&app, caller.account.id, Access::of(caller.scope)).await
}

async fn answer(app: &App, account_id: i64, access: Access) -> Result<Response, XrpcError> {
    let preferences = app.preferences.get(account_id, access).await?;
    Ok(Json(json!({ "preferences": preferences })).into_response())
}

/// True when the token is one between services and the moderation service has signed it. Any other token is left to
/// [`Caller`], which says what is wrong with it.
async fn is_moderation_service(app: &App, parts: &mut Parts) -> bool {
    let token = parts.headers.get(header::AUTHORIZATION).and_then(|header| header.to_str().ok());
    let token = token.and_then(|header| header.split_once(' ')).map(|(_, token)| token);
    let names_a_method =
        token.and_then(service_token::unverified_claims).is_some_and(|claims| claims.contains_key("lxm"));
    names_a_method
        && app.settings.mod_service.is_some()
        && Moderator::from_request_parts(parts, app).await.is_ok()
}

#[derive(Deserialize)]
pub(super) struct GetPreferencesParams {
    /// Only the moderation service gives it.
    did: Option<String>,
}
