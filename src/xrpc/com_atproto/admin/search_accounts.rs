//! com.atproto.admin.searchAccounts: accounts by a part of their email address, page by page. The reference lacks it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::defs::AccountView;
use crate::{
    app::App,
    xrpc::{Limit, Moderator, Params, XrpcError},
};

/// In the order in which the accounts were made, whatever their status; without `email`, all of them. The cursor is
/// there when the page is full.
pub(super) async fn search_accounts(
    State(app): State<App>,
    Params(params): Params<SearchAccountsParams>,
    _: Moderator,
) -> Result<Json<SearchAccountsOutput>, XrpcError> {
    let limit = params.limit.get();
    let after_id = params.cursor.as_deref().map(parse_cursor).transpose()?.unwrap_or(0);
    let found = app.accounts.search(params.email, after_id, limit).await?;
    let last = found.last().filter(|_| found.len() == limit);
    Ok(Json(SearchAccountsOutput {
        cursor: last.map(|info| info.account.id.to_string()),
        accounts: found.into_iter().map(AccountView::from).collect(),
    }))
}

fn parse_cursor(text: &str) -> Result<i64, XrpcError> {
    text.parse().map_err(|_| XrpcError::invalid_request("Malformed cursor"))
}

#[derive(Deserialize)]
pub(super) struct SearchAccountsParams {
    email: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    limit: Limit<100, 50>,
}

#[derive(Serialize)]
pub(super) struct SearchAccountsOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    accounts: Vec<AccountView>,
}
