//! Schema documents to nodes, refusing what breaks LX-1 to LX-14.
//!
//! Two passes: the first gives every definition its node id, so that the second can turn each
//! reference into an id whatever the order of documents. Unknown fields of a document are left
//! alone, so that a schema with an annotation from the future still loads.

mod types;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value as Json;

use super::{
    Catalog, SchemaError,
    fields::Fields,
    schema::{Fault, KeyType, Method, MethodKind, Node, NodeId, RecordType},
};
use crate::syntax::{Nsid, RecordKey};

/// How deep types may be nested in one definition.
const SCHEMA_DEPTH_MAX: u32 = 32;
/// How many types one catalog may hold.
const NODES_MAX: usize = 1 << 20;

/// The only version there is.
const LEXICON_VERSION: i64 = 1;

/// Compiles documents that may refer to one another.
pub(super) fn compile(documents: &[Json]) -> Result<Catalog, SchemaError> {
    let mut loader = Loader::default();
    let mut opened = Vec::with_capacity(documents.len());
    for json in documents {
        let id = json.get("id").and_then(Json::as_str).unwrap_or("(without id)");
        let document = Document::open(json).map_err(|fault| schema_error(id, fault))?;
        loader.declare(&document).map_err(|fault| schema_error(id, fault))?;
        opened.push(document);
    }
    for document in &opened {
        loader.define(document).map_err(|fault| schema_error(document.id, fault))?;
    }
    Ok(Catalog { nodes: loader.nodes.into(), records: loader.records, methods: loader.methods })
}

fn schema_error(id: &str, fault: Fault) -> SchemaError {
    let (path, problem) = fault.into_parts("");
    let problem = if path.is_empty() { problem } else { format!("{path} {problem}") };
    SchemaError { id: id.to_owned(), problem }
}

/// A document whose outermost form is fine (LX-1).
struct Document<'a> {
    id: &'a str,
    defs: Fields<'a>,
}

impl<'a> Document<'a> {
    fn open(json: &'a Json) -> Result<Document<'a>, Fault> {
        let fields = Fields::of(json)?;
        if fields.integer("lexicon")? != Some(LEXICON_VERSION) {
            return Err(Fault::new("must be 1").at("lexicon"));
        }
        let id = fields.require_text("id")?;
        Nsid::parse(id).map_err(|problem| Fault::new(problem.to_string()).at("id"))?;
        match fields.object("defs")? {
            Some(defs) if defs.len() > 0 => Ok(Document { id, defs }),
            _ => Err(Fault::new("must hold at least one definition").at("defs")),
        }
    }

    /// What references call a definition of this document (LX-3).
    fn name_of(&self, def: &str) -> String {
        match def {
            "main" => self.id.to_owned(),
            def => format!("{}#{def}", self.id),
        }
    }
}

/// What a definition can be used as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Described by a map: a `ref` or a variant of a union.
    Object,
    /// Any other value: a `ref`.
    Value,
    /// Not a value: nothing refers to it.
    Name,
}

#[derive(Default)]
struct Loader {
    nodes: Vec<Node>,
    /// By name, see [`Document::name_of`].
    declared: HashMap<String, (NodeId, Use)>,
    document_ids: HashSet<String>,
    missing: HashMap<String, NodeId>,
    texts: HashSet<Arc<str>>,
    records: HashMap<Arc<str>, RecordType>,
    methods: BTreeMap<Arc<str>, Method>,
}

impl Loader {
    /// First pass: types of definitions (LX-1, LX-2) and their node ids.
    fn declare(&mut self, document: &Document<'_>) -> Result<(), Fault> {
        if !self.document_ids.insert(document.id.to_owned()) {
            return Err(Fault::new("is already taken by another document").at("id"));
        }
        for (name, json) in document.defs.iter() {
            let declare = || {
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(Fault::new("must be named with letters and digits"));
                }
                let used_as = match Fields::of(json)?.kind()? {
                    "record" => Use::Object,
                    "query" | "procedure" | "subscription" | "permission-set" => Use::Name,
                    "object" => return Ok(Use::Object),
                    "token" => return Ok(Use::Name),
                    "null" | "boolean" | "integer" | "string" | "bytes" | "cid-link" | "blob" | "array" => {
                        return Ok(Use::Value);
                    }
                    other => return Err(Fault::new(format!("must not be a {other:?}"))),
                };
                match name.as_str() {
                    "main" => Ok(used_as),
                    _ => Err(Fault::new("must be named main to be a primary type")),
                }
            };
            let used_as = declare().map_err(|fault| fault.at(name).at("defs"))?;
            let node = self.push(Node::Token)?;
            self.declared.insert(document.name_of(name), (node, used_as));
        }
        Ok(())
    }

    /// Second pass: fills the nodes.
    fn define(&mut self, document: &Document<'_>) -> Result<(), Fault> {
        for (name, json) in document.defs.iter() {
            let Some((id, _)) = self.declared.get(&document.name_of(name)).copied() else {
                continue;
            };
            self.definition(document, id, json).map_err(|fault| fault.at(name).at("defs"))?;
        }
        Ok(())
    }

    fn definition(&mut self, document: &Document<'_>, id: NodeId, json: &Json) -> Result<(), Fault> {
        let fields = Fields::of(json)?;
        let node = match fields.kind()? {
            "token" => Node::Token,
            "permission-set" => {
                permission_set(fields)?;
                Node::Token
            }
            "query" => self.method(document, fields, MethodKind::Query)?,
            "procedure" => self.method(document, fields, MethodKind::Procedure)?,
            "subscription" => self.method(document, fields, MethodKind::Subscription)?,
            "record" => self.record(document, id, fields)?,
            _ => self.value(document, fields, SCHEMA_DEPTH_MAX)?,
        };
        if let Some(slot) = self.nodes.get_mut(id.0 as usize) {
            *slot = node;
        }
        Ok(())
    }

    /// LX-11
    fn record(&mut self, document: &Document<'_>, id: NodeId, fields: Fields<'_>) -> Result<Node, Fault> {
        let key = key_type(fields.require_text("key")?).map_err(|fault| fault.at("key"))?;
        let node = self.only(document, fields, "record", &["object"])?;
        let nsid = self.intern(document.id);
        self.records.insert(nsid, RecordType { key, object: id });
        Ok(node)
    }

    fn method(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        kind: MethodKind,
    ) -> Result<Node, Fault> {
        let params = match fields.get("parameters") {
            None => None,
            Some(json) => {
                let node = Fields::of(json)
                    .and_then(|params| self.params(document, params))
                    .map_err(|fault| fault.at("parameters"))?;
                Some(self.push(node)?)
            }
        };
        let input = match kind {
            MethodKind::Procedure => self.body(document, fields, "input")?,
            MethodKind::Query | MethodKind::Subscription => None,
        };
        let (output, message) = match kind {
            MethodKind::Subscription => (None, self.message(document, fields)?),
            MethodKind::Query | MethodKind::Procedure => (self.body(document, fields, "output")?, None),
        };
        for error in fields.list("errors")?.unwrap_or_default() {
            Fields::of(error)
                .and_then(|error| error.require_text("name"))
                .map_err(|fault| fault.at("errors"))?;
        }
        let nsid = self.intern(document.id);
        self.methods.insert(nsid, Method { kind, params, input, output, message });
        Ok(Node::Token)
    }

    /// Input or output: an encoding, and a schema when that is JSON.
    fn body(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        name: &str,
    ) -> Result<Option<NodeId>, Fault> {
        let Some(body) = fields.object(name)? else {
            return Ok(None);
        };
        let mut read = || {
            body.require_text("encoding")?;
            self.optional(document, body, "schema", &["object", "ref", "union"])
        };
        read().map_err(|fault| fault.at(name))
    }

    fn message(&mut self, document: &Document<'_>, fields: Fields<'_>) -> Result<Option<NodeId>, Fault> {
        match fields.object("message")? {
            Some(message) => {
                self.optional(document, message, "schema", &["union"]).map_err(|fault| fault.at("message"))
            }
            None => Ok(None),
        }
    }

    /// LX-14
    fn params(&mut self, document: &Document<'_>, fields: Fields<'_>) -> Result<Node, Fault> {
        const PLAIN: [&str; 3] = ["boolean", "integer", "string"];
        if fields.kind()? != "params" {
            return Err(Fault::new("must be params").at("type"));
        }
        if fields.get("nullable").is_some() {
            return Err(Fault::new("must be left out: parameters are never null").at("nullable"));
        }
        for (name, json) in fields.object("properties")?.into_iter().flat_map(Fields::iter) {
            let check = || {
                let property = Fields::of(json)?;
                let kind = match property.kind()? {
                    "array" => Fields::of(property.require("items")?)?.kind()?,
                    kind => kind,
                };
                match PLAIN.contains(&kind) {
                    true => Ok(()),
                    false => Err(Fault::new(format!("must not be a {kind:?} in a query string"))),
                }
            };
            check().map_err(|fault: Fault| fault.at(name).at("properties"))?;
        }
        self.object(document, fields, SCHEMA_DEPTH_MAX)
    }

    /// A field that holds a type of one of `kinds`; returned as a node of its own.
    fn optional(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        name: &str,
        kinds: &[&str],
    ) -> Result<Option<NodeId>, Fault> {
        let Some(json) = fields.get(name) else {
            return Ok(None);
        };
        of_kind(json, kinds)
            .and_then(|_| self.child(document, json, SCHEMA_DEPTH_MAX))
            .map(Some)
            .map_err(|fault| fault.at(name))
    }

    /// As [`Loader::optional`], but must be there and is not stored.
    fn only(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        name: &str,
        kinds: &[&str],
    ) -> Result<Node, Fault> {
        of_kind(fields.require(name)?, kinds)
            .and_then(|fields| self.value(document, fields, SCHEMA_DEPTH_MAX))
            .map_err(|fault| fault.at(name))
    }

    /// LX-7: the node of a reference, and its full name.
    fn resolve(
        &mut self,
        document: &Document<'_>,
        reference: &str,
        uses: &[Use],
    ) -> Result<(NodeId, String), Fault> {
        let (nsid, def) = match reference.split_once('#') {
            Some(("", def)) => (document.id, def),
            Some((nsid, def)) => (nsid, def),
            None => (reference, "main"),
        };
        if Nsid::parse(nsid).is_err() || def.is_empty() {
            return Err(Fault::new(format!("{reference:?} is no reference")));
        }
        let name = if def == "main" { nsid.to_owned() } else { format!("{nsid}#{def}") };
        match self.declared.get(&name) {
            Some((node, used_as)) if uses.contains(used_as) => Ok((*node, name)),
            Some(_) => Err(Fault::new(format!("{reference:?} is of a type that cannot be used here"))),
            None if self.document_ids.contains(nsid) => {
                Err(Fault::new(format!("{reference:?} names no definition")))
            }
            None => {
                if let Some(node) = self.missing.get(&name) {
                    return Ok((*node, name));
                }
                let text = self.intern(&name);
                let node = self.push(Node::Missing(text))?;
                self.missing.insert(name.clone(), node);
                Ok((node, name))
            }
        }
    }

    fn push(&mut self, node: Node) -> Result<NodeId, Fault> {
        match u32::try_from(self.nodes.len()) {
            Ok(id) if self.nodes.len() < NODES_MAX => {
                self.nodes.push(node);
                Ok(NodeId(id))
            }
            _ => Err(Fault::new(format!("is past the {NODES_MAX} types a catalog holds"))),
        }
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        match self.texts.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.texts.insert(new.clone());
                new
            }
        }
    }
}

fn of_kind<'a>(json: &'a Json, kinds: &[&str]) -> Result<Fields<'a>, Fault> {
    let fields = Fields::of(json)?;
    match kinds.contains(&fields.kind()?) {
        true => Ok(fields),
        false => Err(Fault::new(format!("must be one of {}", kinds.join(", "))).at("type")),
    }
}

/// ID-2
fn key_type(text: &str) -> Result<KeyType, Fault> {
    match text {
        "any" => Ok(KeyType::Any),
        "tid" => Ok(KeyType::Tid),
        "nsid" => Ok(KeyType::Nsid),
        other => match other.strip_prefix("literal:") {
            Some(literal) if RecordKey::parse(literal).is_ok() => Ok(KeyType::Literal(literal.into())),
            _ => Err(Fault::new("must be tid, nsid, any or literal:<record key>")),
        },
    }
}

/// Only the outline: what a permission grants is read where it is granted (section 23).
fn permission_set(fields: Fields<'_>) -> Result<(), Fault> {
    let Some(permissions) = fields.list("permissions")? else {
        return Err(Fault::new("must have the field \"permissions\""));
    };
    for permission in permissions {
        of_kind(permission, &["permission"])
            .and_then(|permission| permission.require_text("resource"))
            .map_err(|fault| fault.at("permissions"))?;
    }
    Ok(())
}
