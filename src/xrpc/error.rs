//! The XRPC error answer: status and `{"error", "message"}` (XR-3). Causes go to the log, never to the client.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::store::{
    Cause, StoreError,
    failure::{GroupFailure, Kept, LogPace, NoRoom},
};

/// When a client that was refused for lack of room should come back, in seconds.
const BUSY_RETRY_SECS: &str = "30";
/// When one should that was refused because the disk has no room: an operator has to see to that.
const NO_ROOM_RETRY_SECS: &str = "300";

/// A disk that fails does so for every request.
static STORAGE_LOG_PACE: LogPace = LogPace::new();

/// An error answer.
#[derive(Debug)]
pub struct XrpcError {
    status: StatusCode,
    error: String,
    message: String,
    challenge: &'static str,
    retry_secs: &'static str,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl XrpcError {
    /// `error` is a name of the lexicon or of the reference's status table.
    pub fn new(status: StatusCode, error: &str, message: impl std::fmt::Display) -> XrpcError {
        XrpcError::with_message(status, error, message.to_string())
    }

    #[cold]
    fn with_message(status: StatusCode, error: &str, message: String) -> XrpcError {
        XrpcError {
            status,
            error: error.to_owned(),
            message,
            challenge: "Bearer",
            retry_secs: BUSY_RETRY_SECS,
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

    /// 500; the client sees a fixed text, the log the cause. When it is storage that failed, the text says what can be done:
    /// 503 `InsufficientStorage` for a disk without room, 500 `StorageFailure` for one that fails.
    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> XrpcError {
        let told = match Cause::of(&source) {
            Some(Cause::Full) => XrpcError {
                retry_secs: NO_ROOM_RETRY_SECS,
                ..XrpcError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "InsufficientStorage",
                    storage_message(&source, "the server has no disk space left for this"),
                )
            },
            Some(Cause::Disk) => XrpcError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "StorageFailure",
                storage_message(&source, "the server's disk failed"),
            ),
            Some(Cause::Busy) => XrpcError::busy("the server is busy, try again in a few seconds"),
            Some(Cause::Program) | None => XrpcError::panicked(),
        };
        XrpcError { source: Some(Box::new(source)), ..told }
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

/// What the client can do about it. Paths and what the system said are for the log.
fn storage_message(source: &(dyn std::error::Error + 'static), what: &str) -> String {
    match GroupFailure::of(source).map(|failure| failure.kept) {
        Some(Kept::Unknown) => format!(
            "{what}, and whether the request was carried out is not certain until it works again: look before you repeat it"
        ),
        _ => format!(
            "{what}; the request was not carried out. Try again later, and tell the operator if it goes on"
        ),
    }
}

/// Logs what went wrong on our side, unless the store has said it already.
fn log(source: &(dyn std::error::Error + Send + Sync + 'static)) {
    if GroupFailure::of(source).is_some() || NoRoom::of(source).is_some() {
        return;
    }
    match Cause::of(source) {
        None | Some(Cause::Program) => {
            tracing::error!(error = %source, debug = ?source, "a request failed on our side");
        }
        Some(cause) => {
            if let Some(held_back) = STORAGE_LOG_PACE.pass() {
                tracing::error!(error = %source, ?cause, held_back, "a request failed by the disk");
            }
        }
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        if let Some(source) = &self.source {
            log(&**source);
        }
        let body = Json(serde_json::json!({ "error": self.error, "message": self.message }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(self.retry_secs));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn told(error: StoreError) -> (u16, String, String) {
        let error = XrpcError::from(error);
        (error.status.as_u16(), error.error.clone(), error.message.clone())
    }

    #[test]
    fn a_client_is_told_what_can_be_done_about_a_disk_and_no_path() {
        let file = |errno| StoreError::File {
            path: "/srv/secret/blobs/1/x".into(),
            source: std::io::Error::from_raw_os_error(errno),
        };
        let group =
            |cause, kept| StoreError::GroupFailed(GroupFailure { cause, kept, why: "/srv/secret".into() });
        for (error, status, name) in [
            (file(28), 503, "InsufficientStorage"),
            (StoreError::NoRoom(NoRoom { free_bytes: 1, reserve_bytes: 2 }), 503, "InsufficientStorage"),
            (group(Cause::Full, Kept::Nothing), 503, "InsufficientStorage"),
            (file(5), 500, "StorageFailure"),
            (file(13), 500, "StorageFailure"),
            (group(Cause::Disk, Kept::Nothing), 500, "StorageFailure"),
            (group(Cause::Busy, Kept::Nothing), 503, "NotEnoughResources"),
            (group(Cause::Program, Kept::Nothing), 500, "InternalServerError"),
            (StoreError::Busy, 503, "NotEnoughResources"),
            (StoreError::NotCommitted("a mistake".into()), 500, "InternalServerError"),
        ] {
            let (was_status, was_name, message) = told(error);
            assert_eq!((was_status, was_name.as_str()), (status, name));
            assert!(!message.contains("secret"), "{message}");
        }
        let (_, _, message) = told(group(Cause::Disk, Kept::Unknown));
        assert!(message.contains("not certain"), "{message}");
        let (_, _, message) = told(group(Cause::Disk, Kept::Nothing));
        assert!(message.contains("was not carried out"), "{message}");
    }
}
