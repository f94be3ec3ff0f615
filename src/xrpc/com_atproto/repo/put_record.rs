//! com.atproto.repo.putRecord: creates or replaces one record. Identical content makes no commit (XR-16).
//!
//! The reference also upgrades old-form blobs of a profile here; this server refuses them like anywhere else.

use atproto::{
    data::Value,
    syntax::{AtIdentifier, Nsid, RecordKey},
};
use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer};

use super::{CidText, create_record::WriteRecordOutput, write};
use crate::{
    app::App,
    service::{
        rate_limit::RECORD_UPDATE_POINTS,
        repo::write::{Swap, Validation, Write, WriteRequest},
    },
    xrpc::{Charges, Input, Session, WRITE_INPUT_BYTES_MAX, XrpcError},
};

pub(super) async fn put_record(
    State(app): State<App>,
    session: Session,
    charges: Charges,
    Input(input): Input<PutRecordInput, WRITE_INPUT_BYTES_MAX>,
) -> Result<Json<WriteRecordOutput>, XrpcError> {
    charges.charge_writes(&session.did, RECORD_UPDATE_POINTS)?;
    let request = WriteRequest {
        writes: vec![Write::Put {
            collection: input.collection,
            rkey: input.rkey,
            record: input.record,
            swap_record: match input.swap_record {
                None => Swap::Any,
                Some(None) => Swap::Absent,
                Some(Some(CidText(cid))) => Swap::Is(cid),
            },
        }],
        validation: Validation::from_flag(input.validate),
        swap_commit: input.swap_commit.map(|cid| cid.0),
    };
    let applied = write(&app, &session, &input.repo, request).await?;
    WriteRecordOutput::of(&session.did, applied).map(Json)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRecordInput {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    validate: Option<bool>,
    record: Value,
    /// Absent, null and a CID are three different things.
    #[serde(default, deserialize_with = "present")]
    swap_record: Option<Option<CidText>>,
    swap_commit: Option<CidText>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<CidText>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
