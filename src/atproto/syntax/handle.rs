//! Handles (HN-1..HN-4).

use super::{ParseError, text_traits};

/// Longest handle, in bytes (HN-1).
const HANDLE_BYTES_MAX: usize = 253;
/// Longest label of a domain name, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Top-level domains that no handle can be registered or resolved under (HN-3).
const DISALLOWED_TLDS: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// A handle, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

text_traits!(Handle);

impl Handle {
    /// Checks `text` and lower-cases it (HN-1).
    pub fn parse(text: &str) -> Result<Handle, ParseError> {
        match check(text) {
            Ok(()) => Ok(Handle(text.to_ascii_lowercase())),
            Err(problem) => Err(ParseError::new("handle", text, problem)),
        }
    }

    /// True under the reserved top-level domains of HN-3, which parse but cannot be registered.
    ///
    /// `.test` is not among them; a policy must allow it in development only.
    pub fn has_disallowed_tld(&self) -> bool {
        self.0.rsplit('.').next().is_some_and(|tld| DISALLOWED_TLDS.contains(&tld))
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > HANDLE_BYTES_MAX {
        return Err("is longer than 253 characters");
    }
    let Some((_, tld)) = text.rsplit_once('.') else {
        return Err("must have at least two labels, as in name.example.com");
    };
    if !text.split('.').all(is_label) {
        return Err(
            "must have labels of 1 to 63 letters, digits and hyphens, without a hyphen at their ends",
        );
    }
    if !tld.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("must have a last label that starts with a letter");
    }
    Ok(())
}

/// True for a label of a domain name: letters, digits and, but not at the ends, hyphens.
pub(super) fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_handle_is_kept_in_lower_case() {
        // HN-1
        assert_eq!(Handle::parse("Alice.Example.COM").unwrap().as_str(), "alice.example.com");
    }

    #[test]
    fn domain_names_pass_and_other_texts_do_not() {
        // HN-1, HN-2
        for good in ["a.co", "1.2.3.com", "xn--x.y", "a-b--c.t", "handle.invalid"] {
            assert!(Handle::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "com",
            ".com",
            "a.com.",
            "a..b",
            "-a.com",
            "a-.com",
            "a_b.com",
            "@a.com",
            "a.1com",
            "é.com",
            "a.com ",
            "127.0.0.1",
        ] {
            assert!(Handle::parse(bad).is_err(), "{bad}");
        }
        assert!(Handle::parse(&format!("{}.com", "a".repeat(63))).is_ok());
        assert!(Handle::parse(&format!("{}.com", "a".repeat(64))).is_err());
        let longest = format!("{}{}", "a2345678.".repeat(28), "b");
        assert_eq!(longest.len(), 253);
        assert!(Handle::parse(&longest).is_ok());
        assert!(Handle::parse(&(longest + "b")).is_err());
    }

    #[test]
    fn reserved_top_level_domains_are_told() {
        // HN-3
        for (handle, disallowed) in
            [("a.onion", true), ("a.Invalid", true), ("local.com", false), ("a.test", false)]
        {
            assert_eq!(Handle::parse(handle).unwrap().has_disallowed_tld(), disallowed, "{handle}");
        }
    }
}
