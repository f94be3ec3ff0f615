//! Values against nodes: LX-4 to LX-10, LX-15.

use unicode_segmentation::UnicodeSegmentation;

use super::schema::{BlobType, Fault, IntegerType, Node, NodeId, Property, Range, StringType, UnionType};
use crate::data::{Map, Value};

/// How deep a value may be nested where a schema looks into it; one level per array or map.
///
/// The data model allows less (DM-18); this bound keeps validation safe without it.
pub const VALUE_DEPTH_MAX: u32 = 64;

/// `$type` of a blob reference (DM-15).
const BLOB: &str = "blob";

/// Checks `value` against the node; the fault is the first rule broken.
pub(super) fn validate(nodes: &[Node], node: NodeId, value: &Value) -> Result<(), Fault> {
    Validator { nodes }.any(node, value, VALUE_DEPTH_MAX)
}

#[derive(Clone, Copy)]
struct Validator<'a> {
    nodes: &'a [Node],
}

impl Validator<'_> {
    fn any(self, id: NodeId, value: &Value, depth_left: u32) -> Result<(), Fault> {
        let Some(node) = self.nodes.get(id.0 as usize) else {
            return Err(Fault::new("has no schema"));
        };
        match (node, value) {
            (Node::Null, Value::Null) | (Node::CidLink, Value::Link(_)) => Ok(()),
            (Node::Boolean { constant }, Value::Bool(found)) => match constant {
                Some(constant) if constant != found => Err(Fault::new(format!("must be {constant}"))),
                _ => Ok(()),
            },
            (Node::Integer(schema), Value::Integer(found)) => integer(schema, *found),
            (Node::String(schema), Value::String(found)) => string(schema, found),
            (Node::Bytes { length }, Value::Bytes(found)) => within(*length, found.len(), "bytes"),
            (Node::Blob(schema), _) => blob(schema, value),
            (Node::Unknown, Value::Map(map)) if !is_blob(map) => Ok(()),
            (Node::Array { .. } | Node::Object(_) | Node::Union(_), _) if depth_left == 0 => {
                Err(Fault::new(format!("must not be nested deeper than {VALUE_DEPTH_MAX} levels")))
            }
            (Node::Array { items, length }, Value::Array(found)) => {
                within(*length, found.len(), "elements")?;
                for (idx, item) in found.iter().enumerate() {
                    self.any(*items, item, depth_left - 1).map_err(|fault| fault.at(idx.to_string()))?;
                }
                Ok(())
            }
            (Node::Object(properties), Value::Map(map)) => self.object(properties, map, depth_left - 1),
            // The variant is an object and takes its level of depth itself.
            (Node::Union(schema), Value::Map(map)) => self.union(schema, map, value, depth_left),
            (Node::Missing(name), _) => {
                Err(Fault::new(format!("refers to {name}, whose schema is not loaded")))
            }
            (node, _) => Err(Fault::new(format!("must be {}", noun(node)))),
        }
    }

    fn object(self, properties: &[Property], map: &Map, depth_left: u32) -> Result<(), Fault> {
        for property in properties {
            match map.get(&property.name) {
                None if property.required => {
                    return Err(Fault::new(format!("must have the property {:?}", property.name)));
                }
                None => {}
                Some(Value::Null) if property.nullable => {}
                Some(value) => {
                    self.any(property.node, value, depth_left).map_err(|fault| fault.at(&*property.name))?
                }
            }
        }
        Ok(())
    }

    fn union(self, schema: &UnionType, map: &Map, value: &Value, depth_left: u32) -> Result<(), Fault> {
        let name = map.get("$type").and_then(Value::as_str);
        // A blob is a kind of its own (DM-15), no object with a type.
        let Some(name) = name.filter(|name| !name.is_empty() && *name != BLOB) else {
            return Err(Fault::new("must be an object which includes the \"$type\" property"));
        };
        if name.ends_with("#main") {
            return Err(Fault::new("must leave out \"#main\"").at("$type"));
        }
        match schema.variants.iter().find(|variant| *variant.name == *name) {
            Some(variant) => self.any(variant.node, value, depth_left),
            None if schema.closed => {
                let names: Vec<_> = schema.variants.iter().map(|v| &*v.name).collect();
                Err(Fault::new(format!("$type must be one of {}", names.join(", "))))
            }
            None => Ok(()),
        }
    }
}

fn integer(schema: &IntegerType, found: i64) -> Result<(), Fault> {
    if let Some(constant) = schema.constant
        && found != constant
    {
        return Err(Fault::new(format!("must be {constant}")));
    }
    if let Some(options) = &schema.options
        && !options.contains(&found)
    {
        let options: Vec<_> = options.iter().map(i64::to_string).collect();
        return Err(Fault::new(format!("must be one of ({})", options.join("|"))));
    }
    match (schema.minimum, schema.maximum) {
        (Some(minimum), _) if found < minimum => Err(Fault::new(format!("can not be less than {minimum}"))),
        (_, Some(maximum)) if found > maximum => {
            Err(Fault::new(format!("can not be greater than {maximum}")))
        }
        _ => Ok(()),
    }
}

fn string(schema: &StringType, found: &str) -> Result<(), Fault> {
    if let Some(constant) = &schema.constant
        && *found != **constant
    {
        return Err(Fault::new(format!("must be {constant:?}")));
    }
    if let Some(options) = &schema.options
        && !options.iter().any(|option| **option == *found)
    {
        return Err(Fault::new(format!("must be one of ({})", options.join("|"))));
    }
    within(schema.length, found.len(), "bytes of UTF-8")?;
    graphemes(schema.graphemes, found)?;
    match schema.format {
        Some(format) if !format.allows(found) => Err(Fault::new(format!("must be {}", format.noun()))),
        _ => Ok(()),
    }
}

/// Counts clusters only as far as the limits ask. A cluster has at least one byte, so a text of
/// no more bytes than the limit has no more clusters either.
fn graphemes(limits: Range, text: &str) -> Result<(), Fault> {
    let count_to = |n: usize| text.graphemes(true).take(n).count();
    if let Some(min) = limits.min {
        let min = min as usize;
        if text.len() < min || count_to(min) < min {
            return Err(Fault::new(format!("must not be shorter than {min} graphemes")));
        }
    }
    if let Some(max) = limits.max {
        let max = max as usize;
        if text.len() > max && count_to(max + 1) > max {
            return Err(Fault::new(format!("must not be longer than {max} graphemes")));
        }
    }
    Ok(())
}

fn within(limits: Range, length: usize, unit: &str) -> Result<(), Fault> {
    match limits {
        Range { min: Some(min), .. } if length < min as usize => {
            Err(Fault::new(format!("must not have fewer than {min} {unit}")))
        }
        Range { max: Some(max), .. } if length > max as usize => {
            Err(Fault::new(format!("must not have more than {max} {unit}")))
        }
        _ => Ok(()),
    }
}

/// A blob reference in its modern form; the legacy form is refused (DM-17).
///
/// That the reference is a CID with the raw codec is a rule of the data model (DM-15), not of any
/// schema, and is checked there.
fn blob(schema: &BlobType, value: &Value) -> Result<(), Fault> {
    let Some(map) = value.as_map().filter(|map| is_blob(map)) else {
        return Err(Fault::new("must be a blob"));
    };
    let Some(Value::Link(_)) = map.get("ref") else {
        return Err(Fault::new("must be a link").at("ref"));
    };
    let Some(mime_type) = map.get("mimeType").and_then(Value::as_str).filter(|t| !t.is_empty()) else {
        return Err(Fault::new("must be a string that is not empty").at("mimeType"));
    };
    let Some(size @ 1..) = map.get("size").and_then(Value::as_integer) else {
        return Err(Fault::new("must be an integer above zero").at("size"));
    };
    if let Some(accept) = &schema.accept
        && !accept.iter().any(|pattern| pattern.matches(mime_type))
    {
        return Err(Fault::new(format!("has the type {mime_type:?}, which is not accepted here")));
    }
    match schema.max_size {
        Some(max) if size.unsigned_abs() > max => {
            Err(Fault::new(format!("has {size} bytes; at most {max} are accepted")))
        }
        _ => Ok(()),
    }
}

fn is_blob(map: &Map) -> bool {
    map.get("$type").and_then(Value::as_str) == Some(BLOB)
}

fn noun(node: &Node) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Boolean { .. } => "a boolean",
        Node::Integer(_) => "an integer",
        Node::String(_) => "a string",
        Node::Bytes { .. } => "bytes",
        Node::CidLink => "a cid-link",
        Node::Blob(_) => "a blob",
        Node::Array { .. } => "an array",
        Node::Object(_) => "an object",
        Node::Union(_) => "an object which includes the \"$type\" property",
        Node::Unknown => "an object that is no blob",
        Node::Token | Node::Missing(_) => "left out: its schema describes no value",
    }
}
