//! com.atproto.repo.createRecord: one new record in the caller's repository.

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
        rate_limit::RECORD_CREATE_POINTS,
        repo::write::{Applied, Validation, Write, WriteRequest},
    },
    xrpc::{Charges, Input, Session, WRITE_INPUT_BYTES_MAX, XrpcError},
};

/// A like, repost, follow or block replaces those about the same thing, unless validation is off.
pub(super) async fn create_record(
    State(app): State<App>,
    session: Session,
    charges: Charges,
    Input(input): Input<CreateRecordInput, WRITE_INPUT_BYTES_MAX>,
) -> Result<Json<WriteRecordOutput>, XrpcError> {
    charges.charge_writes(&session.did, RECORD_CREATE_POINTS)?;
    let validation = Validation::from_flag(input.validate);
    let request = WriteRequest {
        writes: vec![Write::Create {
            collection: input.collection,
            rkey: input.rkey,
            record: input.record,
            replace_duplicates: validation != Validation::Skip,
        }],
        validation,
        swap_commit: input.swap_commit.map(|cid| cid.0),
    };
    let applied = write(&app, &session, &input.repo, request).await?;
    WriteRecordOutput::of(&session.did, applied).map(Json)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRecordInput {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: Option<RecordKey>,
    validate: Option<bool>,
    record: Value,
    swap_commit: Option<CidText>,
}

/// What createRecord and putRecord answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WriteRecordOutput {
    uri: String,
    cid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMetaOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<&'static str>,
}

impl WriteRecordOutput {
    /// From a request of one write that leaves a record.
    pub(super) fn of(did: &Did, applied: Applied) -> Result<WriteRecordOutput, XrpcError> {
        let written = applied.results.into_iter().next();
        let written =
            written.and_then(|written| Some((written.path, written.cid?, written.validation_status)));
        let Some((path, cid, status)) = written else {
            return Err(XrpcError::internal(std::io::Error::other("a write of one record has no result")));
        };
        Ok(WriteRecordOutput {
            uri: record_uri(did, &path),
            cid: cid.to_string(),
            commit: applied.commit.map(CommitMetaOutput::from),
            validation_status: status.map(validation_word),
        })
    }
}
