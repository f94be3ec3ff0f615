//! Threads: new replies below what they reply to, and whole threads of posts that the AppView has not seen.

use atproto::syntax::AtUri;
use serde_json::{Value as Json, json};

use super::{
    MergeError,
    local::{LocalRecord, POST},
    view::Viewer,
};

const THREAD_VIEW: &str = "app.bsky.feed.defs#threadViewPost";
const GET_POST_THREAD: &str = "app.bsky.feed.getPostThread";

/// New replies in a thread that the AppView knows. A thread that is blocked or not found stays as it is.
pub(super) async fn insert_replies(output: &mut Json, viewer: &Viewer<'_>) -> Result<(), MergeError> {
    let thread = output.get_mut("thread").ok_or(MergeError::Form("thread is missing"))?;
    if !is_thread(thread) {
        return Ok(());
    }
    insert(thread, &viewer.local.posts.iter().collect::<Vec<_>>(), viewer).await
}

/// The thread of the asker's own post `uri`, when it is among the new ones.
pub(super) async fn build(
    uri: &str,
    parent_height: Option<&str>,
    viewer: &Viewer<'_>,
) -> Result<Option<Json>, MergeError> {
    let Some(uri) = own_uri(uri, viewer) else { return Ok(None) };
    let Some(post) = viewer.local.posts.iter().find(|post| post.uri == uri) else { return Ok(None) };
    let mut thread = thread_view(post, viewer).await?;
    let others: Vec<_> = viewer.local.posts.iter().filter(|other| other.uri != uri).collect();
    insert(&mut thread, &others, viewer).await?;
    if let Some(parent) = reply_uri(post, "parent")
        && let Some(parents) = ancestors(parent, parent_height, viewer).await
        && let Some(thread) = thread.as_object_mut()
    {
        thread.insert("parent".to_owned(), parents);
    }
    Ok(Some(thread))
}

/// The URI with the DID in it; `None` for what is not the asker's.
fn own_uri(uri: &str, viewer: &Viewer<'_>) -> Option<String> {
    let uri = AtUri::parse(uri).ok()?;
    let account = viewer.account;
    let is_own = uri.authority() == account.did.as_str()
        || account
            .handle
            .as_ref()
            .is_some_and(|handle| uri.authority().eq_ignore_ascii_case(handle.as_str()));
    let (collection, rkey) = (uri.collection()?, uri.rkey()?);
    (is_own && collection == POST).then(|| format!("at://{}/{collection}/{rkey}", account.did))
}

/// What the AppView knows above the post; a thread without it is better than none.
async fn ancestors(parent: &str, parent_height: Option<&str>, viewer: &Viewer<'_>) -> Option<Json> {
    let appview = viewer.proxy.appview()?;
    let mut params = vec![("uri", parent), ("depth", "0")];
    params.extend(parent_height.map(|height| ("parentHeight", height)));
    let answer = viewer.proxy.query(&appview, Some(viewer.account), GET_POST_THREAD, &params).await;
    answer.ok()?.get_mut("thread").map(Json::take)
}

/// Puts the posts that belong to this thread at their places, oldest first: each goes before the replies that are there,
/// and may itself be replied to by the next.
async fn insert(thread: &mut Json, posts: &[&LocalRecord], viewer: &Viewer<'_>) -> Result<(), MergeError> {
    let text = |pointer: &str| thread.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
    let own_uri = text("/post/uri").ok_or(MergeError::Form("thread/post/uri is missing"))?;
    let root_uri = text("/post/record/reply/root/uri");
    for post in posts {
        let root = reply_uri(post, "root");
        let belongs = root.is_some() && (root == Some(&own_uri) || root == root_uri.as_deref());
        let Some(parent) = reply_uri(post, "parent").filter(|_| belongs) else { continue };
        if let Some(place) = find(thread, parent)
            && !has_reply(place, &post.uri)
        {
            let view = thread_view(post, viewer).await?;
            reply_to(place, view);
        }
    }
    Ok(())
}

/// The place in the thread of the post `uri`. Not deeper than the JSON that it was read from.
fn find<'a>(thread: &'a mut Json, uri: &str) -> Option<&'a mut Json> {
    if thread.pointer("/post/uri").and_then(Json::as_str) == Some(uri) {
        return Some(thread);
    }
    let replies = thread.get_mut("replies")?.as_array_mut()?;
    replies.iter_mut().filter(|reply| is_thread(reply)).find_map(|reply| find(reply, uri))
}

fn has_reply(place: &Json, uri: &str) -> bool {
    let replies = place.get("replies").and_then(Json::as_array);
    replies.into_iter().flatten().any(|reply| reply.pointer("/post/uri").and_then(Json::as_str) == Some(uri))
}

fn reply_to(place: &mut Json, view: Json) {
    match place.get_mut("replies").and_then(Json::as_array_mut) {
        Some(replies) => replies.insert(0, view),
        None => {
            if let Some(place) = place.as_object_mut() {
                place.insert("replies".to_owned(), json!([view]));
            }
        }
    }
}

async fn thread_view(post: &LocalRecord, viewer: &Viewer<'_>) -> Result<Json, MergeError> {
    Ok(json!({ "$type": THREAD_VIEW, "post": viewer.post(post).await? }))
}

fn is_thread(thread: &Json) -> bool {
    thread.get("$type").and_then(Json::as_str) == Some(THREAD_VIEW)
}

/// `root` or `parent` of a reply.
fn reply_uri<'a>(post: &'a LocalRecord, which: &str) -> Option<&'a str> {
    post.record.get("reply")?.get(which)?.get("uri")?.as_str()
}
