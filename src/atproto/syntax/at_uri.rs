//! AT-URIs in the restricted form of lexicons (ID-5, ID-6).

use super::{AtIdentifier, Did, Nsid, RecordKey, RepoPath, text_type};

/// Longest AT-URI, in bytes (ID-5).
const AT_URI_BYTES_MAX: usize = 8_192;

text_type! {
    /// `at://` authority [ `/` collection [ `/` rkey ] ]. Kept as written.
    AtUri, "AT-URI", check
}

impl AtUri {
    /// The URI of the record at `path` in the repo of `did`.
    pub fn from_parts(did: &Did, path: &RepoPath) -> AtUri {
        AtUri(format!("at://{did}/{path}"))
    }

    /// A DID or a handle, as written.
    pub fn authority(&self) -> &str {
        self.segment(0).unwrap_or_default()
    }

    /// An NSID.
    pub fn collection(&self) -> Option<&str> {
        self.segment(1)
    }

    /// A record key.
    pub fn rkey(&self) -> Option<&str> {
        self.segment(2)
    }

    fn segment(&self, idx: usize) -> Option<&str> {
        self.as_str().strip_prefix("at://").and_then(|rest| rest.split('/').nth(idx))
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > AT_URI_BYTES_MAX {
        return Err("is longer than 8192 characters");
    }
    let Some(rest) = text.strip_prefix("at://") else {
        return Err("must start with at://");
    };
    let mut segments = rest.split('/');
    if segments.next().is_none_or(|authority| AtIdentifier::parse(authority).is_err()) {
        return Err("must have a DID or handle after at://");
    }
    if segments.next().is_some_and(|collection| Nsid::parse(collection).is_err()) {
        return Err("must have an NSID as its collection");
    }
    if segments.next().is_some_and(|rkey| RecordKey::parse(rkey).is_err()) {
        return Err("must have a valid record key after its collection");
    }
    if segments.next().is_some() {
        return Err("must end after the record key");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_parts_are_found() {
        // ID-5
        let uri = AtUri::parse("at://Alice.example/com.example.note/self").unwrap();
        assert_eq!(
            (uri.authority(), uri.collection(), uri.rkey()),
            ("Alice.example", Some("com.example.note"), Some("self"))
        );
        let uri = AtUri::parse("at://did:plc:abc").unwrap();
        assert_eq!((uri.authority(), uri.collection(), uri.rkey()), ("did:plc:abc", None, None));
        let (did, path) = (Did::parse("did:web:a.b").unwrap(), RepoPath::parse("a.b.c/d").unwrap());
        assert_eq!(AtUri::parse("at://did:web:a.b/a.b.c/d").unwrap(), AtUri::from_parts(&did, &path));
    }

    #[test]
    fn other_texts_are_refused() {
        // ID-5, ID-6
        for bad in [
            "",
            "at://",
            "AT://a.b",
            "at:a.b",
            "at://a",
            "at://@a.b",
            "at://a.b/",
            "at://a.b/c.d.e/",
            "at://a.b/c.d.e/f/",
            "at://a.b/c.d.e/f/g",
            "at://a.b//f",
            "at://a.b/c.d",
            "at://a.b?q",
            "at://a.b#f",
            "at://a.b:80",
            "at://u@a.b",
            "at://a.b/c.d.e/..",
        ] {
            assert!(AtUri::parse(bad).is_err(), "{bad}");
        }
    }
}
