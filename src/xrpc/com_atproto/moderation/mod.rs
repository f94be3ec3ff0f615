//! com.atproto.moderation.*: reports, which a moderation service takes.

mod create_report;

use axum::Router;

use crate::{app::App, xrpc::procedure};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/xrpc/com.atproto.moderation.createReport", procedure(create_report::create_report))
}
