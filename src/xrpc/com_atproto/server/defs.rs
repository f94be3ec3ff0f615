//! com.atproto.server.defs: invite codes as clients see them.

use atproto::syntax::Datetime;
use serde::Serialize;

use crate::store::invite_code::{InviteCode, InviteUse};

/// `com.atproto.server.defs#inviteCode`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::xrpc) struct InviteCodeView {
    code: String,
    /// Good for this many accounts in all, those of `uses` among them.
    available: i64,
    disabled: bool,
    for_account: String,
    created_by: String,
    created_at: Datetime,
    uses: Vec<InviteUseView>,
}

/// `com.atproto.server.defs#inviteCodeUse`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InviteUseView {
    used_by: String,
    used_at: Datetime,
}

impl From<InviteCode> for InviteCodeView {
    fn from(invite: InviteCode) -> InviteCodeView {
        InviteCodeView {
            code: invite.code,
            available: invite.available_uses,
            disabled: invite.disabled,
            for_account: invite.for_account,
            created_by: invite.created_by,
            created_at: Datetime::from_micros(invite.created_at),
            uses: invite.uses.into_iter().map(InviteUseView::from).collect(),
        }
    }
}

impl From<InviteUse> for InviteUseView {
    fn from(used: InviteUse) -> InviteUseView {
        InviteUseView { used_by: used.used_by, used_at: Datetime::from_micros(used.used_at) }
    }
}
