//! Blob references inside records (DM-15..DM-17), found without a schema.
//!
//! Not for: whether the blob is held, or allowed by a schema.

use super::{Cid, Map, Value, cid};

/// A modern blob reference: `{"$type":"blob","ref":{"$link":…},"mimeType":…,"size":…}` in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// CID of the bytes, codec raw.
    pub cid: Cid,
    /// Media type, not empty.
    pub mime_type: String,
    /// Length in bytes, at least 1.
    pub size: u64,
}

/// Why a value is not a blob reference that may be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// DM-17
    #[error("Legacy blobs are not allowed ({0})")]
    Legacy(Cid),
    /// DM-16
    #[error("blob {field} {problem}")]
    Malformed {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl BlobRef {
    /// Reads a blob reference. `Ok(None)`: this is no map with `$type: blob`.
    pub fn from_value(value: &Value) -> Result<Option<BlobRef>, Error> {
        match value.as_map() {
            Some(map) if is_blob(map) => BlobRef::from_map(map).map(Some),
            _ => Ok(None),
        }
    }

    fn from_map(map: &Map) -> Result<BlobRef, Error> {
        let malformed = |field, problem| Error::Malformed { field, problem };
        let cid = match map.get("ref") {
            Some(Value::Link(cid)) => *cid,
            Some(_) => return Err(malformed("ref", "must be a link")),
            None => return Err(malformed("ref", "is missing")),
        };
        if !cid::is_blessed(&cid) || cid.codec() != cid::CODEC_RAW {
            return Err(malformed("ref", "must be a version 1 CID, codec raw, hash sha2-256"));
        }
        let mime_type = match map.get("mimeType") {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            Some(_) => return Err(malformed("mimeType", "must be a string that is not empty")),
            None => return Err(malformed("mimeType", "is missing")),
        };
        let size = match map.get("size") {
            Some(Value::Integer(n @ 1..)) => n.unsigned_abs(),
            Some(_) => return Err(malformed("size", "must be an integer above zero")),
            None => return Err(malformed("size", "is missing")),
        };
        Ok(BlobRef { cid, mime_type, size })
    }

    /// The reference as it stands in a record.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("$type", Value::String("blob".to_owned()));
        map.insert("ref", Value::Link(self.cid));
        map.insert("mimeType", Value::String(self.mime_type.clone()));
        map.insert("size", Value::Integer(i64::try_from(self.size).unwrap_or(i64::MAX)));
        Value::Map(map)
    }
}

fn is_blob(map: &Map) -> bool {
    map.get("$type").and_then(Value::as_str) == Some("blob")
}

/// The CID of a legacy blob (DM-17): a map of just `cid`, a CID as text, and `mimeType`.
fn legacy_cid(map: &Map) -> Option<Cid> {
    match (map.len(), map.get("cid"), map.get("mimeType")) {
        (2, Some(Value::String(text)), Some(Value::String(_))) => cid::parse(text).ok(),
        _ => None,
    }
}

/// Every blob reference of a record, in canonical order of the keys that lead to it.
///
/// # Errors
///
/// Legacy and malformed references are refused.
pub fn collect(record: &Value) -> Result<Vec<BlobRef>, Error> {
    let mut found = Vec::new();
    visit(record, &mut |map| {
        if is_blob(map) {
            found.push(BlobRef::from_map(map)?);
            return Ok(());
        }
        legacy_cid(map).map_or(Ok(()), |cid| Err(Error::Legacy(cid)))
    })?;
    Ok(found)
}

/// CIDs of every blob of a record, legacy ones too (import: what must be held). Malformed
/// references are passed over.
pub fn collect_lenient(record: &Value) -> Vec<Cid> {
    let mut found = Vec::new();
    // The visitor never fails, so neither does the visit.
    let _ = visit(record, &mut |map| {
        if is_blob(map) {
            found.extend(map.get("ref").and_then(Value::as_link));
        } else {
            found.extend(legacy_cid(map));
        }
        Ok(())
    });
    found
}

/// Shows every map of `value` to `visitor`. Values are at most [`super::DEPTH_MAX`] deep.
fn visit(value: &Value, visitor: &mut impl FnMut(&Map) -> Result<(), Error>) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| visit(item, visitor)),
        Value::Map(map) => {
            visitor(map)?;
            map.iter().try_for_each(|(_, value)| visit(value, visitor))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::data::json;

    fn value(text: &str) -> Value {
        json::from_slice(text.as_bytes()).unwrap()
    }

    fn blob(content: &[u8]) -> BlobRef {
        BlobRef { cid: cid::for_raw(content), mime_type: "image/png".to_owned(), size: 5 }
    }

    #[test]
    fn a_reference_survives_its_value() {
        // DM-15
        let reference = blob(b"a");
        let written = reference.to_value();
        let expected = format!(
            r#"{{"ref":{{"$link":"{}"}},"size":5,"$type":"blob","mimeType":"image/png"}}"#,
            reference.cid
        );
        assert_eq!(serde_json::to_string(&written).unwrap(), expected);
        assert_eq!(BlobRef::from_value(&written), Ok(Some(reference)));
        assert_eq!(BlobRef::from_value(&value("{}")), Ok(None));
    }

    #[test]
    fn a_reference_that_lacks_something_is_refused() {
        // DM-16
        let change = |key: &str, new: Option<Value>| {
            let Value::Map(mut map) = blob(b"a").to_value() else { unreachable!() };
            match new {
                Some(new) => map.insert(key, new),
                None => map.remove(key),
            };
            collect(&Value::Array(vec![Value::Map(map)])).unwrap_err().to_string()
        };
        assert_eq!(change("ref", None), "blob ref is missing");
        assert_eq!(change("ref", Some(Value::Null)), "blob ref must be a link");
        let not_raw = Value::Link(cid::for_cbor(b"a"));
        assert!(change("ref", Some(not_raw)).starts_with("blob ref must be a version 1 CID, codec raw"));
        assert_eq!(change("mimeType", None), "blob mimeType is missing");
        assert_eq!(
            change("mimeType", Some(Value::String(String::new()))),
            "blob mimeType must be a string that is not empty"
        );
        assert_eq!(change("size", None), "blob size is missing");
        for size in [Value::Integer(0), Value::Integer(-1), Value::String("5".to_owned())] {
            assert_eq!(change("size", Some(size)), "blob size must be an integer above zero");
        }
    }

    #[test]
    fn blobs_are_found_at_any_depth() {
        let record = value(&format!(
            r#"{{"$type":"a.b.c","z":[{{"x":{}}}],"a":{}}}"#,
            json::to_json(&blob(b"deep").to_value()),
            json::to_json(&blob(b"top").to_value()),
        ));
        assert_eq!(collect(&record), Ok(vec![blob(b"top"), blob(b"deep")]));
        assert_eq!(collect_lenient(&record), [blob(b"top").cid, blob(b"deep").cid]);
    }

    #[test]
    fn a_legacy_blob_counts_on_import_only() {
        // DM-17
        let cid = cid::for_raw(b"old");
        let record = value(&format!(r#"{{"avatar":{{"cid":"{cid}","mimeType":"image/png"}}}}"#));
        assert_eq!(collect(&record), Err(Error::Legacy(cid)));
        assert_eq!(collect_lenient(&record), [cid]);
        let other = value(&format!(r#"{{"subject":{{"cid":"{cid}","uri":"at://a.b"}}}}"#));
        assert_eq!(collect(&other), Ok(vec![]));
        assert!(collect_lenient(&other).is_empty());
    }
}
