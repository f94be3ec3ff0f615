//! app.bsky.actor.*: profiles, completed; preferences, kept here.

mod get_preferences;
mod get_profile;
mod get_profiles;
mod put_preferences;

use axum::Router;

use crate::{
    app::App,
    service::preferences::PreferenceError,
    xrpc::{XrpcError, procedure, query},
};

/// The methods of this group that end at an AppView.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/app.bsky.actor.getProfile", query(get_profile::get_profile))
        .route("/xrpc/app.bsky.actor.getProfiles", query(get_profiles::get_profiles))
}

/// The methods of this group that do not.
pub(super) fn preferences_routes() -> Router<App> {
    Router::new()
        .route("/xrpc/app.bsky.actor.getPreferences", query(get_preferences::get_preferences))
        .route("/xrpc/app.bsky.actor.putPreferences", procedure(put_preferences::put_preferences))
}

impl From<PreferenceError> for XrpcError {
    fn from(error: PreferenceError) -> XrpcError {
        match error {
            PreferenceError::Store(error) => error.into(),
            error => XrpcError::invalid_request(error),
        }
    }
}
