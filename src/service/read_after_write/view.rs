//! How records of ours look to clients: posts with author and embeds, profiles.
//!
//! Numbers of likes and the like are 0: nobody has seen these posts. Not for: where they go (`feed`, `thread`).

use atproto::{
    data::cid,
    syntax::{AtUri, Datetime},
};
use serde_json::{Map, Value as Json, json};

use super::{
    MergeError,
    local::{Local, LocalRecord},
};
use crate::{
    service::{proxy::Proxy, settings::Settings},
    store::account::Account,
};

/// Shown when an account has no handle.
const HANDLE_INVALID: &str = "handle.invalid";

/// The asker, what the asker has written, and where to ask for the rest.
pub(super) struct Viewer<'a> {
    pub(super) settings: &'a Settings,
    pub(super) proxy: &'a Proxy,
    pub(super) account: &'a Account,
    pub(super) local: &'a Local,
}

impl Viewer<'_> {
    /// `app.bsky.feed.defs#postView` of a new post.
    pub(super) async fn post(&self, post: &LocalRecord) -> Result<Json, MergeError> {
        let mut view = json!({
            "uri": post.uri,
            "cid": post.cid.to_string(),
            "author": self.author(),
            "record": post.record,
            "replyCount": 0,
            "repostCount": 0,
            "likeCount": 0,
            "quoteCount": 0,
            "indexedAt": Datetime::from_micros(post.indexed_at).as_str(),
        });
        if let Some(embed) = post.record.get("embed") {
            set(&mut view, "embed", self.embed(embed).await?);
        }
        Ok(view)
    }

    /// `app.bsky.actor.defs#profileViewBasic` of the asker.
    fn author(&self) -> Json {
        let handle = self.account.handle.as_ref().map_or(HANDLE_INVALID, |handle| handle.as_str());
        let mut author = json!({ "did": self.account.did.as_str(), "handle": handle });
        if let Some(profile) = &self.local.profile {
            self.set_name_and_avatar(&mut author, profile);
        }
        author
    }

    /// Name and picture in any view of the asker, when the profile is new.
    pub(super) fn refresh_author(&self, view: &mut Json) {
        if let Some(profile) = &self.local.new_profile {
            self.set_name_and_avatar(view, &profile.record);
        }
    }

    /// The whole profile, when it is new.
    pub(super) fn refresh_profile(&self, view: &mut Json) {
        if let Some(profile) = &self.local.new_profile {
            self.set_name_and_avatar(view, &profile.record);
            set(view, "description", text(&profile.record, "description"));
            set(view, "banner", self.image(profile.record.get("banner"), "banner"));
        }
    }

    fn set_name_and_avatar(&self, view: &mut Json, profile: &Json) {
        set(view, "displayName", text(profile, "displayName"));
        set(view, "avatar", self.image(profile.get("avatar"), "avatar"));
    }

    /// Where clients get a picture: `preset` is one of the CDN's sizes.
    fn image(&self, blob: Option<&Json>, preset: &str) -> Option<Json> {
        let blob = blob?;
        let cid = blob.pointer("/ref/$link").or_else(|| blob.get("cid"))?.as_str()?;
        let cid = cid::parse(cid).ok()?.to_string();
        let did = self.account.did.as_str();
        Some(Json::from(match &self.settings.appview_cdn_url_pattern {
            Some(pattern) => {
                let mut values = [preset, did, &cid].into_iter();
                pattern.split("%s").fold(String::new(), |url, part| match url.is_empty() {
                    true => part.to_owned(),
                    false => url + values.next().unwrap_or_default() + part,
                })
            }
            None => format!(
                "{}/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}",
                self.settings.public_url,
                did.replace('%', "%25")
            ),
        }))
    }

    /// The view of an embed; `None` for kinds that only an AppView can show (videos).
    async fn embed(&self, embed: &Json) -> Result<Option<Json>, MergeError> {
        match kind(embed) {
            "app.bsky.embed.record" => self.embedded_record(embed).await.map(Some),
            "app.bsky.embed.recordWithMedia" => {
                let media = embed.get("media").and_then(|media| self.media(media));
                let (Some(media), Some(record)) = (media, embed.get("record")) else { return Ok(None) };
                Ok(Some(json!({
                    "$type": "app.bsky.embed.recordWithMedia#view",
                    "record": self.embedded_record(record).await?,
                    "media": media,
                })))
            }
            _ => Ok(self.media(embed)),
        }
    }

    /// Images and links.
    fn media(&self, embed: &Json) -> Option<Json> {
        match kind(embed) {
            "app.bsky.embed.images" => {
                let images = embed.get("images")?.as_array()?.iter().map(|image| self.image_view(image));
                let images: Vec<Json> = images.collect::<Option<_>>()?;
                Some(json!({ "$type": "app.bsky.embed.images#view", "images": images }))
            }
            "app.bsky.embed.external" => {
                let external = embed.get("external")?;
                let mut view = json!({});
                for field in ["uri", "title", "description"] {
                    set(&mut view, field, text(external, field));
                }
                set(&mut view, "thumb", self.image(external.get("thumb"), "feed_thumbnail"));
                Some(json!({ "$type": "app.bsky.embed.external#view", "external": view }))
            }
            _ => None,
        }
    }

    fn image_view(&self, image: &Json) -> Option<Json> {
        let mut view = json!({
            "thumb": self.image(image.get("image"), "feed_thumbnail")?,
            "fullsize": self.image(image.get("image"), "feed_fullsize")?,
            "alt": image.get("alt")?,
        });
        set(&mut view, "aspectRatio", image.get("aspectRatio").cloned());
        Some(view)
    }

    /// `app.bsky.embed.record#view`: what the AppView knows of the record.
    async fn embedded_record(&self, embed: &Json) -> Result<Json, MergeError> {
        let uri = embed.pointer("/record/uri").and_then(Json::as_str).unwrap_or_default();
        let record = match self.ask_for_record(uri).await? {
            Some(record) => record,
            None => {
                json!({ "$type": "app.bsky.embed.record#viewNotFound", "uri": uri, "notFound": true })
            }
        };
        Ok(json!({ "$type": "app.bsky.embed.record#view", "record": record }))
    }

    async fn ask_for_record(&self, uri: &str) -> Result<Option<Json>, MergeError> {
        let Some(appview) = self.proxy.appview() else { return Ok(None) };
        let collection =
            AtUri::parse(uri).ok().and_then(|uri| uri.collection().map(str::to_owned)).unwrap_or_default();
        let (nsid, param, pointer, view_type) = match collection.as_str() {
            "app.bsky.feed.post" => ("app.bsky.feed.getPosts", "uris", "/posts/0", None),
            "app.bsky.feed.generator" => {
                let view_type = Some("app.bsky.feed.defs#generatorView");
                ("app.bsky.feed.getFeedGenerator", "feed", "/view", view_type)
            }
            "app.bsky.graph.list" => {
                ("app.bsky.graph.getList", "list", "/list", Some("app.bsky.graph.defs#listView"))
            }
            _ => return Ok(None),
        };
        let mut answer = self.proxy.query(&appview, Some(self.account), nsid, &[(param, uri)]).await?;
        let Some(found) = answer.pointer_mut(pointer).map(Json::take) else { return Ok(None) };
        Ok(Some(match view_type {
            Some(view_type) => with_type(found, view_type),
            None => quoted_post(&found),
        }))
    }
}

/// `app.bsky.embed.record#viewRecord` of a post view.
fn quoted_post(post: &Json) -> Json {
    let mut view = Map::from_iter([("$type".to_owned(), json!("app.bsky.embed.record#viewRecord"))]);
    for (field, of) in [
        ("uri", "uri"),
        ("cid", "cid"),
        ("author", "author"),
        ("value", "record"),
        ("labels", "labels"),
        ("indexedAt", "indexedAt"),
    ] {
        view.extend(post.get(of).map(|value| (field.to_owned(), value.clone())));
    }
    view.extend(post.get("embed").map(|embed| ("embeds".to_owned(), json!([embed]))));
    Json::Object(view)
}

fn with_type(mut view: Json, view_type: &str) -> Json {
    set(&mut view, "$type", Some(Json::from(view_type)));
    view
}

fn kind(embed: &Json) -> &str {
    embed.get("$type").and_then(Json::as_str).unwrap_or_default()
}

fn text(record: &Json, field: &str) -> Option<Json> {
    record.get(field).filter(|value| value.is_string()).cloned()
}

/// Puts a field into an object, or takes it out.
fn set(view: &mut Json, field: &str, value: Option<Json>) {
    let Some(view) = view.as_object_mut() else { return };
    match value {
        Some(value) => drop(view.insert(field.to_owned(), value)),
        None => drop(view.remove(field)),
    }
}
