//! Client of a did:plc directory (PL-15).

use std::sync::Arc;

use atproto::{
    plc::{LogEntry, Operation, PlcData},
    syntax::Did,
};
use serde_json::Value as Json;

use crate::service::http::{self, Answer, Http, HttpError};

/// Why the directory did not do it.
#[derive(Debug, thiserror::Error)]
pub enum PlcError {
    /// It said no, and would again.
    #[error("the did:plc directory refuses: {0}")]
    Refused(String),
    /// It failed, or could not be asked. What became of a submission is not known.
    #[error("the did:plc directory: {0}")]
    Unavailable(String),
}

impl From<HttpError> for PlcError {
    fn from(error: HttpError) -> PlcError {
        PlcError::Unavailable(error.to_string())
    }
}

/// Speaks to one directory. Cheap to clone.
#[derive(Clone)]
pub struct PlcClient {
    base_url: Arc<str>,
    http: Arc<Http>,
}

impl PlcClient {
    /// The directory at `base_url`, which has no slash at its end.
    pub fn new(base_url: &str) -> PlcClient {
        PlcClient { base_url: base_url.into(), http: Arc::new(Http::new(base_url)) }
    }

    /// Submits an operation.
    pub async fn submit(&self, did: &Did, operation: &Operation) -> Result<(), PlcError> {
        let url = format!("{}/{did}", self.base_url);
        let answer = http::send(self.http.client()?.post(url).json(&operation.to_json())).await?;
        success(answer).map(|_| ())
    }

    /// Submits an operation; when the answer is lost, the directory's log decides what became of it (PL-19).
    pub async fn submit_and_confirm(&self, did: &Did, operation: &Operation) -> Result<(), PlcError> {
        let lost = match self.submit(did, operation).await {
            Err(PlcError::Unavailable(why)) => why,
            known => return known,
        };
        let cid = operation.cid();
        match self.audit_log(did).await {
            Ok(log) if log.iter().any(|entry| entry.cid == cid) => Ok(()),
            _ => Err(PlcError::Unavailable(lost)),
        }
    }

    /// The DID document; `None` when the DID is unknown or tombstoned (DI-4).
    pub async fn document(&self, did: &Did) -> Result<Option<Json>, PlcError> {
        self.get(&format!("{did}")).await
    }

    /// The state of the DID; `None` when it is unknown or tombstoned.
    pub async fn data(&self, did: &Did) -> Result<Option<Json>, PlcError> {
        self.get(&format!("{did}/data")).await
    }

    /// As [`PlcClient::data`], read.
    pub async fn state(&self, did: &Did) -> Result<Option<PlcData>, PlcError> {
        let Some(json) = self.data(did).await? else { return Ok(None) };
        PlcData::from_json(&json)
            .map(Some)
            .map_err(|error| PlcError::Unavailable(format!("its state of {did} cannot be read: {error}")))
    }

    /// The latest operation; `None` when the DID is unknown. It may be a tombstone.
    pub async fn last_operation(&self, did: &Did) -> Result<Option<Operation>, PlcError> {
        let Some(json) = self.get(&format!("{did}/log/last")).await? else { return Ok(None) };
        Operation::from_json(&json)
            .map(Some)
            .map_err(|error| PlcError::Unavailable(format!("its last operation cannot be read: {error}")))
    }

    /// Every operation of the DID, oldest first; empty when it is unknown.
    pub async fn audit_log(&self, did: &Did) -> Result<Vec<LogEntry>, PlcError> {
        let log = self.get(&format!("{did}/log/audit")).await?.unwrap_or(Json::Array(Vec::new()));
        let malformed = |problem: String| PlcError::Unavailable(format!("its log cannot be read: {problem}"));
        let entries = log.as_array().ok_or_else(|| malformed("it is not a list".into()))?;
        entries
            .iter()
            .map(|entry| LogEntry::from_json(entry).map_err(|error| malformed(error.to_string())))
            .collect()
    }

    async fn get(&self, path: &str) -> Result<Option<Json>, PlcError> {
        let url = format!("{}/{path}", self.base_url);
        let answer = http::send(self.http.client()?.get(url)).await?;
        if matches!(answer.status.as_u16(), 404 | 410) {
            return Ok(None);
        }
        let body = success(answer)?;
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| PlcError::Unavailable(format!("its answer is not JSON: {error}")))
    }
}

fn success(answer: Answer) -> Result<Vec<u8>, PlcError> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    let message = serde_json::from_slice::<Json>(&answer.body)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "Unable to perform PLC operation".to_owned());
    if answer.status.is_client_error() && answer.status.as_u16() != 429 {
        Err(PlcError::Refused(message))
    } else {
        Err(PlcError::Unavailable(format!("{}: {message}", answer.status)))
    }
}
