//! com.atproto.repo.applyWrites: several writes in one commit, all or none (RP-17).

use atproto::{
    data::Value,
    syntax::{AtIdentifier, Did, Nsid, RecordKey},
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{CidText, CommitMetaOutput, record_uri, validation_word, write};
use crate::{
    app::App,
    service::{
        rate_limit::{RECORD_CREATE_POINTS, RECORD_DELETE_POINTS, RECORD_UPDATE_POINTS},
        repo::write::{Swap, Validation, Write, WriteRequest, Written},
    },
    xrpc::{Charges, Input, Session, WRITE_INPUT_BYTES_MAX, XrpcError},
};

/// Creating over a record, and updating or deleting none, are errors that undo the whole request.
pub(super) async fn apply_writes(
    State(app): State<App>,
    session: Session,
    charges: Charges,
    Input(input): Input<ApplyWritesInput, WRITE_INPUT_BYTES_MAX>,
) -> Result<Json<ApplyWritesOutput>, XrpcError> {
    let points = input.writes.iter().map(|write| write.kind().points()).sum();
    charges.charge_writes(&session.did, points)?;
    let kinds: Vec<Kind> = input.writes.iter().map(WriteInput::kind).collect();
    let request = WriteRequest {
        writes: input.writes.into_iter().map(Write::from).collect(),
        validation: Validation::from_flag(input.validate),
        swap_commit: input.swap_commit.map(|cid| cid.0),
    };
    let applied = write(&app, &session, &input.repo, request).await?;
    Ok(Json(ApplyWritesOutput {
        commit: applied.commit.map(CommitMetaOutput::from),
        results: kinds
            .into_iter()
            .zip(applied.results)
            .map(|(kind, written)| WriteResult::of(&session.did, kind, written))
            .collect(),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplyWritesInput {
    repo: AtIdentifier,
    validate: Option<bool>,
    writes: Vec<WriteInput>,
    swap_commit: Option<CidText>,
}

/// A closed union: any other `$type` is an error.
#[derive(Deserialize)]
#[serde(tag = "$type")]
enum WriteInput {
    #[serde(rename = "com.atproto.repo.applyWrites#create")]
    Create { collection: Nsid, rkey: Option<RecordKey>, value: Value },
    #[serde(rename = "com.atproto.repo.applyWrites#update")]
    Update { collection: Nsid, rkey: RecordKey, value: Value },
    #[serde(rename = "com.atproto.repo.applyWrites#delete")]
    Delete { collection: Nsid, rkey: RecordKey },
}

#[derive(Clone, Copy)]
enum Kind {
    Create,
    Update,
    Delete,
}

impl Kind {
    /// What it costs the account.
    fn points(self) -> u32 {
        match self {
            Kind::Create => RECORD_CREATE_POINTS,
            Kind::Update => RECORD_UPDATE_POINTS,
            Kind::Delete => RECORD_DELETE_POINTS,
        }
    }
}

impl WriteInput {
    fn kind(&self) -> Kind {
        match self {
            WriteInput::Create { .. } => Kind::Create,
            WriteInput::Update { .. } => Kind::Update,
            WriteInput::Delete { .. } => Kind::Delete,
        }
    }
}

impl From<WriteInput> for Write {
    fn from(write: WriteInput) -> Write {
        match write {
            WriteInput::Create { collection, rkey, value } => {
                Write::Create { collection, rkey, record: value, replace_duplicates: false }
            }
            WriteInput::Update { collection, rkey, value } => {
                Write::Update { collection, rkey, record: value }
            }
            WriteInput::Delete { collection, rkey } => {
                Write::Delete { collection, rkey, must_exist: true, swap_record: Swap::Any }
            }
        }
    }
}

#[derive(Serialize)]
pub(super) struct ApplyWritesOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMetaOutput>,
    results: Vec<WriteResult>,
}

#[derive(Serialize)]
#[serde(tag = "$type")]
enum WriteResult {
    #[serde(rename = "com.atproto.repo.applyWrites#createResult")]
    Create(RecordResult),
    #[serde(rename = "com.atproto.repo.applyWrites#updateResult")]
    Update(RecordResult),
    #[serde(rename = "com.atproto.repo.applyWrites#deleteResult")]
    Delete {},
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordResult {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<&'static str>,
}

impl WriteResult {
    fn of(did: &Did, kind: Kind, written: Written) -> WriteResult {
        let record = || RecordResult {
            uri: record_uri(did, &written.path),
            cid: written.cid.map(|cid| cid.to_string()),
            validation_status: written.validation_status.map(validation_word),
        };
        match kind {
            Kind::Create => WriteResult::Create(record()),
            Kind::Update => WriteResult::Update(record()),
            Kind::Delete => WriteResult::Delete {},
        }
    }
}
