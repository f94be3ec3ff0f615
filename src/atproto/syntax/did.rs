//! DIDs (DI-1).

use super::text_type;

/// Longest DID, in bytes (DI-1).
const DID_BYTES_MAX: usize = 2_048;

text_type! {
    /// A DID of any method, case-sensitive: `did:plc:…`, `did:web:example.com`.
    ///
    /// That the method is unknown here is no error of syntax (DI-2).
    Did, "DID", check
}

impl Did {
    /// The method: `plc` of `did:plc:…`.
    pub fn method(&self) -> &str {
        self.as_str().split(':').nth(1).unwrap_or_default()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > DID_BYTES_MAX {
        return Err("is longer than 2048 characters");
    }
    let Some((method, id)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else {
        return Err("must have the form did:method:id");
    };
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err("must have a method of lower-case letters");
    }
    if id.is_empty() {
        return Err("has nothing after its method");
    }
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:%-".contains(&b)) {
        return Err("may have only letters, digits and . _ : % - after its method");
    }
    if id.ends_with([':', '%']) {
        return Err("must not end in : or %");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dids_of_any_method_pass() {
        // DI-1, DI-2
        for good in
            ["did:plc:abcdefghijklmnopqrstuvwx", "did:web:localhost%3A8080", "did:x:A_b.c-d:e", "did:m:::v"]
        {
            assert!(Did::parse(good).is_ok(), "{good}");
        }
        assert_eq!(Did::parse("did:web:example.com").unwrap().method(), "web");
    }

    #[test]
    fn other_texts_do_not() {
        for bad in [
            "",
            "did",
            "did:plc",
            "did:plc:",
            "DID:plc:a",
            "did:PLC:a",
            "did:p1c:a",
            "did:plc:a#b",
            "did:plc:a?b",
            "did:plc:a:",
            "did:plc:a%",
            "did:plc:é",
            " did:plc:a",
            "did::a",
        ] {
            assert!(Did::parse(bad).is_err(), "{bad}");
        }
        let longest = format!("did:plc:{}", "a".repeat(DID_BYTES_MAX - 8));
        assert!(Did::parse(&longest).is_ok());
        assert!(Did::parse(&(longest + "a")).is_err());
    }
}
