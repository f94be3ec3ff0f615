//! What browsers and shared caches (a CDN in front) may keep of public answers, and for how long.
//!
//! Two kinds. What a CID names never changes, but it can go: its owner deletes it, the operator takes it down. So shared
//! caches ask again after [`SHARED_SECS_MAX`], which costs a 304, while a browser that has it may keep it for a day. What
//! names a moving thing (a record by its key, a repository) is asked for each time, and answered 304 when it is the same.
//!
//! Answers that `Authorization` decided on are private, whatever is said here (`trace`); refusals say nothing and are not
//! kept.
//!
//! Not for: answers without an entity tag.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// How long a shared cache may serve what was deleted or taken down meanwhile, in seconds.
pub const SHARED_SECS_MAX: u64 = 300;

/// What may be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A CID names all of it.
    Immutable,
    /// It may be another one next time.
    Revalidate,
}

impl Keep {
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Keep::Immutable => "public, max-age=86400, s-maxage=300, immutable",
            Keep::Revalidate => "public, no-cache",
        })
    }
}

/// The entity tag of an answer, and what may be done with it.
#[derive(Clone, Debug)]
pub struct Tag {
    etag: String,
    keep: Keep,
}

impl Tag {
    /// Of bytes that go out as they are. `id` names them; it has no quotes in it.
    pub fn strong(id: impl std::fmt::Display, keep: Keep) -> Tag {
        Tag { etag: format!("\"{id}\""), keep }
    }

    /// Of an answer that may go out packed, which makes other bytes of it.
    pub fn weak(id: impl std::fmt::Display, keep: Keep) -> Tag {
        Tag { etag: format!("W/\"{id}\""), keep }
    }

    /// The entity tag, with its quotes.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Whether the client says that it has this already (`If-None-Match`).
    pub fn is_known(&self, request: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .flat_map(|tags| tags.to_str().unwrap_or_default().split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || opaque(tag) == opaque(&self.etag))
    }

    /// Writes `ETag` and `Cache-Control`.
    pub fn set(&self, headers: &mut HeaderMap) {
        headers.extend(HeaderValue::from_str(&self.etag).map(|etag| (header::ETAG, etag)));
        headers.insert(header::CACHE_CONTROL, self.keep.value());
    }

    /// `answer` with the tag.
    pub fn on(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        self.set(response.headers_mut());
        response
    }

    /// 304.
    pub fn not_modified(&self) -> Response {
        self.on((StatusCode::NOT_MODIFIED, Body::empty()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn shared_caches_ask_again_when_they_have_to() {
        let expected = format!("public, max-age=86400, s-maxage={SHARED_SECS_MAX}, immutable");
        assert_eq!(Keep::Immutable.value(), expected);
    }

    #[test]
    fn tags_are_compared_without_regard_to_their_strength() {
        let request = |tags: &[&str]| {
            tags.iter().map(|tags| (header::IF_NONE_MATCH, tags.parse().unwrap())).collect::<HeaderMap>()
        };
        for tag in [Tag::strong("abc", Keep::Immutable), Tag::weak("abc", Keep::Revalidate)] {
            for known in
                [&["\"abc\""][..], &["W/\"abc\""], &["*"], &["\"x\", \"abc\""], &["\"x\"", "W/\"abc\""]]
            {
                assert!(tag.is_known(&request(known)), "{known:?}");
            }
            for unknown in [&[][..], &["abc"], &["\"ab\""], &["\"abcd\""], &[""]] {
                assert!(!tag.is_known(&request(unknown)), "{unknown:?}");
            }
        }
    }
}
