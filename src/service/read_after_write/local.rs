//! The records that are newer than what the AppView has read.

use atproto::{
    data::{Cid, Value, cbor, json},
    syntax::{AtUri, Did, RepoPath, Tid},
};
use rusqlite::Connection;
use serde_json::Value as Json;

use super::is_valid;
use crate::{
    store::{
        StoreError,
        record::{self, Written},
    },
    time::Micros,
};

/// Most records looked at, of any collection.
const RECORDS_MAX: u32 = 10;
/// Collection of posts.
pub(super) const POST: &str = "app.bsky.feed.post";
/// Where a profile stands.
const PROFILE_PATH: (&str, &str) = ("app.bsky.actor.profile", "self");

/// What the AppView has not seen.
#[derive(Debug)]
pub(super) struct Local {
    /// The profile, when it is among it.
    pub(super) new_profile: Option<LocalRecord>,
    /// The profile as it is, new or not.
    pub(super) profile: Option<Json>,
    /// Posts, oldest first.
    pub(super) posts: Vec<LocalRecord>,
}

/// A record of ours.
#[derive(Clone, Debug)]
pub(super) struct LocalRecord {
    pub(super) uri: String,
    pub(super) cid: Cid,
    pub(super) indexed_at: Micros,
    pub(super) record: Json,
}

impl Local {
    /// `None` when nothing is newer than `rev`, and when everything is: then the AppView has not seen this repository at
    /// all, but the one that the account had elsewhere (checklist 58).
    pub(super) fn read(
        db: &Connection,
        repo_id: i64,
        did: &Did,
        rev: Tid,
    ) -> Result<Option<Local>, StoreError> {
        let newer = record::list_since(db, repo_id, rev, RECORDS_MAX)?;
        if newer.is_empty() || !record::any_until(db, repo_id, rev)? {
            return Ok(None);
        }
        let mut local = Local { new_profile: None, profile: read_profile(db, repo_id)?, posts: Vec::new() };
        for written in newer {
            let path = written.record.path.clone();
            let (collection, rkey) = (path.collection(), path.rkey());
            if (collection, rkey) == PROFILE_PATH {
                local.new_profile = Some(local_record(did, written)?);
            } else if collection == POST {
                let post = local_record(did, written)?;
                if is_valid(POST, &post.record) {
                    local.posts.push(post);
                }
            }
        }
        Ok(Some(local))
    }

    /// Age of the oldest post or profile among it, in milliseconds.
    pub(super) fn lag_millis(&self, now: Micros) -> Option<i64> {
        let oldest = self.posts.iter().chain(&self.new_profile).map(|record| record.indexed_at).min()?;
        Some((now - oldest).max(0) / 1000)
    }
}

fn read_profile(db: &Connection, repo_id: i64) -> Result<Option<Json>, StoreError> {
    let path = format!("{}/{}", PROFILE_PATH.0, PROFILE_PATH.1);
    let path: RepoPath = path.parse().map_err(|_| StoreError::Corrupt { table: "record", column: "path" })?;
    let found = record::get(db, repo_id, &path)?.filter(|record| record.takedown_ref.is_none());
    found.map(|record| Ok(json::to_json(&decode(&record.body)?))).transpose()
}

fn local_record(did: &Did, written: Written) -> Result<LocalRecord, StoreError> {
    Ok(LocalRecord {
        uri: AtUri::from_parts(did, &written.record.path).to_string(),
        cid: written.record.cid,
        indexed_at: written.indexed_at,
        record: json::to_json(&decode(&written.record.body)?),
    })
}

fn decode(body: &[u8]) -> Result<Value, StoreError> {
    cbor::decode(body).map_err(|_| StoreError::Corrupt { table: "record", column: "body" })
}
