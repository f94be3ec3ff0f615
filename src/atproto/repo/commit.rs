//! The commit object, version 3 (RP-5..RP-9), and a lenient look at older ones (RP-15).

use crate::{
    crypto,
    data::{
        Cid, Map, Value,
        cbor::{self, Writer},
        cid,
    },
    syntax::{Did, Tid},
};

/// The version that is written, and the only one that [`Commit::decode`] reads.
const VERSION: i64 = 3;
/// How many fields a signed commit has (RP-5).
const FIELDS: usize = 6;

/// A signed commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whose repo it is (RP-7).
    pub did: Did,
    /// Root of the tree.
    pub data: Cid,
    /// Revision; ascends from commit to commit (RP-10).
    pub rev: Tid,
    /// Always null in new commits; other servers have written a CID (RP-6).
    pub prev: Option<Cid>,
    /// 64 bytes r||s.
    pub sig: Vec<u8>,
}

/// Why a block is not a commit that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another version of the format.
    #[error("commit is version {0}; only version {VERSION} is supported")]
    Version(i64),
    /// A field that is missing, has the wrong form, or does not belong there.
    #[error("commit field {field}: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Not CBOR, or not in its canonical form.
    #[error("commit is not canonical CBOR: {0}")]
    Cbor(#[from] cbor::Error),
    /// The signature has the wrong form.
    #[error(transparent)]
    Signature(#[from] crypto::Error),
}

impl Commit {
    /// Signs a new commit; its `prev` is null.
    pub fn sign(did: Did, data: Cid, rev: Tid, key: &crypto::SigningKey) -> Commit {
        let mut commit = Commit { did, data, rev, prev: None, sig: Vec::new() };
        commit.sig = key.sign(&commit.encode_fields(None)).to_vec();
        commit
    }

    /// The block of this commit.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_fields(Some(&self.sig))
    }

    /// Without `sig` the key is absent, not null: that is what is signed (RP-8).
    fn encode_fields(&self, sig: Option<&[u8]>) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.map(if sig.is_some() { 6 } else { 5 });
        writer.text("did").text(self.did.as_str()).text("rev").text(&self.rev.to_string());
        if let Some(sig) = sig {
            writer.text("sig").bytes(sig);
        }
        writer.text("data").link(&self.data).text("prev").nullable_link(self.prev.as_ref());
        writer.text("version").integer(VERSION);
        writer.finish()
    }

    /// Decodes a version 3 commit. Its signature has 64 bytes and is low-S, but is not verified.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; a field beyond those of RP-5 is refused, since it could not be kept.
    pub fn decode(block: &[u8]) -> Result<Commit, CommitError> {
        let mut fields = Fields::decode(block)?;
        match fields.integer("version")? {
            VERSION => {}
            version => return Err(CommitError::Version(version)),
        }
        let commit = Commit {
            did: fields.did()?,
            data: fields.tree_link()?,
            rev: fields.rev()?,
            prev: fields.prev()?,
            sig: fields.sig()?,
        };
        if fields.count != FIELDS {
            return Err(problem("", format!("there are {} fields, not {FIELDS}", fields.count)));
        }
        crypto::check_signature_form(&commit.sig)?;
        Ok(commit)
    }

    /// Verifies the signature with the key of the current DID document (RP-9).
    ///
    /// # Errors
    ///
    /// Also for a signature that is valid but high-S (CR-3).
    pub fn verify(&self, key: &crypto::PublicKey) -> Result<(), crypto::Error> {
        key.verify(&self.encode_fields(None), &self.sig)
    }
}

/// What can be read from a commit of any version, for looking at repos that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// Whose repo it is.
    pub did: Did,
    /// 2 or 3 in practice.
    pub version: i64,
    /// Root of the tree.
    pub data: Cid,
    /// Version 2 commits have none; neither has one whose `rev` is no TID.
    pub rev: Option<Tid>,
    /// The commit before.
    pub prev: Option<Cid>,
    /// The signature, in whatever form.
    pub sig: Vec<u8>,
    unsigned: Vec<u8>,
}

impl CommitHeader {
    /// Decodes a commit of any version; fields it does not know are let pass.
    ///
    /// # Errors
    ///
    /// When the block is no canonical CBOR, or lacks `did`, `version`, `data` or `sig`.
    pub fn decode(block: &[u8]) -> Result<CommitHeader, CommitError> {
        let mut fields = Fields::decode(block)?;
        let sig = fields.sig()?;
        let unsigned = cbor::encode(&Value::Map(fields.map.clone()));
        Ok(CommitHeader {
            version: fields.integer("version")?,
            did: fields.did()?,
            data: fields.tree_link()?,
            rev: fields.rev().ok(),
            prev: fields.prev()?,
            sig,
            unsigned,
        })
    }

    /// Verifies the signature, which must be low-S (CR-3).
    ///
    /// # Errors
    ///
    /// As [`crypto::PublicKey::verify`].
    pub fn verify(&self, key: &crypto::PublicKey) -> Result<(), crypto::Error> {
        key.verify(&self.unsigned, &self.sig)
    }
}

/// The fields of a commit block that are still to be read.
struct Fields {
    map: Map,
    /// How many there were at first.
    count: usize,
}

impl Fields {
    fn decode(block: &[u8]) -> Result<Fields, CommitError> {
        match cbor::decode(block)? {
            Value::Map(map) => Ok(Fields { count: map.len(), map }),
            _ => Err(problem("", "the block is not a map")),
        }
    }

    fn take(&mut self, field: &'static str) -> Result<Value, CommitError> {
        self.map.remove(field).ok_or_else(|| problem(field, "is missing"))
    }

    fn text(&mut self, field: &'static str) -> Result<String, CommitError> {
        match self.take(field)? {
            Value::String(text) => Ok(text),
            _ => Err(problem(field, "is not a string")),
        }
    }

    fn integer(&mut self, field: &'static str) -> Result<i64, CommitError> {
        self.take(field)?.as_integer().ok_or_else(|| problem(field, "is not an integer"))
    }

    fn did(&mut self) -> Result<Did, CommitError> {
        Did::parse(&self.text("did")?).map_err(|error| problem("did", error.to_string()))
    }

    fn rev(&mut self) -> Result<Tid, CommitError> {
        Tid::parse(&self.text("rev")?).map_err(|error| problem("rev", error.to_string()))
    }

    fn sig(&mut self) -> Result<Vec<u8>, CommitError> {
        match self.take("sig")? {
            Value::Bytes(sig) => Ok(sig),
            _ => Err(problem("sig", "is not bytes")),
        }
    }

    /// CID-3.
    fn tree_link(&mut self) -> Result<Cid, CommitError> {
        match self.take("data")? {
            Value::Link(cid) if cid::is_blessed(&cid) && cid.codec() == cid::CODEC_DAG_CBOR => Ok(cid),
            _ => Err(problem("data", "is not a link to a tree node")),
        }
    }

    /// Old commits leave `prev` out; [`Commit::decode`] counts the fields.
    fn prev(&mut self) -> Result<Option<Cid>, CommitError> {
        match self.map.remove("prev") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Link(cid)) if cid::is_blessed(&cid) => Ok(Some(cid)),
            Some(_) => Err(problem("prev", "is neither null nor a link to a commit")),
        }
    }
}

fn problem(field: &'static str, problem: impl Into<String>) -> CommitError {
    CommitError::Field { field, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::crypto::{Curve, SigningKey};

    fn key(curve: Curve) -> SigningKey {
        SigningKey::from_bytes(curve, &[7; 32]).unwrap()
    }

    fn commit(curve: Curve) -> Commit {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        Commit::sign(did, cid::for_cbor(b"tree"), Tid::from_parts(1_700_000_000_000_000, 3), &key(curve))
    }

    /// The block with one field changed, put in, or (`None`) taken out.
    fn with(field: &str, value: Option<Value>) -> Vec<u8> {
        let Value::Map(mut map) = cbor::decode(&commit(Curve::K256).encode()).unwrap() else {
            panic!("a commit is a map");
        };
        match value {
            Some(value) => drop(map.insert(field, value)),
            None => drop(map.remove(field)),
        }
        cbor::encode(&Value::Map(map))
    }

    #[test]
    fn a_signed_commit_is_read_back_and_verifies() {
        // RP-5, RP-6, RP-8, CR-1.
        for curve in [Curve::K256, Curve::P256] {
            let commit = commit(curve);
            let block = commit.encode();
            assert_eq!(Commit::decode(&block).unwrap(), commit);
            commit.verify(&key(curve).public_key()).unwrap();

            let Value::Map(map) = cbor::decode(&block).unwrap() else {
                panic!("a commit is a map");
            };
            let fields: Vec<_> = map.iter().map(|(field, _)| field).collect();
            assert_eq!(fields, ["did", "rev", "sig", "data", "prev", "version"]);
            assert_eq!(map.get("prev"), Some(&Value::Null));

            let mut other = commit.clone();
            other.rev = Tid::from_parts(1_700_000_000_000_001, 3);
            assert_eq!(other.verify(&key(curve).public_key()), Err(crypto::Error::Mismatch));
        }
    }

    #[test]
    fn a_commit_of_another_server_may_have_a_prev() {
        // RP-6.
        let prev = cid::for_cbor(b"before");
        let block = with("prev", Some(Value::Link(prev)));
        let commit = Commit::decode(&block).unwrap();
        assert_eq!(commit.prev, Some(prev));
        assert_eq!(commit.encode(), block);
    }

    #[test]
    fn other_versions_are_refused_and_their_header_is_read() {
        // RP-15.
        let block = with("version", Some(Value::Integer(2)));
        assert!(matches!(Commit::decode(&block), Err(CommitError::Version(2))));
        assert_eq!(CommitHeader::decode(&block).unwrap().version, 2);
        let header = CommitHeader::decode(&with("rev", None)).unwrap();
        assert_eq!(header.rev, None);
        assert_eq!(CommitHeader::decode(&with("extra", Some(Value::Null))).unwrap().version, 3);
        let header = CommitHeader::decode(&commit(Curve::K256).encode()).unwrap();
        header.verify(&key(Curve::K256).public_key()).unwrap();
        for junk in [b"".as_slice(), b"\xa0", b"\x80", b"\xff"] {
            assert!(CommitHeader::decode(junk).is_err());
        }
    }

    #[test]
    fn malformed_commits_are_refused_by_name_of_the_field() {
        let cases = [
            ("did", Some(Value::String("alice".into()))),
            ("did", None),
            ("rev", Some(Value::String("2222".into()))),
            ("data", Some(Value::Link(cid::for_raw(b"tree")))),
            ("data", Some(Value::Null)),
            ("prev", Some(Value::Integer(0))),
            ("sig", Some(Value::Null)),
        ];
        for (name, value) in cases {
            match Commit::decode(&with(name, value)) {
                Err(CommitError::Field { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        // RP-5: no other fields, and `prev` is there even when null.
        for block in [with("extra", Some(Value::Null)), with("prev", None)] {
            assert!(matches!(Commit::decode(&block), Err(CommitError::Field { .. })));
        }
        let short = with("sig", Some(Value::Bytes(vec![1; 63])));
        assert!(matches!(Commit::decode(&short), Err(CommitError::Signature(_))));
    }
}
