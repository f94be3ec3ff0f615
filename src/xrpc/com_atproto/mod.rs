//! com.atproto.*

pub mod admin;
pub mod identity;
pub mod moderation;
pub mod repo;
pub mod server;
pub mod sync;
pub mod temp;

use axum::Router;

use crate::app::App;

/// Every method of `com.atproto` that this server has.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .merge(admin::routes())
        .merge(identity::routes())
        .merge(moderation::routes())
        .merge(repo::routes())
        .merge(server::routes())
        .merge(sync::routes())
        .merge(temp::routes())
}
