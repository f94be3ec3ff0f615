//! `/.well-known/`: handles of this server (HN-7) and the server's own identity (DI-11).

use atproto::{identity::Rendering, syntax::Handle};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    store::{StoreError, account},
};

/// The DID of the account whose handle is the host asked for: text, and nothing else.
pub(super) async fn atproto_did(State(app): State<App>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let not_found = || (StatusCode::NOT_FOUND, "User not found").into_response();
    let Some(handle) =
        Some(&host).filter(|host| app.settings.is_ours(host)).and_then(|host| Handle::parse(host).ok())
    else {
        return not_found();
    };
    let found: Result<_, StoreError> = app.store.read(move |db| account::get_by_handle(db, &handle)).await;
    match found {
        Ok(Some(account)) if account.is_active() => account.did.to_string().into_response(),
        Ok(_) => not_found(),
        Err(error) => {
            tracing::error!(%error, "a handle could not be looked up");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// The document of the server's did:web: where its PDS service is.
pub(super) async fn did_json(State(app): State<App>) -> Response {
    let settings = &app.settings;
    if settings.service_did.method() != "web" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let document = Rendering {
        id: &settings.service_did,
        also_known_as: &[],
        verification_methods: &[],
        services: &[("atproto_pds", "AtprotoPersonalDataServer", &settings.public_url)],
    };
    Json(document.to_json()).into_response()
}
