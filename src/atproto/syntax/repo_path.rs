//! Repo path: `collection/rkey`, the key of the Merkle search tree (RP-1..RP-4).

use super::{Nsid, ParseError, RecordKey, text_traits};

/// `collection/rkey`. Ordered bytewise, as the tree is; at most 317 + 1 + 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

text_traits!(RepoPath);

impl RepoPath {
    /// The path of the record `rkey` in `collection`.
    pub fn new(collection: &Nsid, rkey: &RecordKey) -> RepoPath {
        RepoPath(format!("{collection}/{rkey}"))
    }

    /// Reads exactly two segments, an NSID and a record key.
    pub fn parse(text: &str) -> Result<RepoPath, ParseError> {
        let fail = |problem| ParseError::new("repo path", text, problem);
        let (collection, rkey) =
            text.split_once('/').ok_or_else(|| fail("must have the form collection/rkey"))?;
        Nsid::parse(collection).map_err(|_| fail("must start with a collection that is an NSID"))?;
        RecordKey::parse(rkey).map_err(|_| fail("must end with a valid record key"))?;
        Ok(RepoPath(text.to_owned()))
    }

    /// The first segment, an NSID.
    pub fn collection(&self) -> &str {
        self.0.split_once('/').unwrap_or_default().0
    }

    /// The second segment, a record key.
    pub fn rkey(&self) -> &str {
        self.0.split_once('/').unwrap_or_default().1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_path_is_a_collection_and_a_record_key() {
        // RP-1, RP-2 and C-1 (the colon), RP-3
        let path = RepoPath::parse("com.example.note/a:b").unwrap();
        assert_eq!((path.collection(), path.rkey()), ("com.example.note", "a:b"));
        for bad in [
            "",
            "/",
            "com.example.note",
            "com.example.note/",
            "/com.example.note/a",
            "com.example.note/a/b",
            "com.example.note/..",
            "note/a",
            "com.example.note/a b",
        ] {
            assert!(RepoPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_order_bytewise_as_the_tree_does() {
        let path = |text| RepoPath::parse(text).unwrap();
        // By (collection, rkey) it would be the other way round; but `.` is before `/`.
        assert!(path("com.example.foo.bar/x") < path("com.example.foo/x"));
    }
}
