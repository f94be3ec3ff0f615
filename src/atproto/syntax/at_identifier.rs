//! at-identifier: a DID or a handle (ID-7).

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Did, Handle, ParseError, parse_traits};

/// A DID or a handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AtIdentifier {
    /// The account itself.
    Did(Did),
    /// A name that resolves to it.
    Handle(Handle),
}

impl AtIdentifier {
    /// Reads a DID when `text` starts with `did:`, else a handle.
    pub fn parse(text: &str) -> Result<AtIdentifier, ParseError> {
        if text.starts_with("did:") {
            Did::parse(text).map(AtIdentifier::Did)
        } else {
            Handle::parse(text).map(AtIdentifier::Handle)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            AtIdentifier::Did(did) => did.as_str(),
            AtIdentifier::Handle(handle) => handle.as_str(),
        }
    }
}

impl fmt::Display for AtIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AtIdentifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

parse_traits!(AtIdentifier);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_decides() {
        // ID-7
        assert!(matches!(AtIdentifier::parse("did:web:a.b"), Ok(AtIdentifier::Did(_))));
        assert!(matches!(AtIdentifier::parse("Did.example"), Ok(AtIdentifier::Handle(_))));
        for bad in ["", "did:x", "@a.b", "a@b.c", "DID:web:a"] {
            assert!(AtIdentifier::parse(bad).is_err(), "{bad}");
        }
    }
}
