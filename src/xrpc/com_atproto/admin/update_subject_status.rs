//! com.atproto.admin.updateSubjectStatus: takes an account, record or blob down, or gives it back; puts an account to
//! rest, or wakes it up.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::defs::{StatusAttr, SubjectRef};
use crate::{
    app::App,
    service::moderation::{Rest, Takedown},
    xrpc::{Input, Moderator, XrpcError},
};

/// Answers with what it was asked. `deactivated` says nothing of records and blobs.
pub(super) async fn update_subject_status(
    State(app): State<App>,
    _: Moderator,
    Input(input): Input<UpdateSubjectStatusInput>,
) -> Result<Json<UpdateSubjectStatusOutput>, XrpcError> {
    let UpdateSubjectStatusInput { subject, takedown, deactivated } = input;
    let wanted = takedown.clone().map(|takedown| match takedown.applied {
        true => Takedown::Apply(takedown.reference),
        false => Takedown::Lift,
    });
    let rest = deactivated.map(|deactivated| if deactivated.applied { Rest::Begin } else { Rest::End });
    app.moderation.update(&subject.subject()?, wanted, rest).await?;
    Ok(Json(UpdateSubjectStatusOutput { subject, takedown }))
}

#[derive(Deserialize)]
pub(super) struct UpdateSubjectStatusInput {
    subject: SubjectRef,
    takedown: Option<StatusAttr>,
    deactivated: Option<StatusAttr>,
}

#[derive(Serialize)]
pub(super) struct UpdateSubjectStatusOutput {
    subject: SubjectRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    takedown: Option<StatusAttr>,
}
