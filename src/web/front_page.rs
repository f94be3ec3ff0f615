//! `/`: says to a person with a browser what this is.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::app::App;

const TEMPLATE: &str = include_str!("front_page.html");

/// The page. It needs nothing from anywhere else, and its policy says so.
pub(super) async fn front_page(State(app): State<App>) -> Response {
    let page = TEMPLATE
        .replace("{{host}}", &escape(&app.settings.hostname))
        .replace("{{did}}", &escape(app.settings.service_did.as_str()))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for outside in ["<script", "<link", "<img", "@import", "url("] {
            assert!(!TEMPLATE.contains(outside), "{outside}");
        }
    }

    #[test]
    fn text_from_the_configuration_stays_text() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
