//! Lexicon schemas as data, and validation of records and messages against them (section 20).
//!
//! Schemas are read once and compiled into an arena: every definition and every type inside one
//! is a node, and a reference is the index of the node it names. Validation walks a
//! [`Value`] and the nodes together, allocates nothing while all is well, and never descends
//! deeper than [`VALUE_DEPTH_MAX`]. What is open in a schema stays open: unknown fields and
//! unknown variants of open unions pass unread (LX-6, LX-8).
//!
//! - `schema`: the nodes.
//! - `load`, `fields`: JSON documents to nodes, refusing schemas that break LX-1 to LX-14.
//! - `validate`, `format`: values against nodes.
//! - `embedded`: the schemas that come with the program.
//!
//! Not for: resolving schemas over the network (LX-17), or what holds for every record whatever
//! its schema (`data`).

mod embedded;
mod fields;
mod format;
mod load;
mod schema;
mod validate;

pub use self::validate::VALUE_DEPTH_MAX;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, OnceLock},
};

use self::schema::{KeyType, Method, Node, NodeId, RecordType};
use crate::{
    data::Value,
    syntax::{Nsid, RecordKey, Tid},
};

/// Where a value breaks its schema, and how: `Record/createdAt must be a datetime`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
pub struct ValidationError {
    /// `Record`, `Input`, `Output`, `Message` or `Params`, then `/` and a field or index for each
    /// step inwards; `Record key` for the key.
    pub path: String,
    /// A sentence that goes on from the path.
    pub problem: String,
}

/// Why a schema cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lexicon {id}: {problem}")]
pub struct SchemaError {
    /// NSID of the document, or what stands in its place.
    pub id: String,
    /// Place and fault.
    pub problem: String,
}

/// What a catalog says of a value that breaks no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was checked and is valid.
    Valid,
    /// No schema of that name is loaded.
    Unknown,
}

/// One of the four bodies that a method's schema can describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Query parameters, as a map of booleans, integers, strings and arrays of these (LX-14).
    Params,
    /// Body of a procedure's request.
    Input,
    /// Body of a query's or procedure's answer.
    Output,
    /// Body of an event; a union, so it carries `$type`.
    Message,
}

/// Loaded schemas, references resolved.
#[derive(Debug)]
pub struct Catalog {
    nodes: Box<[Node]>,
    records: HashMap<Arc<str>, RecordType>,
    methods: BTreeMap<Arc<str>, Method>,
}

impl Catalog {
    /// The schemas that come with the program. Parsed when first asked for, then shared.
    pub fn embedded() -> &'static Catalog {
        static EMBEDDED: OnceLock<Catalog> = OnceLock::new();
        // The documents are constants, and a test loads them.
        #[allow(clippy::expect_used)]
        EMBEDDED.get_or_init(|| embedded::load().expect("the embedded schemas are valid"))
    }

    /// Compiles schema documents, in any order; they may refer to one another.
    ///
    /// A reference into a document that is not among them is let through; what it describes is
    /// then refused when validated.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] for the first document that is no lexicon, breaks one of LX-1 to LX-14,
    /// has the id of another, or names a definition that its document lacks.
    pub fn from_documents(
        documents: impl IntoIterator<Item = serde_json::Value>,
    ) -> Result<Catalog, SchemaError> {
        let documents: Vec<_> = documents.into_iter().collect();
        load::compile(&documents)
    }

    /// True when `nsid` is a record type known here.
    pub fn knows_record(&self, nsid: &str) -> bool {
        self.records.contains_key(nsid)
    }

    /// Checks a record and its key against the schema of `collection` (LX-11).
    ///
    /// # Errors
    ///
    /// [`ValidationError`] for the first rule that is broken, the key's first.
    pub fn validate_record(
        &self,
        collection: &str,
        rkey: &RecordKey,
        record: &Value,
    ) -> Result<Verdict, ValidationError> {
        let Some(record_type) = self.records.get(collection) else {
            return Ok(Verdict::Unknown);
        };
        if !record_type.key.allows(rkey) {
            return Err(ValidationError {
                path: "Record key".to_owned(),
                problem: format!("{:?} must be {}", rkey.as_str(), record_type.key),
            });
        }
        self.validate_value(collection, record)
    }

    /// Checks a record alone: its `$type` is `nsid` and its fields follow the schema.
    ///
    /// # Errors
    ///
    /// [`ValidationError`] for the first rule that is broken.
    pub fn validate_value(&self, nsid: &str, record: &Value) -> Result<Verdict, ValidationError> {
        let Some(record_type) = self.records.get(nsid) else {
            return Ok(Verdict::Unknown);
        };
        if let Some(map) = record.as_map() {
            let found = map.get("$type").and_then(Value::as_str);
            if found != Some(nsid) {
                return Err(ValidationError {
                    path: "Record/$type".to_owned(),
                    problem: format!("must be {nsid:?}"),
                });
            }
        }
        self.check("Record", record_type.object, record)
    }

    /// Every query, procedure and subscription loaded, by NSID, with its kind (`query`,
    /// `procedure`, `subscription`).
    pub fn methods(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.methods.iter().map(|(nsid, method)| (nsid.as_ref(), method.kind.as_str()))
    }

    /// Checks the output of a method against its schema.
    ///
    /// A method that describes no JSON output takes anything.
    ///
    /// # Errors
    ///
    /// [`ValidationError`] for the first rule that is broken.
    pub fn validate_output(&self, nsid: &str, output: &Value) -> Result<Verdict, ValidationError> {
        self.validate_part(nsid, Part::Output, output)
    }

    /// Checks one body of a method against its schema; where there is none, anything goes.
    ///
    /// # Errors
    ///
    /// [`ValidationError`] for the first rule that is broken.
    pub fn validate_part(&self, nsid: &str, part: Part, value: &Value) -> Result<Verdict, ValidationError> {
        let Some(method) = self.methods.get(nsid) else {
            return Ok(Verdict::Unknown);
        };
        let (root, node) = match part {
            Part::Params => ("Params", method.params),
            Part::Input => ("Input", method.input),
            Part::Output => ("Output", method.output),
            Part::Message => ("Message", method.message),
        };
        match node {
            Some(node) => self.check(root, node, value),
            None => Ok(Verdict::Valid),
        }
    }

    fn check(&self, root: &str, node: NodeId, value: &Value) -> Result<Verdict, ValidationError> {
        match validate::validate(&self.nodes, node, value) {
            Ok(()) => Ok(Verdict::Valid),
            Err(fault) => {
                let (path, problem) = fault.into_parts(root);
                Err(ValidationError { path, problem })
            }
        }
    }
}

impl KeyType {
    fn allows(&self, rkey: &RecordKey) -> bool {
        match self {
            KeyType::Any => true,
            KeyType::Tid => Tid::parse(rkey.as_str()).is_ok(),
            KeyType::Nsid => Nsid::parse(rkey.as_str()).is_ok(),
            KeyType::Literal(text) => **text == *rkey.as_str(),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyType::Any => f.write_str("a record key"),
            KeyType::Tid => f.write_str("a TID"),
            KeyType::Nsid => f.write_str("an NSID"),
            KeyType::Literal(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
