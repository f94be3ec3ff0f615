//! The types of values: what LX-4 to LX-10 let a schema say of each.

use serde_json::Value as Json;

use super::{Document, Loader, SCHEMA_DEPTH_MAX, Use};
use crate::lexicon::{
    fields::Fields,
    format::Format,
    schema::{
        BlobType, Fault, IntegerType, MimePattern, Node, NodeId, Property, StringType, UnionType, Variant,
    },
};

impl Loader {
    /// A type inside another: a reference becomes the node it names, the rest a new node.
    pub(super) fn child(
        &mut self,
        document: &Document<'_>,
        json: &Json,
        depth_left: u32,
    ) -> Result<NodeId, Fault> {
        if depth_left == 0 {
            return Err(Fault::new(format!("is nested deeper than {SCHEMA_DEPTH_MAX} types")));
        }
        let fields = Fields::of(json)?;
        match fields.kind()? {
            "ref" => {
                let (node, _) = self
                    .resolve(document, fields.require_text("ref")?, &[Use::Object, Use::Value])
                    .map_err(|fault| fault.at("ref"))?;
                Ok(node)
            }
            _ => {
                let node = self.value(document, fields, depth_left - 1)?;
                self.push(node)
            }
        }
    }

    pub(super) fn value(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        depth_left: u32,
    ) -> Result<Node, Fault> {
        Ok(match fields.kind()? {
            "null" => Node::Null,
            "boolean" => {
                exclusive(fields, fields.flag("default")?.is_some())?;
                Node::Boolean { constant: fields.flag("const")? }
            }
            "integer" => Node::Integer(Box::new(integer(fields)?)),
            "string" => Node::String(Box::new(self.string(fields)?)),
            "bytes" => Node::Bytes { length: fields.range("minLength", "maxLength")? },
            "cid-link" => Node::CidLink,
            "blob" => Node::Blob(Box::new(blob(fields)?)),
            "array" => {
                let items = self
                    .child(document, fields.require("items")?, depth_left)
                    .map_err(|fault| fault.at("items"))?;
                Node::Array { items, length: fields.range("minLength", "maxLength")? }
            }
            "object" => self.object(document, fields, depth_left)?,
            "union" => Node::Union(Box::new(self.union(document, fields)?)),
            "unknown" => Node::Unknown,
            other => return Err(Fault::new(format!("must not be a {other:?} here")).at("type")),
        })
    }

    /// LX-6
    pub(super) fn object(
        &mut self,
        document: &Document<'_>,
        fields: Fields<'_>,
        depth_left: u32,
    ) -> Result<Node, Fault> {
        let required = fields.texts("required")?.unwrap_or_default();
        let nullable = fields.texts("nullable")?.unwrap_or_default();
        let properties = fields.object("properties")?;
        for (list, names) in [("required", &required), ("nullable", &nullable)] {
            for name in names {
                if properties.is_none_or(|properties| properties.get(name).is_none()) {
                    return Err(Fault::new(format!("names {name:?}, which is no property")).at(list));
                }
            }
        }
        let mut compiled = Vec::with_capacity(properties.map_or(0, Fields::len));
        for (name, json) in properties.into_iter().flat_map(Fields::iter) {
            let node =
                self.child(document, json, depth_left).map_err(|fault| fault.at(name).at("properties"))?;
            compiled.push(Property {
                name: self.intern(name),
                node,
                required: required.contains(&name.as_str()),
                nullable: nullable.contains(&name.as_str()),
            });
        }
        Ok(Node::Object(compiled.into()))
    }

    /// LX-8
    fn union(&mut self, document: &Document<'_>, fields: Fields<'_>) -> Result<UnionType, Fault> {
        let closed = fields.flag("closed")?.unwrap_or(false);
        let refs = fields.texts("refs")?.ok_or_else(|| Fault::new("must have the field \"refs\""))?;
        if closed && refs.is_empty() {
            return Err(Fault::new("must not be empty in a closed union").at("refs"));
        }
        let mut variants = Vec::with_capacity(refs.len());
        for reference in refs {
            let (node, name) =
                self.resolve(document, reference, &[Use::Object]).map_err(|fault| fault.at("refs"))?;
            variants.push(Variant { name: self.intern(&name), node });
        }
        Ok(UnionType { variants: variants.into(), closed })
    }

    /// LX-4
    fn string(&mut self, fields: Fields<'_>) -> Result<StringType, Fault> {
        exclusive(fields, fields.text("default")?.is_some())?;
        fields.texts("knownValues")?;
        let format = match fields.text("format")? {
            None => None,
            Some(name) => Some(
                Format::parse(name)
                    .ok_or_else(|| Fault::new(format!("{name:?} is no string format")).at("format"))?,
            ),
        };
        let options = fields.texts("enum")?.map(|texts| texts.iter().map(|t| self.intern(t)).collect());
        Ok(StringType {
            length: fields.range("minLength", "maxLength")?,
            graphemes: fields.range("minGraphemes", "maxGraphemes")?,
            format,
            options,
            constant: fields.text("const")?.map(|text| self.intern(text)),
        })
    }
}

/// LX-4: a constant needs no default.
fn exclusive(fields: Fields<'_>, has_default: bool) -> Result<(), Fault> {
    match has_default && fields.get("const").is_some() {
        true => Err(Fault::new("must be left out where there is a const").at("default")),
        false => Ok(()),
    }
}

/// LX-5
fn integer(fields: Fields<'_>) -> Result<IntegerType, Fault> {
    exclusive(fields, fields.integer("default")?.is_some())?;
    let (minimum, maximum) = (fields.integer("minimum")?, fields.integer("maximum")?);
    if let (Some(low), Some(high)) = (minimum, maximum)
        && low > high
    {
        return Err(Fault::new("must not be above maximum").at("minimum"));
    }
    let options = fields.integers("enum")?.map(Vec::into_boxed_slice);
    Ok(IntegerType { minimum, maximum, options, constant: fields.integer("const")? })
}

/// LX-10
fn blob(fields: Fields<'_>) -> Result<BlobType, Fault> {
    let accept = match fields.texts("accept")? {
        None => None,
        Some(patterns) => {
            let parse = |text: &&str| {
                MimePattern::parse(text)
                    .ok_or_else(|| Fault::new(format!("{text:?} is no mime pattern")).at("accept"))
            };
            Some(patterns.iter().map(parse).collect::<Result<_, _>>()?)
        }
    };
    Ok(BlobType { accept, max_size: fields.count("maxSize")? })
}
