//! The compiled form of schemas: nodes in one arena, pointing at each other by index.
//!
//! What validation never asks is not kept: descriptions, defaults, known values, error names.

use std::sync::Arc;

use super::format::Format;

/// Index of a [`Node`] in its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) u32);

/// One type of a schema.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean {
        constant: Option<bool>,
    },
    Integer(Box<IntegerType>),
    String(Box<StringType>),
    Bytes {
        length: Range,
    },
    CidLink,
    Blob(Box<BlobType>),
    Array {
        items: NodeId,
        length: Range,
    },
    /// Objects, records without their key, and params.
    Object(Box<[Property]>),
    Union(Box<UnionType>),
    Unknown,
    /// Names a meaning and describes no value.
    Token,
    /// A definition of a document that is not loaded.
    Missing(Arc<str>),
}

/// Inclusive limits of a length or count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: Option<u32>,
    pub(super) max: Option<u32>,
}

#[derive(Debug)]
pub(super) struct IntegerType {
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) options: Option<Box<[i64]>>,
    pub(super) constant: Option<i64>,
}

#[derive(Debug)]
pub(super) struct StringType {
    /// In UTF-8 bytes.
    pub(super) length: Range,
    /// In extended grapheme clusters.
    pub(super) graphemes: Range,
    pub(super) format: Option<Format>,
    pub(super) options: Option<Box<[Arc<str>]>>,
    pub(super) constant: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct BlobType {
    /// Any of them may match; `None` accepts every type.
    pub(super) accept: Option<Box<[MimePattern]>>,
    /// In bytes.
    pub(super) max_size: Option<u64>,
}

/// `type/subtype`, `type/*` or `*/*` (LX-10).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MimePattern {
    Any,
    /// With its slash: `image/`.
    Prefix(Box<str>),
    Exact(Box<str>),
}

#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: Arc<str>,
    pub(super) node: NodeId,
    pub(super) required: bool,
    pub(super) nullable: bool,
}

#[derive(Debug)]
pub(super) struct UnionType {
    pub(super) variants: Box<[Variant]>,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Variant {
    /// As in `$type`: without `#main` (LX-3).
    pub(super) name: Arc<str>,
    pub(super) node: NodeId,
}

/// A record definition.
#[derive(Debug)]
pub(super) struct RecordType {
    pub(super) key: KeyType,
    pub(super) object: NodeId,
}

/// What keys a record type takes (ID-2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    Any,
    Tid,
    Nsid,
    Literal(Box<str>),
}

/// A query, procedure or subscription.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) kind: MethodKind,
    pub(super) params: Option<NodeId>,
    pub(super) input: Option<NodeId>,
    pub(super) output: Option<NodeId>,
    pub(super) message: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodKind {
    Query,
    Procedure,
    Subscription,
}

impl MethodKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            MethodKind::Query => "query",
            MethodKind::Procedure => "procedure",
            MethodKind::Subscription => "subscription",
        }
    }
}

impl MimePattern {
    /// `None` for `*`, partial globs and anything that is not two parts (LX-10).
    pub(super) fn parse(text: &str) -> Option<MimePattern> {
        let (kind, subtype) = text.split_once('/')?;
        let is_name = |part: &str| !part.is_empty() && !part.contains(['*', '/', ' ', ';', ',']);
        match (kind, subtype) {
            ("*", "*") => Some(MimePattern::Any),
            (kind, "*") if is_name(kind) => Some(MimePattern::Prefix(format!("{kind}/").into())),
            _ if is_name(kind) && is_name(subtype) => Some(MimePattern::Exact(text.into())),
            _ => None,
        }
    }

    pub(super) fn matches(&self, mime_type: &str) -> bool {
        match self {
            MimePattern::Any => true,
            MimePattern::Prefix(prefix) => mime_type.starts_with(&**prefix),
            MimePattern::Exact(exact) => mime_type == &**exact,
        }
    }
}

/// A rule that is broken, somewhere inside a value or a schema document.
#[derive(Debug)]
pub(super) struct Fault {
    /// Innermost step first.
    steps: Vec<String>,
    problem: String,
}

impl Fault {
    pub(super) fn new(problem: impl Into<String>) -> Fault {
        Fault { steps: Vec::new(), problem: problem.into() }
    }

    /// The same fault, seen from one step further out.
    pub(super) fn at(mut self, step: impl Into<String>) -> Fault {
        self.steps.push(step.into());
        self
    }

    /// Path from `root` inwards, and the problem there.
    pub(super) fn into_parts(self, root: &str) -> (String, String) {
        let mut path = root.to_owned();
        for step in self.steps.iter().rev() {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(step);
        }
        (path, self.problem)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::MimePattern;

    /// LX-10
    #[test]
    fn a_mime_pattern_is_exact_a_whole_family_or_everything() {
        let parse = |text| MimePattern::parse(text).unwrap();
        assert!(parse("*/*").matches("image/png"));
        assert!(parse("image/*").matches("image/png"));
        assert!(!parse("image/*").matches("imagery/png"));
        assert!(parse("image/svg+xml").matches("image/svg+xml"));
        assert!(!parse("image/png").matches("image/jpeg"));
        for text in ["*", "", "image", "image/", "/png", "image/p*", "im*/png", "*/png", "a/b/c"] {
            assert_eq!(MimePattern::parse(text), None, "{text}");
        }
    }
}
