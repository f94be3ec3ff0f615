//! com.atproto.sync.listRepos: every repo hosted here, inactive ones too (SY-25).

use atproto::syntax::{Did, Tid};
use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    app::App,
    store::{
        StoreError,
        repo::{self, Listed},
    },
    time::Micros,
    xrpc::{Limit, Params, XrpcError},
};

/// Oldest account first. Accounts that have no commit yet are left out.
pub(super) async fn list_repos(
    State(app): State<App>,
    Params(params): Params<ListReposParams>,
) -> Result<Json<ListReposOutput>, XrpcError> {
    let listed = app
        .store
        .read(move |db| {
            let after = params.cursor.as_ref().map(|cursor| (cursor.created_at, cursor.did.as_str()));
            repo::list_served(db, after, params.limit.get())
        })
        .await
        .map_err(|error: StoreError| XrpcError::from(error))?;
    let cursor = listed.last().map(|last| format!("{}::{}", last.created_at, last.did));
    Ok(Json(ListReposOutput { cursor, repos: listed.into_iter().map(Repo::from).collect() }))
}

#[derive(Deserialize)]
pub(super) struct ListReposParams {
    #[serde(default)]
    limit: Limit<1000, 500>,
    cursor: Option<Cursor>,
}

/// `<created at>::<did>` of the last repo of a page. In microseconds, which is what repos are ordered by: with less, two
/// accounts of one millisecond could hide each other.
struct Cursor {
    created_at: Micros,
    did: Did,
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cursor, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once("::");
        parts
            .and_then(|(created_at, did)| {
                Some(Cursor { created_at: created_at.parse().ok()?, did: Did::parse(did).ok()? })
            })
            .ok_or_else(|| de::Error::custom("Malformed cursor"))
    }
}

#[derive(Serialize)]
pub(super) struct ListReposOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    repos: Vec<Repo>,
}

#[derive(Serialize)]
struct Repo {
    did: Did,
    head: String,
    rev: Tid,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl From<Listed> for Repo {
    fn from(listed: Listed) -> Repo {
        let status = listed.status.as_str();
        Repo {
            did: listed.did,
            head: listed.head.to_string(),
            rev: listed.rev,
            active: status.is_none(),
            status,
        }
    }
}
