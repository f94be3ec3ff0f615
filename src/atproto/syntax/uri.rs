//! URIs of any scheme (LX-13).
//!
//! Not for: fetching, or comparing them; nothing is normalised.

use super::text_type;

/// Longest URI, in bytes (LX-13).
const URI_BYTES_MAX: usize = 8_192;

text_type! {
    /// A scheme, a colon and something after it.
    ///
    /// Characters outside ASCII pass, although RFC 3986 would have them escaped: real records
    /// have them, and peers let them in.
    Uri, "URI", check
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > URI_BYTES_MAX {
        return Err("is longer than 8192 bytes");
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err("must start with a scheme and a colon");
    };
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    {
        return Err("must have a scheme of letters, digits and + - . that starts with a letter");
    }
    if rest.is_empty() || rest == "//" {
        return Err("has nothing after its scheme");
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must not have spaces or control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_any_scheme_pass_and_other_texts_do_not() {
        // LX-13
        for good in [
            "https://example.com/a?b#c",
            "at://did:plc:a",
            "dns:example.com",
            "x-y+z.1:a",
            "https://exämple.com",
        ] {
            assert!(Uri::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "//a",
            "://a",
            "http:",
            "http://",
            ".x:a",
            "1:a",
            "https://a b",
            " https://a",
            "https://a\n",
        ] {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
        let longest = format!("https:{}", "a".repeat(URI_BYTES_MAX - 6));
        assert!(Uri::parse(&longest).is_ok());
        assert!(Uri::parse(&(longest + "a")).is_err());
    }
}
