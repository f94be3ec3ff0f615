//! com.atproto.admin.sendEmail: a moderator writes to the owner of an account.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::mail::{
        Sender,
        smtp::SmtpError,
        template::{SUBJECT_CHARS_MAX, from_html},
    },
    xrpc::{Input, Moderator, XrpcError},
};

/// What a message without a subject has as its subject.
const SUBJECT_DEFAULT: &str = "Message via your PDS";

/// `content` is HTML. Answers when the mail server has taken the mail, or when it is in the outbox of a server that sends
/// none; 502 `UpstreamFailure` when the mail server does not take it. `senderDid` and `comment` are for the moderators' own
/// records and are not kept here.
pub(super) async fn send_email(
    State(app): State<App>,
    _: Moderator,
    Input(input): Input<SendEmailInput>,
) -> Result<Json<SendEmailOutput>, XrpcError> {
    let subject = input.subject.unwrap_or_else(|| SUBJECT_DEFAULT.to_owned());
    if subject.chars().count() > SUBJECT_CHARS_MAX || subject.chars().any(char::is_control) {
        return Err(XrpcError::invalid_request(format_args!(
            "subject must be one line of at most {SUBJECT_CHARS_MAX} characters"
        )));
    }
    let account = app
        .accounts
        .find(&input.recipient_did)
        .await?
        .ok_or_else(|| XrpcError::invalid_request("Recipient not found"))?;
    let to =
        account.email.ok_or_else(|| XrpcError::invalid_request("account does not have an email address"))?;
    app.mailer.send_now(from_html(&to, &subject, &input.content), Sender::Moderation).await?;
    Ok(Json(SendEmailOutput { sent: true }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendEmailInput {
    recipient_did: Did,
    content: String,
    subject: Option<String>,
    #[serde(rename = "senderDid")]
    _sender_did: Did,
}

#[derive(Serialize)]
pub(super) struct SendEmailOutput {
    sent: bool,
}

impl From<SmtpError> for XrpcError {
    fn from(error: SmtpError) -> XrpcError {
        match error {
            SmtpError::Compose(_) => XrpcError::invalid_request(error),
            SmtpError::Stopping => XrpcError::busy(error),
            _ => XrpcError::upstream_failure(error),
        }
    }
}
