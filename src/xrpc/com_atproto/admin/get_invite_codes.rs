//! com.atproto.admin.getInviteCodes: every code there is, page by page.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    store::invite_code::{InviteCode, InviteOrder},
    xrpc::{Limit, Moderator, Params, XrpcError, com_atproto::server::defs::InviteCodeView},
};

/// Newest first, or most used first. The cursor is there whenever the page is not empty.
pub(super) async fn get_invite_codes(
    State(app): State<App>,
    Params(params): Params<GetInviteCodesParams>,
    _: Moderator,
) -> Result<Json<GetInviteCodesOutput>, XrpcError> {
    let order = match params.sort.as_deref() {
        None | Some("recent") => InviteOrder::Recent,
        Some("usage") => InviteOrder::Usage,
        Some(sort) => return Err(XrpcError::invalid_request(format_args!("unknown sort method: {sort}"))),
    };
    let after = params.cursor.as_deref().map(parse_cursor).transpose()?;
    let codes = app.accounts.list_invites(order, after, params.limit.get()).await?;
    Ok(Json(GetInviteCodesOutput {
        cursor: codes.last().map(|last| cursor(order, last)),
        codes: codes.into_iter().map(InviteCodeView::from).collect(),
    }))
}

/// `<microseconds or number of uses>::<code>`
fn cursor(order: InviteOrder, last: &InviteCode) -> String {
    let number = match order {
        InviteOrder::Recent => last.created_at,
        InviteOrder::Usage => last.n_uses,
    };
    format!("{number}::{}", last.code)
}

fn parse_cursor(text: &str) -> Result<(i64, String), XrpcError> {
    text.split_once("::")
        .filter(|(_, code)| !code.is_empty() && !code.contains("::"))
        .and_then(|(number, code)| Some((number.parse().ok()?, code.to_owned())))
        .ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
}

#[derive(Deserialize)]
pub(super) struct GetInviteCodesParams {
    sort: Option<String>,
    #[serde(default)]
    limit: Limit<500, 100>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct GetInviteCodesOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    codes: Vec<InviteCodeView>,
}
