//! Record keys (ID-1).

use super::{Tid, text_type};

/// Longest record key, in bytes (ID-1).
const RECORD_KEY_BYTES_MAX: usize = 512;

text_type! {
    /// The name of a record in its collection, case-sensitive.
    RecordKey, "record key", check
}

impl From<Tid> for RecordKey {
    fn from(tid: Tid) -> RecordKey {
        RecordKey(tid.to_string())
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if !(1..=RECORD_KEY_BYTES_MAX).contains(&text.len()) {
        return Err("must have 1 to 512 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:~".contains(&b)) {
        return Err("may have only letters, digits and . - _ : ~");
    }
    if matches!(text, "." | "..") {
        return Err("must not be . or ..");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keys_pass_and_other_texts_do_not() {
        // ID-1
        for good in ["self", "...", "a:b~c_d-e.F", ":", "~"] {
            assert!(RecordKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a+b", "a=", "é", "a%20"] {
            assert!(RecordKey::parse(bad).is_err(), "{bad}");
        }
        assert!(RecordKey::parse(&"a".repeat(512)).is_ok());
        assert!(RecordKey::parse(&"a".repeat(513)).is_err());
    }
}
