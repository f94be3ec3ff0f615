//! People see what they have just written, although the AppView has not: its answers are completed with the newest
//! records of the one who asks.
//!
//! The AppView says in `atproto-repo-rev` how far it has read the asker's repository. Whatever is newer here is worked
//! into the answer. The rule above all others: on any doubt the AppView's answer goes out untouched.
//!
//! | what | file |
//! |---|---|
//! | the records that the AppView has not seen | `local` |
//! | how a post or profile of ours looks to clients | `view` |
//! | profiles, feeds and threads, as plain data | `profile`, `feed`, `thread` |
//!
//! Not for: asking the AppView (`proxy`), and making it faster.

mod feed;
mod local;
mod profile;
mod thread;
mod view;

use std::sync::Arc;

use atproto::{data::json, lexicon::Catalog, syntax::Tid};
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;

pub use self::feed::AuthorFilter;
use self::{local::Local, view::Viewer};
use crate::{
    service::{
        proxy::{Proxy, ProxyError, Upstream, UpstreamError, encoding},
        settings::Settings,
    },
    store::{Store, StoreError, account::Account},
    time::Clock,
};

/// Longest answer that is completed, in bytes, packed and unpacked. A page of 100 posts is a quarter of it.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Answers in memory at a time; each may take several times its length. Others wait, unread.
const MERGES_MAX: usize = 8;
/// Says how far the AppView has read the asker's repository.
const REV_HEADER: &str = "atproto-repo-rev";

/// Completes answers. Cheap to clone.
#[derive(Clone)]
pub struct ReadAfterWrite {
    inner: Arc<Shared>,
}

struct Shared {
    store: Store,
    proxy: Proxy,
    settings: Arc<Settings>,
    clock: Clock,
    permits: Semaphore,
}

/// Whose answer is to be completed, and how.
#[derive(Clone, Debug)]
pub enum Method {
    /// app.bsky.actor.getProfile
    Profile,
    /// app.bsky.actor.getProfiles
    Profiles,
    /// app.bsky.feed.getTimeline
    Timeline {
        /// The page is not the newest.
        is_later_page: bool,
    },
    /// app.bsky.feed.getAuthorFeed
    AuthorFeed {
        /// Which posts were asked for.
        filter: AuthorFilter,
        /// The page is not the newest.
        is_later_page: bool,
    },
    /// app.bsky.feed.getActorLikes
    ActorLikes,
    /// app.bsky.feed.getPostThread
    PostThread,
}

/// What goes to the client.
pub enum Answer {
    /// The AppView's answer, with every byte and header that came.
    Untouched(Upstream),
    /// Ours.
    Completed(Completed),
}

/// An answer made of the AppView's and of newer records.
pub struct Completed {
    /// The output of the method.
    pub output: Json,
    /// How far the AppView is behind, in milliseconds: the age of the oldest post or profile that it has not seen.
    pub lag_millis: Option<i64>,
}

/// Why an answer was not completed. Goes to the log.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error("the answer does not have the form of its method: {0}")]
    Form(&'static str),
    #[error("what a post embeds: {0}")]
    Embed(#[from] ProxyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadAfterWrite {
    /// Reads records from `store` and asks `proxy` for what they embed.
    pub fn new(store: Store, proxy: Proxy, settings: Arc<Settings>, clock: Clock) -> ReadAfterWrite {
        let permits = Semaphore::new(MERGES_MAX);
        ReadAfterWrite { inner: Arc::new(Shared { store, proxy, settings, clock, permits }) }
    }

    /// Completes what the AppView answered `account`.
    pub async fn complete(&self, account: &Account, method: &Method, mut upstream: Upstream) -> Answer {
        let rev = upstream.headers.get(REV_HEADER).and_then(|rev| Tid::parse(rev.to_str().ok()?).ok());
        let Some(rev) = rev.filter(|_| may_be_json(&upstream)) else { return Answer::Untouched(upstream) };
        match self.try_to_complete(account, method, rev, &mut upstream).await {
            Ok(Some(completed)) => Answer::Completed(completed),
            Ok(None) => Answer::Untouched(upstream),
            Err(error) => {
                tracing::warn!(did = %account.did, %error, "an answer goes out without the newest records");
                Answer::Untouched(upstream)
            }
        }
    }

    async fn try_to_complete(
        &self,
        account: &Account,
        method: &Method,
        rev: Tid,
        upstream: &mut Upstream,
    ) -> Result<Option<Completed>, MergeError> {
        let Some(local) = self.local(account, rev).await? else { return Ok(None) };
        let Ok(_permit) = self.inner.permits.acquire().await else { return Ok(None) };
        let Some(bytes) = upstream.peek(ANSWER_BYTES_MAX).await else {
            return Err(MergeError::Form("it is too long, or broke off"));
        };
        let bytes = encoding::decode(&upstream.headers, bytes, ANSWER_BYTES_MAX).await;
        let bytes = bytes.ok_or(MergeError::Form("it cannot be unpacked, or is too long"))?;
        let mut output: Json =
            serde_json::from_slice(&bytes).map_err(|_| MergeError::Form("it is not JSON"))?;
        let viewer = self.viewer(account, &local);
        match method {
            Method::Profile => profile::complete_one(&mut output, &viewer)?,
            Method::Profiles => profile::complete_each(&mut output, &viewer)?,
            Method::Timeline { is_later_page } => {
                feed::insert_posts(&mut output, &viewer, *is_later_page, |_| true).await?;
            }
            Method::AuthorFeed { filter, is_later_page } => {
                feed::complete_author_feed(&mut output, &viewer, *filter, *is_later_page).await?;
            }
            Method::ActorLikes => feed::refresh_authors(&mut output, &viewer)?,
            Method::PostThread => thread::insert_replies(&mut output, &viewer).await?,
        }
        Ok(Some(Completed { output, lag_millis: local.lag_millis(self.inner.clock.now()) }))
    }

    /// The thread of a post that the AppView does not know yet, when it is the asker's own and stands here. `uri` as the
    /// client wrote it, with a DID or a handle.
    pub async fn missing_thread(
        &self,
        account: &Account,
        uri: &str,
        parent_height: Option<&str>,
        refusal: &UpstreamError,
    ) -> Option<Completed> {
        if refusal.error.as_deref() != Some("NotFound") {
            return None;
        }
        let rev = Tid::parse(refusal.headers.get(REV_HEADER)?.to_str().ok()?).ok()?;
        let built = async {
            let Some(local) = self.local(account, rev).await? else { return Ok(None) };
            let viewer = self.viewer(account, &local);
            let thread = thread::build(uri, parent_height, &viewer).await?;
            Ok::<_, MergeError>(thread.map(|thread| Completed {
                output: json!({ "thread": thread }),
                lag_millis: local.lag_millis(self.inner.clock.now()),
            }))
        };
        built.await.unwrap_or_else(|error| {
            tracing::warn!(did = %account.did, %error, "a thread could not be built here");
            None
        })
    }

    /// What the AppView has not seen; `None` when that is nothing.
    async fn local(&self, account: &Account, rev: Tid) -> Result<Option<Local>, StoreError> {
        let Some(repo_id) = account.repo_id else { return Ok(None) };
        let (store, did) = (&self.inner.store, account.did.clone());
        store.read(move |db| Local::read(db, repo_id, &did, rev)).await
    }

    fn viewer<'a>(&'a self, account: &'a Account, local: &'a Local) -> Viewer<'a> {
        Viewer { settings: &self.inner.settings, proxy: &self.inner.proxy, account, local }
    }
}

fn may_be_json(upstream: &Upstream) -> bool {
    crate::service::proxy::may_be_json(&upstream.headers)
}

/// True for a record that the schema of `nsid` allows; what others would not show is not shown here either.
fn is_valid(nsid: &str, record: &Json) -> bool {
    json::from_json(record).is_ok_and(|value| Catalog::embedded().validate_value(nsid, &value).is_ok())
}
