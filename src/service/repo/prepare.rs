//! From a write as asked for to canonical bytes: type, key, schema, blobs and CID. All of the slow part of a write,
//! done before it queues for the writer.
//!
//! Not for: anything that depends on what the repository holds ([`super::write`]).

use atproto::{
    data::{BlobRef, Cid, Value, blob_ref, cbor, cid},
    lexicon::{Catalog, Verdict},
    syntax::{AtUri, Did, Nsid, RecordKey, RepoPath, Tid},
};

use super::write::{Swap, Validation, ValidationStatus, Write, WriteError};

/// Largest record, as canonical CBOR, in bytes (SY-12).
pub(super) const RECORD_BYTES_MAX: usize = 1_000_000;

/// A write that only has to be compared with what the repository holds.
#[derive(Debug)]
pub(super) struct Prepared {
    pub path: RepoPath,
    pub change: Change,
}

/// The four kinds of [`Write`], with the record as bytes.
#[derive(Debug)]
pub(super) enum Change {
    Create { record: Encoded, replace_duplicates: bool },
    Update { record: Encoded },
    Put { record: Encoded, swap_record: Swap },
    Delete { must_exist: bool, swap_record: Swap },
}

/// A record ready to be stored.
#[derive(Debug)]
pub(super) struct Encoded {
    pub cid: Cid,
    pub block: Vec<u8>,
    /// What it refers to, in document order.
    pub blobs: Vec<BlobRef>,
    /// See [`link_target`].
    pub link_to: Option<String>,
    /// `None` when the caller asked for no validation.
    pub validation_status: Option<ValidationStatus>,
}

impl Change {
    /// The record that the write leaves behind; `None` for a delete.
    pub fn record(&self) -> Option<&Encoded> {
        match self {
            Change::Create { record, .. } | Change::Update { record } | Change::Put { record, .. } => {
                Some(record)
            }
            Change::Delete { .. } => None,
        }
    }
}

/// Checks and encodes one write. `next_tid` makes the key of a create that has none (XR-15).
pub(super) fn prepare(
    write: Write,
    validation: Validation,
    next_tid: impl FnOnce() -> Tid,
) -> Result<Prepared, WriteError> {
    let encode = |collection: &Nsid, rkey: &RecordKey, record| encode(collection, rkey, record, validation);
    Ok(match write {
        Write::Create { collection, rkey, record, replace_duplicates } => {
            let rkey = match rkey {
                Some(rkey) => rkey,
                None => RecordKey::parse(&next_tid().to_string()).map_err(invalid)?,
            };
            let record = encode(&collection, &rkey, record)?;
            Prepared {
                path: RepoPath::new(&collection, &rkey),
                change: Change::Create { record, replace_duplicates },
            }
        }
        Write::Update { collection, rkey, record } => {
            let record = encode(&collection, &rkey, record)?;
            Prepared { path: RepoPath::new(&collection, &rkey), change: Change::Update { record } }
        }
        Write::Put { collection, rkey, record, swap_record } => {
            let record = encode(&collection, &rkey, record)?;
            Prepared { path: RepoPath::new(&collection, &rkey), change: Change::Put { record, swap_record } }
        }
        Write::Delete { collection, rkey, must_exist, swap_record } => Prepared {
            path: RepoPath::new(&collection, &rkey),
            change: Change::Delete { must_exist, swap_record },
        },
    })
}

fn invalid(error: impl std::fmt::Display) -> WriteError {
    WriteError::Invalid(error.to_string())
}

/// The checks of the data model hold whatever `validation` says (DM-19).
fn encode(
    collection: &Nsid,
    rkey: &RecordKey,
    mut record: Value,
    validation: Validation,
) -> Result<Encoded, WriteError> {
    fill_in_type(collection, &mut record)?;
    let blobs = blob_ref::collect(&record).map_err(invalid)?;
    let validation_status = validate(collection, rkey, &record, validation)?;
    let block = cbor::encode(&record);
    if block.len() > RECORD_BYTES_MAX {
        return Err(WriteError::Invalid(format!(
            "record {collection}/{rkey} is {} bytes; at most {RECORD_BYTES_MAX} are accepted",
            block.len()
        )));
    }
    Ok(Encoded {
        cid: cid::for_cbor(&block),
        link_to: link_target(collection.as_str(), &record).map(str::to_owned),
        block,
        blobs,
        validation_status,
    })
}

/// `$type` is the collection (XR-20): filled in when absent, refused when it says something else.
fn fill_in_type(collection: &Nsid, record: &mut Value) -> Result<(), WriteError> {
    let Value::Map(map) = record else {
        return Err(WriteError::Invalid("a record is an object".into()));
    };
    match map.get("$type") {
        None => {
            map.insert("$type", Value::String(collection.as_str().to_owned()));
            Ok(())
        }
        Some(Value::String(name)) if name == collection.as_str() => Ok(()),
        Some(Value::String(name)) => {
            Err(WriteError::Invalid(format!("Invalid $type: expected {collection}, got {name}")))
        }
        Some(_) => Err(WriteError::Invalid(format!("Invalid $type: expected {collection}, got no string"))),
    }
}

/// XR-19.
fn validate(
    collection: &Nsid,
    rkey: &RecordKey,
    record: &Value,
    validation: Validation,
) -> Result<Option<ValidationStatus>, WriteError> {
    if validation == Validation::Skip {
        return Ok(None);
    }
    match Catalog::embedded().validate_record(collection.as_str(), rkey, record) {
        Ok(Verdict::Valid) => Ok(Some(ValidationStatus::Valid)),
        Ok(Verdict::Unknown) if validation == Validation::Required => {
            Err(WriteError::Invalid(format!("Unknown lexicon type: {collection}")))
        }
        Ok(Verdict::Unknown) => Ok(Some(ValidationStatus::Unknown)),
        Err(error) => Err(WriteError::Invalid(format!("Invalid {collection} record: {error}"))),
    }
}

/// What a follow, block, like or repost is about: a DID or an AT-URI. Two such records about the same thing are
/// duplicates.
pub(super) fn link_target<'a>(collection: &str, record: &'a Value) -> Option<&'a str> {
    let subject = record.get("subject")?;
    match collection {
        "app.bsky.graph.follow" | "app.bsky.graph.block" => {
            subject.as_str().filter(|text| Did::parse(text).is_ok())
        }
        "app.bsky.feed.like" | "app.bsky.feed.repost" => {
            subject.get("uri")?.as_str().filter(|text| AtUri::parse(text).is_ok())
        }
        _ => None,
    }
}
