//! com.atproto.repo.deleteRecord: removes one record. Removing nothing is fine and makes no commit (XR-16).

use atproto::syntax::{AtIdentifier, Nsid, RecordKey};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{CidText, CommitMetaOutput, write};
use crate::{
    app::App,
    service::{
        rate_limit::RECORD_DELETE_POINTS,
        repo::write::{Swap, Validation, Write, WriteRequest},
    },
    xrpc::{Charges, Input, Session, XrpcError},
};

pub(super) async fn delete_record(
    State(app): State<App>,
    session: Session,
    charges: Charges,
    Input(input): Input<DeleteRecordInput>,
) -> Result<Json<DeleteRecordOutput>, XrpcError> {
    charges.charge_writes(&session.did, RECORD_DELETE_POINTS)?;
    let request = WriteRequest {
        writes: vec![Write::Delete {
            collection: input.collection,
            rkey: input.rkey,
            must_exist: false,
            swap_record: input.swap_record.map_or(Swap::Any, |CidText(cid)| Swap::Is(cid)),
        }],
        validation: Validation::IfKnown,
        swap_commit: input.swap_commit.map(|cid| cid.0),
    };
    let applied = write(&app, &session, &input.repo, request).await?;
    Ok(Json(DeleteRecordOutput { commit: applied.commit.map(CommitMetaOutput::from) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteRecordInput {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    swap_record: Option<CidText>,
    swap_commit: Option<CidText>,
}

#[derive(Serialize)]
pub(super) struct DeleteRecordOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitMetaOutput>,
}
