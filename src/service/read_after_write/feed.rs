//! Feeds: new posts at their place by time, and the asker's name and picture as they are now.

use atproto::syntax::Datetime;
use futures::future::try_join_all;
use serde_json::{Value as Json, json};

use super::{MergeError, local::LocalRecord, view::Viewer};
use crate::time::Micros;

/// `filter` of getAuthorFeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorFilter {
    /// Everything; also for values that we do not know.
    #[default]
    All,
    /// No replies.
    NoReplies,
    /// Posts with pictures or a video.
    Media,
    /// Posts with a video.
    Video,
    /// Posts and replies to oneself.
    AuthorThreads,
}

impl AuthorFilter {
    /// Reads the parameter.
    pub fn parse(text: &str) -> AuthorFilter {
        match text {
            "posts_no_replies" => AuthorFilter::NoReplies,
            "posts_with_media" => AuthorFilter::Media,
            "posts_with_video" => AuthorFilter::Video,
            "posts_and_author_threads" => AuthorFilter::AuthorThreads,
            _ => AuthorFilter::All,
        }
    }

    fn lets_through(self, post: &LocalRecord, viewer: &Viewer<'_>) -> bool {
        let text = |pointer: &str| post.record.pointer(pointer).and_then(Json::as_str);
        let embeds = |kinds: &[&str]| {
            [text("/embed/$type"), text("/embed/media/$type")]
                .into_iter()
                .flatten()
                .any(|kind| kinds.contains(&kind))
        };
        match self {
            AuthorFilter::All => true,
            AuthorFilter::NoReplies => post.record.get("reply").is_none(),
            AuthorFilter::Media => embeds(&[IMAGES, GALLERY, VIDEO]),
            AuthorFilter::Video => embeds(&[VIDEO]),
            AuthorFilter::AuthorThreads => {
                let own = format!("at://{}/", viewer.account.did);
                let is_own = |pointer: &str| text(pointer).is_none_or(|uri| uri.starts_with(&own));
                is_own("/reply/root/uri") && is_own("/reply/parent/uri")
            }
        }
    }
}

const IMAGES: &str = "app.bsky.embed.images";
const GALLERY: &str = "app.bsky.embed.gallery";
const VIDEO: &str = "app.bsky.embed.video";
const REPOST: &str = "app.bsky.feed.defs#reasonRepost";

/// getAuthorFeed: only the asker's own feed changes.
pub(super) async fn complete_author_feed(
    output: &mut Json,
    viewer: &Viewer<'_>,
    filter: AuthorFilter,
    is_later_page: bool,
) -> Result<(), MergeError> {
    if !is_own(items(output)?, viewer) {
        return Ok(());
    }
    refresh_authors(output, viewer)?;
    insert_posts(output, viewer, is_later_page, |post| filter.lets_through(post, viewer)).await
}

/// Told by the first item: the asker's own post, or a repost by the asker.
fn is_own(feed: &[Json], viewer: &Viewer<'_>) -> bool {
    let Some(first) = feed.first() else { return false };
    let text = |pointer: &str| first.pointer(pointer).and_then(Json::as_str);
    let by = match first.get("reason") {
        None | Some(Json::Null) => text("/post/author/did"),
        Some(_) if text("/reason/$type") == Some(REPOST) => text("/reason/by/did"),
        Some(_) => None,
    };
    by == Some(viewer.account.did.as_str())
}

/// Name and picture of the asker on the asker's posts, when the profile is new.
pub(super) fn refresh_authors(output: &mut Json, viewer: &Viewer<'_>) -> Result<(), MergeError> {
    if viewer.local.new_profile.is_none() {
        return Ok(());
    }
    for item in items_mut(output)? {
        let author = item.pointer_mut("/post/author").ok_or(MergeError::Form("post/author is missing"))?;
        if author.get("did").and_then(Json::as_str) == Some(viewer.account.did.as_str()) {
            viewer.refresh_author(author);
        }
    }
    Ok(())
}

/// New posts that are newer than the last item of the page and that `wanted` lets through, each before the first item
/// that is older. A post that the AppView has after all is not shown twice; a later page takes no post that belongs above
/// its first item, where the page before has shown it.
pub(super) async fn insert_posts(
    output: &mut Json,
    viewer: &Viewer<'_>,
    is_later_page: bool,
    wanted: impl Fn(&LocalRecord) -> bool,
) -> Result<(), MergeError> {
    let feed = items_mut(output)?;
    let mut times = feed.iter().map(indexed_at).collect::<Result<Vec<_>, _>>()?;
    let oldest = times.last().copied().unwrap_or(Micros::MIN);
    let newest = times.first().copied().filter(|_| is_later_page).unwrap_or(Micros::MAX);
    let is_there = |post: &LocalRecord| {
        feed.iter().any(|item| item.pointer("/post/uri").and_then(Json::as_str) == Some(&post.uri))
    };
    let new: Vec<&LocalRecord> = viewer
        .local
        .posts
        .iter()
        .rev()
        .filter(|post| millis(post) > oldest && millis(post) < newest && wanted(post) && !is_there(post))
        .collect();
    let views = try_join_all(new.iter().map(|post| viewer.post(post))).await?;
    for (post, view) in new.into_iter().zip(views) {
        let place = times.iter().position(|time| *time < millis(post)).unwrap_or(feed.len());
        feed.insert(place, json!({ "post": view }));
        times.insert(place, millis(post));
    }
    Ok(())
}

/// When a post of ours was written, as precise as clients see it.
fn millis(post: &LocalRecord) -> Micros {
    post.indexed_at - post.indexed_at.rem_euclid(1000)
}

fn indexed_at(item: &Json) -> Result<Micros, MergeError> {
    let text = item.pointer("/post/indexedAt").and_then(Json::as_str);
    text.and_then(|text| Datetime::parse(text).ok())
        .map(|time| time.to_micros())
        .ok_or(MergeError::Form("post/indexedAt is not a time"))
}

fn items(output: &Json) -> Result<&Vec<Json>, MergeError> {
    output.get("feed").and_then(Json::as_array).ok_or(MergeError::Form("feed is missing"))
}

fn items_mut(output: &mut Json) -> Result<&mut Vec<Json>, MergeError> {
    output.get_mut("feed").and_then(Json::as_array_mut).ok_or(MergeError::Form("feed is missing"))
}
