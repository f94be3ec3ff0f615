//! com.atproto.admin.defs: what moderators speak of.

use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did, RepoPath};
use serde::{Deserialize, Serialize};

use crate::{
    service::{
        account::info::AccountInfo,
        moderation::{ModerationError, Subject},
    },
    xrpc::{XrpcError, com_atproto::server::defs::InviteCodeView, params::CidText},
};

/// `#accountView`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountView {
    did: Did,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// When the account was made here.
    indexed_at: Datetime,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<InviteCodeView>,
    invites: Vec<InviteCodeView>,
    invites_disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_confirmed_at: Option<Datetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated_at: Option<Datetime>,
}

impl From<AccountInfo> for AccountView {
    fn from(info: AccountInfo) -> AccountView {
        let AccountInfo { account, invited_by, invites } = info;
        AccountView {
            did: account.did,
            handle: account.handle.map_or_else(|| "handle.invalid".to_owned(), |handle| handle.to_string()),
            email: account.email,
            indexed_at: Datetime::from_micros(account.created_at),
            invited_by: invited_by.map(InviteCodeView::from),
            invites: invites.into_iter().map(InviteCodeView::from).collect(),
            invites_disabled: account.invites_disabled,
            email_confirmed_at: account.email_confirmed_at.map(Datetime::from_micros),
            deactivated_at: account.deactivated_at.map(Datetime::from_micros),
        }
    }
}

/// `#statusAttr`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct StatusAttr {
    pub(super) applied: bool,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<String>,
}

/// The union of subjects, as moderators name them and are told of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "$type")]
pub(super) enum SubjectRef {
    /// An account.
    #[serde(rename = "com.atproto.admin.defs#repoRef")]
    Repo {
        /// Whose.
        did: Did,
    },
    /// A record. The CID is not compared: what is taken down is the record, whatever its version.
    #[serde(rename = "com.atproto.repo.strongRef")]
    Record {
        /// Where it stands.
        uri: AtUri,
        /// The version that the moderator saw.
        cid: CidText,
    },
    /// A blob.
    #[serde(rename = "com.atproto.admin.defs#repoBlobRef", rename_all = "camelCase")]
    Blob {
        /// Whose.
        did: Did,
        /// Which.
        cid: CidText,
        /// A record that refers to it; for the moderator's books.
        #[serde(skip_serializing_if = "Option::is_none")]
        record_uri: Option<AtUri>,
    },
}

impl SubjectRef {
    pub(super) fn subject(&self) -> Result<Subject, XrpcError> {
        Ok(match self {
            SubjectRef::Repo { did } => Subject::Account(did.clone()),
            SubjectRef::Record { uri, .. } => record_subject(uri)?,
            SubjectRef::Blob { did, cid, .. } => Subject::Blob { did: did.clone(), cid: cid.0 },
        })
    }
}

/// 400 when the URI names no record.
pub(super) fn record_subject(uri: &AtUri) -> Result<Subject, XrpcError> {
    let no_record = || {
        XrpcError::invalid_request(format_args!("uri must name a record (at://did/collection/rkey): {uri}"))
    };
    let (collection, rkey) = uri.collection().zip(uri.rkey()).ok_or_else(no_record)?;
    Ok(Subject::Record {
        repo: AtIdentifier::parse(uri.authority()).map_err(|_| no_record())?,
        path: RepoPath::parse(&format!("{collection}/{rkey}")).map_err(|_| no_record())?,
    })
}

impl From<ModerationError> for XrpcError {
    fn from(error: ModerationError) -> XrpcError {
        match error {
            ModerationError::NoAccount(_) => XrpcError::bad_request("NotFound", error),
            ModerationError::Contradiction => XrpcError::invalid_request(error),
            ModerationError::Status(error) => error.into(),
            ModerationError::Store(error) => error.into(),
        }
    }
}
