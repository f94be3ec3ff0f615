//! com.atproto.repo.listRecords: a page of a collection, newest key first, for anyone.

use atproto::{
    data::json,
    syntax::{AtIdentifier, Did, Nsid, RecordKey},
};
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{
    find,
    get_record::{json_answer, write_record},
};
use crate::{
    app::App,
    service::repo::records::{Order, Page, RowRecord},
    store::StoreError,
    xrpc::{Limit, Params, XrpcError},
};

/// Room made for each record of a page, in bytes of JSON: a post of a few lines.
const RECORD_BYTES_EXPECTED: usize = 600;

/// The cursor is the last record key of the page, and is there whenever the page is not empty.
pub(super) async fn list_records(
    State(app): State<App>,
    Params(params): Params<ListRecordsParams>,
) -> Result<Response, XrpcError> {
    let account = find(&app, &params.repo)
        .await?
        .filter(|account| account.is_active())
        .ok_or_else(|| XrpcError::invalid_request(format_args!("Could not find repo: {}", params.repo)))?;
    let page = Page {
        collection: params.collection,
        cursor: params.cursor,
        order: if params.reverse { Order::Ascending } else { Order::Descending },
        limit: u32::try_from(params.limit.get()).unwrap_or(u32::MAX),
    };
    let answer = Answer {
        did: account.did,
        json: String::from("{\"records\":["),
        bytes_expected: params.limit.get() * RECORD_BYTES_EXPECTED,
        last_rkey: None,
    };
    let answer = match account.repo_id {
        Some(repo_id) => app.repos.list_records(repo_id, page, answer, Answer::add).await?,
        None => answer,
    };
    Ok(json_answer(answer.finish()))
}

/// A page as it is being written.
struct Answer {
    did: Did,
    json: String,
    /// Room to make for it once there is a first record: not while it waits for a reader.
    bytes_expected: usize,
    last_rkey: Option<String>,
}

impl Answer {
    fn add(&mut self, record: RowRecord<'_>) -> Result<(), StoreError> {
        match self.last_rkey {
            Some(_) => self.json.push(','),
            None => self.json.reserve(self.bytes_expected),
        }
        write_record(&self.did, record.path, record.cid, record.body, &mut self.json)?;
        let (_, rkey) = record.path.rsplit_once('/').unwrap_or(("", record.path));
        let last = self.last_rkey.get_or_insert_default();
        last.clear();
        last.push_str(rkey);
        Ok(())
    }

    fn finish(mut self) -> String {
        self.json.push(']');
        if let Some(rkey) = &self.last_rkey {
            self.json.push_str(",\"cursor\":");
            json::write_str(rkey, &mut self.json);
        }
        self.json.push('}');
        self.json
    }
}

#[derive(Deserialize)]
pub(super) struct ListRecordsParams {
    repo: AtIdentifier,
    collection: Nsid,
    #[serde(default)]
    limit: Limit<100, 50>,
    cursor: Option<RecordKey>,
    #[serde(default)]
    reverse: bool,
}
