//! com.atproto.admin.getSubjectStatus: is an account, record or blob taken down?

use atproto::syntax::{AtUri, Did};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::defs::{StatusAttr, SubjectRef, record_subject};
use crate::{
    app::App,
    service::moderation::Subject,
    xrpc::{Moderator, Params, XrpcError, params::CidText},
};

/// `blob` with `did`, else `uri`, else `did`. 400 `NotFound` when the subject is not here.
pub(super) async fn get_subject_status(
    State(app): State<App>,
    Params(params): Params<GetSubjectStatusParams>,
    _: Moderator,
) -> Result<Json<GetSubjectStatusOutput>, XrpcError> {
    let subject = match (&params.blob, &params.uri, &params.did) {
        (Some(CidText(cid)), _, Some(did)) => Subject::Blob { did: did.clone(), cid: *cid },
        (Some(_), _, None) => {
            return Err(XrpcError::invalid_request("Must provide a did to request blob state"));
        }
        (None, Some(uri), _) => record_subject(uri)?,
        (None, None, Some(did)) => Subject::Account(did.clone()),
        (None, None, None) => return Err(XrpcError::invalid_request("No provided subject")),
    };
    let not_found = || XrpcError::bad_request("NotFound", "Subject not found");
    let status = app.moderation.status(&subject).await?.ok_or_else(not_found)?;
    let subject = match (params.uri, status.cid) {
        (_, None) => SubjectRef::Repo { did: status.did },
        (Some(uri), Some(cid)) if params.blob.is_none() => SubjectRef::Record { uri, cid: CidText(cid) },
        (_, Some(cid)) => SubjectRef::Blob { did: status.did, cid: CidText(cid), record_uri: None },
    };
    Ok(Json(GetSubjectStatusOutput {
        subject,
        takedown: StatusAttr { applied: status.takedown_ref.is_some(), reference: status.takedown_ref },
        deactivated: status.deactivated.map(|applied| StatusAttr { applied, reference: None }),
    }))
}

#[derive(Deserialize)]
pub(super) struct GetSubjectStatusParams {
    did: Option<Did>,
    uri: Option<AtUri>,
    blob: Option<CidText>,
}

#[derive(Serialize)]
pub(super) struct GetSubjectStatusOutput {
    subject: SubjectRef,
    takedown: StatusAttr,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated: Option<StatusAttr>,
}
