use axum::response::Response;
use serde_json::{Value as Json, json};

use crate::{
    app_bsky::{BOB, LONG_AGO, Lagging, post_view},
    support::upstream::{Seen, answer, ok, ok_at},
};

const METHOD: &str = "app.bsky.feed.getPostThread";
const THREAD: &str = "app.bsky.feed.defs#threadViewPost";
const CID: &str = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";

fn uri(rkey: &str) -> String {
    format!("at://{BOB}/app.bsky.feed.post/{rkey}")
}

fn reply(root: &str, parent: &str) -> Json {
    json!({ "reply": { "root": { "uri": root, "cid": CID }, "parent": { "uri": parent, "cid": CID } } })
}

/// Bob's post, with a reply of his own below it.
fn thread() -> Json {
    let below = json!({ "$type": THREAD, "post": post_view(BOB, "below", LONG_AGO), "replies": [] });
    json!({ "$type": THREAD, "post": post_view(BOB, "root", LONG_AGO), "replies": [below] })
}

async fn get(lagging: &Lagging, uri: &str) -> crate::support::Answer {
    lagging.server.query(METHOD).auth(&lagging.alice).param("uri", uri).send().await
}

fn reply_uris(thread: &Json) -> Vec<String> {
    let replies = thread["replies"].as_array().cloned().unwrap_or_default();
    replies.iter().map(|reply| reply["post"]["uri"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn new_replies_stand_below_what_they_reply_to() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "thread": thread() }))).await;
    let root = uri("root");
    let first = lagging.post("first", reply(&root, &root)).await;
    let second = lagging.post("second", reply(&root, &first)).await;
    let third = lagging.post("third", reply(&root, &uri("below"))).await;
    lagging.post("elsewhere", reply(&uri("else"), &uri("else"))).await;
    lagging.post("noreply", json!({})).await;

    let thread = get(&lagging, &root).await.ok()["thread"].clone();
    assert_eq!(reply_uris(&thread), [first.clone(), uri("below")]);
    assert_eq!(thread["replies"][0]["$type"], THREAD);
    assert_eq!(reply_uris(&thread["replies"][0]), [second]);
    assert_eq!(reply_uris(&thread["replies"][1]), [third]);
}

#[tokio::test]
async fn a_thread_that_may_not_be_seen_stays_as_it_is() {
    let blocked = json!({ "$type": "app.bsky.feed.defs#blockedPost", "uri": uri("root"), "blocked": true });
    let expected = blocked.clone();
    let lagging = Lagging::start(move |_, rev| ok_at(rev, json!({ "thread": blocked }))).await;
    lagging.post("first", reply(&uri("root"), &uri("root"))).await;
    assert_eq!(get(&lagging, &uri("root")).await.ok()["thread"], expected);
}

/// The AppView knows Bob's post and nothing of Alice's.
fn only_bobs(seen: &Seen, rev: &str) -> Response {
    match seen.path_and_query.contains("depth=0") {
        true => ok(json!({ "thread": thread() })),
        false => {
            let headers = [("content-type", "application/json"), ("atproto-repo-rev", rev)];
            answer(400, &headers, r#"{"error":"NotFound","message":"Post not found"}"#)
        }
    }
}

#[tokio::test]
async fn the_thread_of_a_post_that_the_appview_does_not_know_is_built_here() {
    let lagging = Lagging::start(only_bobs).await;
    let root = uri("root");
    let first = lagging.post("first", reply(&root, &root)).await;
    let second = lagging.post("second", reply(&root, &first)).await;

    for asked in [first.clone(), first.replace(&lagging.alice.did, &lagging.alice.handle)] {
        let call = lagging.server.query(METHOD).auth(&lagging.alice).param("uri", asked);
        let answer = call.param("parentHeight", 3).send().await;
        let thread = &answer.ok()["thread"];
        assert_eq!(thread["post"]["uri"], first);
        assert_eq!(thread["parent"]["post"]["uri"], root);
        assert_eq!(reply_uris(thread), std::slice::from_ref(&second));
        assert!(answer.header("atproto-upstream-lag").is_some());
    }
    let above = lagging.upstream.seen().into_iter().find(|seen| seen.path_and_query.contains("depth=0"));
    let above = above.unwrap();
    assert!(above.path_and_query.contains("parentHeight=3"));
    assert_eq!(above.claims()["lxm"], METHOD);
}

#[tokio::test]
async fn a_post_of_somebody_else_or_of_nobody_is_not_found_as_the_appview_says() {
    let lagging = Lagging::start(only_bobs).await;
    lagging.post("first", json!({})).await;
    for missing in [uri("none"), format!("at://{}/app.bsky.feed.post/none", lagging.alice.did)] {
        assert_eq!(get(&lagging, &missing).await.error(400, "NotFound"), "Post not found");
    }
}

#[tokio::test]
async fn a_thread_without_what_is_above_it_is_better_than_none() {
    let lagging = Lagging::start(|seen, rev| match seen.path_and_query.contains("depth=0") {
        true => answer(503, &[], ""),
        false => only_bobs(seen, rev),
    })
    .await;
    let first = lagging.post("first", reply(&uri("root"), &uri("root"))).await;
    let thread = get(&lagging, &first).await.ok()["thread"].clone();
    assert_eq!((thread["post"]["uri"].as_str(), thread.get("parent")), (Some(first.as_str()), None));
}

/// The embed of a new reply, as the AppView that answers `asked` lets us show it.
async fn embed_view(
    embed: Json,
    asked: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
) -> (Json, Lagging) {
    let lagging = Lagging::start(move |seen, rev| match seen.names(METHOD) {
        true => ok_at(rev, json!({ "thread": thread() })),
        false => asked(seen),
    })
    .await;
    let mut fields = reply(&uri("root"), &uri("root"));
    fields["embed"] = embed;
    lagging.post("new", fields).await;
    let thread = get(&lagging, &uri("root")).await.ok()["thread"].clone();
    (thread["replies"][0]["post"].clone(), lagging)
}

fn nothing(_: &Seen) -> Response {
    answer(404, &[], "")
}

#[tokio::test]
async fn images_and_links_are_shown_from_here() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "thread": thread() }))).await;
    let blob = lagging.server.upload(&lagging.alice, "image/png", b"\x89PNG\r\n\x1a\n x".to_vec()).await;
    let url = format!(
        "{}/xrpc/com.atproto.sync.getBlob?did={}&cid={}",
        lagging.server.url,
        lagging.alice.did,
        blob["ref"]["$link"].as_str().unwrap()
    );
    let mut images = reply(&uri("root"), &uri("root"));
    let image = json!({ "alt": "a", "image": blob, "aspectRatio": { "width": 2, "height": 1 } });
    images["embed"] = json!({ "$type": "app.bsky.embed.images", "images": [image] });
    lagging.post("images", images).await;
    let mut link = reply(&uri("root"), &uri("root"));
    let external = json!({ "uri": "https://x.example", "title": "t", "description": "d", "thumb": blob });
    link["embed"] = json!({ "$type": "app.bsky.embed.external", "external": external });
    lagging.post("link", link).await;

    let replies = get(&lagging, &uri("root")).await.ok()["thread"]["replies"].clone();
    assert_eq!(
        replies[1]["post"]["embed"],
        json!({
            "$type": "app.bsky.embed.images#view",
            "images": [{ "thumb": url, "fullsize": url, "alt": "a", "aspectRatio": { "width": 2, "height": 1 } }],
        })
    );
    assert_eq!(
        replies[0]["post"]["embed"],
        json!({
            "$type": "app.bsky.embed.external#view",
            "external": { "uri": "https://x.example", "title": "t", "description": "d", "thumb": url },
        })
    );
    // Anyone gets the picture there.
    assert_eq!(lagging.server.http.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_quoted_record_is_shown_as_the_appview_knows_it() {
    let quote = |uri: &str| json!({ "$type": "app.bsky.embed.record", "record": { "uri": uri, "cid": CID } });
    let (post, lagging) = embed_view(quote(&uri("quoted")), |_| {
        let mut quoted = post_view(BOB, "quoted", LONG_AGO);
        quoted["embed"] = json!({ "$type": "x" });
        ok(json!({ "posts": [quoted] }))
    })
    .await;
    let view = &post["embed"]["record"];
    assert_eq!(post["embed"]["$type"], "app.bsky.embed.record#view");
    assert_eq!(view["$type"], "app.bsky.embed.record#viewRecord");
    assert_eq!((&view["uri"], &view["value"]["text"]), (&json!(uri("quoted")), &json!("quoted")));
    assert_eq!(view["embeds"], json!([{ "$type": "x" }]));
    let asked = lagging.upstream.seen_once("app.bsky.feed.getPosts");
    assert_eq!(asked.claims()["lxm"], "app.bsky.feed.getPosts");

    let (post, _) = embed_view(quote(&uri("gone")), |_| ok(json!({ "posts": [] }))).await;
    assert_eq!(
        post["embed"]["record"],
        json!({
            "$type": "app.bsky.embed.record#viewNotFound", "uri": uri("gone"), "notFound": true,
        })
    );
    let feed = format!("at://{BOB}/app.bsky.feed.generator/cats");
    let (post, _) = embed_view(quote(&feed), |_| ok(json!({ "view": { "displayName": "Cats" } }))).await;
    assert_eq!(
        post["embed"]["record"],
        json!({
            "$type": "app.bsky.feed.defs#generatorView", "displayName": "Cats",
        })
    );
    let list = format!("at://{BOB}/app.bsky.graph.list/l");
    let (post, _) = embed_view(quote(&list), |_| ok(json!({ "list": { "name": "L" }, "items": [] }))).await;
    assert_eq!(post["embed"]["record"], json!({ "$type": "app.bsky.graph.defs#listView", "name": "L" }));
}

#[tokio::test]
async fn a_quote_with_a_link_shows_both() {
    let embed = json!({
        "$type": "app.bsky.embed.recordWithMedia",
        "record": { "$type": "app.bsky.embed.record", "record": { "uri": uri("quoted"), "cid": CID } },
        "media": {
            "$type": "app.bsky.embed.external",
            "external": { "uri": "https://x.example", "title": "t", "description": "d" },
        },
    });
    let (post, _) = embed_view(embed, |_| ok(json!({ "posts": [post_view(BOB, "quoted", LONG_AGO)] }))).await;
    let view = &post["embed"];
    assert_eq!(view["$type"], "app.bsky.embed.recordWithMedia#view");
    assert_eq!(view["record"]["record"]["uri"], uri("quoted"));
    assert_eq!(view["media"]["external"]["title"], "t");
}

/// On any doubt the answer of the AppView goes out: here it cannot say what a post quotes.
#[tokio::test]
async fn a_quote_that_cannot_be_looked_up_leaves_the_answer_untouched() {
    let embed = json!({ "$type": "app.bsky.embed.record", "record": { "uri": uri("quoted"), "cid": CID } });
    let (first_reply, _) = embed_view(embed, nothing).await;
    assert_eq!(first_reply["uri"], uri("below"));
}
