//! `/.well-known/`: handles of this server (HN-7), the server's own identity (DI-11), and the did:web identities that it
//! hosts (DI-3). Which one is told by the host that was asked for.

use std::net::SocketAddr;

use atproto::{
    identity::Rendering,
    syntax::{Did, Handle},
};
use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::unavailable;
use crate::{
    app::App,
    service::client_address::is_in,
    store::{StoreError, account},
};

/// Whom the server is changes with its configuration only.
const SERVICE_DOCUMENT_KEPT: &str = "public, max-age=300";
/// What a proxy says the client asked for.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The DID of the account whose handle is the host asked for: text, and nothing else.
pub(super) async fn atproto_did(State(app): State<App>, request: Request) -> Response {
    let host = host(&app, &request);
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
        Err(error) => unavailable(&error),
    }
}

/// The document of a did:web: that of the account whose DID is the host, under our handle domains; that of the server
/// itself under any other name that leads here.
pub(super) async fn did_json(State(app): State<App>, request: Request) -> Response {
    let host = host(&app, &request);
    let service_did = &app.settings.service_did;
    let is_service = service_did.as_str().strip_prefix("did:web:") == Some(host.as_str());
    if is_service || !app.settings.is_ours(&host) {
        return service_document(&app);
    }
    let Ok(did) = Did::parse(&format!("did:web:{host}")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match app.identities.hosted(&did).await {
        Ok(Some((account, document))) if account.is_active() => Json(document.json().clone()).into_response(),
        Ok(_) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// Where the PDS service of the server's did:web is.
fn service_document(app: &App) -> Response {
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
    ([(header::CACHE_CONTROL, SERVICE_DOCUMENT_KEPT)], Json(document.to_json())).into_response()
}

/// The host that the client asked for, in lower case, without port. A proxy that is trusted says it in a header of its
/// own; from anybody else that header means nothing.
fn host(app: &App, request: &Request) -> String {
    let headers = request.headers();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let forwarded = headers
        .get(FORWARDED_HOST)
        .filter(|_| peer.is_some_and(|peer| is_in(peer.to_canonical(), &app.settings.trusted_proxies)));
    let named = forwarded.or_else(|| headers.get(header::HOST)).and_then(|host| host.to_str().ok());
    // HTTP/2 names the host in the address.
    let host = named.or_else(|| request.uri().host()).unwrap_or_default();
    let first = host.split(',').next().unwrap_or_default().trim();
    first.split(':').next().unwrap_or_default().to_ascii_lowercase()
}
