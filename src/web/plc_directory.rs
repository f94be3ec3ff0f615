//! A small did:plc directory for a sandbox (PL-15), on a listener of its own: clients ask for `/<did>` at the root.
//!
//! Operations are judged as the public directory judges them; how many a DID may write is not limited but in
//! [`LOG_OPERATIONS_MAX`], for tests write more than people do.

use atproto::{
    plc::{self, LogEntry, Operation, PlcData},
    syntax::Did,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    store::{
        Store, StoreError,
        dev_plc_operation::{self, PlcOperationRow},
    },
    time::Clock,
};

/// Longest request, in bytes; operations are below 4,000 (PL-13).
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Longest log of a DID.
const LOG_OPERATIONS_MAX: usize = 1_000;

/// The directory as axum state.
#[derive(Clone)]
struct Directory {
    store: Store,
    clock: Clock,
}

/// Why the directory does not answer as asked: status and message.
#[derive(Debug, thiserror::Error)]
#[error("{0}: {1}")]
struct DirectoryError(StatusCode, String);

impl DirectoryError {
    fn bad_request(message: impl std::fmt::Display) -> DirectoryError {
        DirectoryError(StatusCode::BAD_REQUEST, message.to_string())
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> DirectoryError {
        tracing::error!(%error, "the directory's log cannot be read or written");
        DirectoryError(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error".into())
    }
}

impl IntoResponse for DirectoryError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}

/// The directory over the log in `store`.
pub fn router(store: Store, clock: Clock) -> Router {
    Router::new()
        .route("/_health", get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }))
        .route("/{did}", get(document).post(submit))
        .route("/{did}/data", get(data))
        .route("/{did}/log", get(log))
        .route("/{did}/log/audit", get(audit_log))
        .route("/{did}/log/last", get(last))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(tower_http::cors::CorsLayer::permissive())
        .with_state(Directory { store, clock })
}

async fn document(
    State(directory): State<Directory>,
    Path(did): Path<String>,
) -> Result<Json<Value>, DirectoryError> {
    let (did, data) = directory.state(&did).await?;
    Ok(Json(plc::render_document(&did, &data)))
}

async fn data(
    State(directory): State<Directory>,
    Path(did): Path<String>,
) -> Result<Json<Value>, DirectoryError> {
    let (did, data) = directory.state(&did).await?;
    Ok(Json(plc::render_data(&did, &data)))
}

async fn log(
    State(directory): State<Directory>,
    Path(did): Path<String>,
) -> Result<Json<Value>, DirectoryError> {
    let (_, log) = directory.log(&did).await?;
    Ok(Json(log.iter().filter(|entry| !entry.nullified).map(|entry| entry.operation.to_json()).collect()))
}

async fn audit_log(
    State(directory): State<Directory>,
    Path(did): Path<String>,
) -> Result<Json<Value>, DirectoryError> {
    let (did, log) = directory.log(&did).await?;
    Ok(Json(log.iter().map(|entry| entry.to_json(&did)).collect()))
}

async fn last(
    State(directory): State<Directory>,
    Path(did): Path<String>,
) -> Result<Json<Value>, DirectoryError> {
    let (did, log) = directory.log(&did).await?;
    let last = log.iter().rfind(|entry| !entry.nullified).ok_or_else(|| not_registered(&did))?;
    Ok(Json(last.operation.to_json()))
}

async fn submit(
    State(directory): State<Directory>,
    Path(did): Path<String>,
    body: Bytes,
) -> Result<StatusCode, DirectoryError> {
    let did = parse_did(&did)?;
    let json: Value = serde_json::from_slice(&body).map_err(DirectoryError::bad_request)?;
    let operation = Operation::from_json(&json).map_err(DirectoryError::bad_request)?;
    let now = directory.clock.now();
    // Reading and appending in one transaction: two operations at once cannot both follow the same one.
    directory
        .store
        .write(move |tx| {
            let log = read_log(tx, &did)?;
            if log.len() >= LOG_OPERATIONS_MAX {
                return Err(DirectoryError::bad_request("too many operations"));
            }
            let nullifies =
                plc::check_next(&did, &log, &operation, now).map_err(DirectoryError::bad_request)?;
            let row = PlcOperationRow {
                cid: operation.cid().to_string(),
                operation: operation.to_json().to_string(),
                nullified: false,
                created_at: now,
            };
            let nullifies: Vec<_> = nullifies.iter().map(ToString::to_string).collect();
            dev_plc_operation::append(tx, did.as_str(), &row, &nullifies)?;
            Ok(StatusCode::OK)
        })
        .await
}

impl Directory {
    /// The log of a registered DID.
    async fn log(&self, did: &str) -> Result<(Did, Vec<LogEntry>), DirectoryError> {
        let did = parse_did(did)?;
        let key = did.clone();
        let log = self.store.read(move |db| read_log(db, &key)).await?;
        if log.is_empty() {
            return Err(not_registered(&did));
        }
        Ok((did, log))
    }

    /// What a DID says now; 410 when it is tombstoned (DI-4).
    async fn state(&self, did: &str) -> Result<(Did, PlcData), DirectoryError> {
        let (did, log) = self.log(did).await?;
        match log.iter().rfind(|entry| !entry.nullified).and_then(|entry| entry.operation.data()) {
            Some(data) => Ok((did, data)),
            None => Err(DirectoryError(StatusCode::GONE, format!("DID not available: {did}"))),
        }
    }
}

fn parse_did(text: &str) -> Result<Did, DirectoryError> {
    Did::parse(text).map_err(DirectoryError::bad_request)
}

fn not_registered(did: &Did) -> DirectoryError {
    DirectoryError(StatusCode::NOT_FOUND, format!("DID not registered: {did}"))
}

fn read_log(db: &rusqlite::Connection, did: &Did) -> Result<Vec<LogEntry>, DirectoryError> {
    let rows = dev_plc_operation::list(db, did.as_str())?;
    rows.into_iter()
        .map(entry)
        .collect::<Option<_>>()
        .ok_or_else(|| StoreError::Corrupt { table: "dev_plc_operation", column: "operation" }.into())
}

fn entry(row: PlcOperationRow) -> Option<LogEntry> {
    let operation = Operation::from_json(&serde_json::from_str(&row.operation).ok()?).ok()?;
    Some(LogEntry {
        cid: operation.cid(),
        operation,
        nullified: row.nullified,
        created_at_micros: row.created_at,
    })
}
