//! Identifiers and the other string formats: one file, one type, one `parse` each. A value of
//! such a type is valid by construction.
//!
//! Not for: whether what is named exists, or may be used here (ID-8).

mod at_identifier;
mod at_uri;
mod datetime;
mod did;
mod handle;
mod language;
mod nsid;
mod record_key;
mod repo_path;
mod tid;
mod uri;

pub use self::{
    at_identifier::AtIdentifier, at_uri::AtUri, datetime::Datetime, did::Did, handle::Handle,
    language::Language, nsid::Nsid, record_key::RecordKey, repo_path::RepoPath, tid::Tid, uri::Uri,
};

/// Why a text is not the identifier it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} {problem}")]
pub struct ParseError {
    /// What it was taken for: `DID`, `handle`, …
    pub kind: &'static str,
    /// The text; of a long one its beginning, and `…`.
    pub text: String,
    /// What is wrong, as the end of a sentence that the text begins.
    pub problem: &'static str,
}

/// Bytes of a text that a [`ParseError`] repeats.
const ERROR_TEXT_BYTES_MAX: usize = 100;

impl ParseError {
    fn new(kind: &'static str, text: &str, problem: &'static str) -> ParseError {
        let text = match text.len() {
            ..=ERROR_TEXT_BYTES_MAX => text.to_owned(),
            _ => format!("{}…", &text[..text.floor_char_boundary(ERROR_TEXT_BYTES_MAX)]),
        };
        ParseError { kind, text, problem }
    }
}

/// Defines an identifier that keeps its text as it came: `check` says what is wrong with a text.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and keeps it as it is.
            pub fn parse(text: &str) -> Result<$name, $crate::syntax::ParseError> {
                match $check(text) {
                    Ok(()) => Ok($name(text.to_owned())),
                    Err(problem) => Err($crate::syntax::ParseError::new($kind, text, problem)),
                }
            }
        }

        $crate::syntax::text_traits!($name);
    };
}

/// Gives a type over a `String` the traits of a text.
macro_rules! text_traits {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, taken out.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        $crate::syntax::parse_traits!($name);
    };
}

/// Gives a type with a `parse` function the standard ways to be read from text.
macro_rules! parse_traits {
    ($name:ident) => {
        impl std::str::FromStr for $name {
            type Err = $crate::syntax::ParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::syntax::ParseError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

use {parse_traits, text_traits, text_type};
