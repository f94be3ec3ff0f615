//! com.atproto.identity.*

mod resolve_handle;

use axum::Router;

use crate::{app::App, xrpc::query};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/xrpc/com.atproto.identity.resolveHandle", query(resolve_handle::resolve_handle))
}
