//! The XRPC error answer: status and `{"error", "message"}` (XR-3). Causes go to the log, never to the client.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::store::StoreError;

/// When a client that was refused for lack of room should come back, in seconds.
const BUSY_RETRY_SECS: &str = "30";

/// An error answer.
#[derive(Debug)]
pub struct XrpcError {
    status: StatusCode,
    error: String,
    message: String,
    challenge: &'static str,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl XrpcError {
    /// `error` is a name of the lexicon or of the reference's status table.
    pub fn new(status: StatusCode, error: &str, message: impl std::fmt::Display) -> XrpcError {
        XrpcError {
            status,
            error: error.to_owned(),
            message: message.to_string(),
            challenge: "Bearer",
            source: None,
        }
    }

    /// 400 with a name of its own.
    pub fn bad_request(error: &str, message: impl std::fmt::Display) -> XrpcError {
        XrpcError::new(StatusCode::BAD_REQUEST, error, message)
    }

    /// 400 `InvalidRequest`.
    pub fn invalid_request(message: impl std::fmt::Display) -> XrpcError {
        XrpcError::bad_request("InvalidRequest", message)
    }

    /// 401 with a name of its own; the answer carries `WWW-Authenticate` (XR-6).
    pub fn unauthorized(error: &str, message: impl std::fmt::Display) -> XrpcError {
        XrpcError::new(StatusCode::UNAUTHORIZED, error, message)
    }

    /// 401 `AuthenticationRequired`.
    pub fn authentication_required(message: impl std::fmt::Display) -> XrpcError {
        XrpcError::unauthorized("AuthenticationRequired", message)
    }

    /// 403 with a name of its own.
    pub fn forbidden(error: &str, message: impl std::fmt::Display) -> XrpcError {
        XrpcError::new(StatusCode::FORBIDDEN, error, message)
    }

    /// 413 of a JSON body. Binary bodies use the name `PayloadTooLarge` with the same message.
    pub fn payload_too_large() -> XrpcError {
        XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeError", "request entity too large")
    }

    /// 501: a method that this server does not have (XR-2).
    pub fn method_not_implemented() -> XrpcError {
        XrpcError::new(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", "Method Not Implemented")
    }

    /// 503: a bounded resource is used up for the moment, or the server is stopping.
    pub fn busy(message: impl std::fmt::Display) -> XrpcError {
        XrpcError::new(StatusCode::SERVICE_UNAVAILABLE, "NotEnoughResources", message)
    }

    /// 502: another server failed us.
    pub fn upstream_failure(message: impl std::fmt::Display) -> XrpcError {
        XrpcError::new(StatusCode::BAD_GATEWAY, "UpstreamFailure", message)
    }

    /// 500; the client sees a fixed text, the log the cause.
    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> XrpcError {
        XrpcError { source: Some(Box::new(source)), ..XrpcError::panicked() }
    }

    /// The fixed 500 of a handler that panicked.
    pub(super) fn panicked() -> XrpcError {
        XrpcError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error")
    }

    /// The same error with another `WWW-Authenticate` challenge than `Bearer`.
    pub(super) fn challenge(self, challenge: &'static str) -> XrpcError {
        XrpcError { challenge, ..self }
    }

    /// The status that the client sees.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The name that the client sees.
    pub fn name(&self) -> &str {
        &self.error
    }
}

impl From<StoreError> for XrpcError {
    fn from(error: StoreError) -> XrpcError {
        match error {
            StoreError::Busy | StoreError::Closed => XrpcError::busy(error),
            error => XrpcError::internal(error),
        }
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        if let Some(source) = &self.source {
            tracing::error!(error = %source, debug = ?source, "a request failed on our side");
        }
        let body = Json(serde_json::json!({ "error": self.error, "message": self.message }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(BUSY_RETRY_SECS));
        }
        response
    }
}
