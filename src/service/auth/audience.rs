//! Who a service token is for: a DID, or a service of one (`did:web:api.example.com#example_appview`).
//!
//! Not for: whether it exists. A token for nobody harms nobody.

use atproto::syntax::Did;

/// Characters of a `did:plc` after its method.
const PLC_CHARS: usize = 24;

/// True for a `did:plc` or a `did:web` of a bare host, alone or with a fragment that is not empty. A port is for
/// `localhost` only, and a path for nobody (DI-2).
pub fn is_audience(text: &str) -> bool {
    match text.split_once('#') {
        None => is_atproto_did(text),
        Some((did, fragment)) => is_atproto_did(did) && is_fragment(fragment),
    }
}

fn is_atproto_did(text: &str) -> bool {
    let Ok(did) = Did::parse(text) else {
        return false;
    };
    let id = did.as_str().splitn(3, ':').nth(2).unwrap_or_default();
    match did.method() {
        "plc" => id.len() == PLC_CHARS && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
        "web" => is_host(id),
        _ => false,
    }
}

/// What stands after `did:web:`. A percent sign can only be that of the colon before a port.
fn is_host(id: &str) -> bool {
    let (host, port) = match id.split_once("%3A") {
        Some((host, port)) => (host, Some(port)),
        None => (id, None),
    };
    let port_is_fine = port.is_none_or(|port| host == "localhost" && port.parse::<u16>().is_ok());
    let label_is_fine = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    port_is_fine && host.split('.').all(label_is_fine)
}

/// RFC 3986, 3.5: at least one character, no second `#`, percent signs before two hexadecimal digits.
fn is_fragment(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_fine = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte),
        };
        if !is_fine {
            return false;
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dids_and_services_of_dids_are_audiences() {
        for good in [
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz#atproto_labeler",
            "did:web:api.bsky.app",
            "did:web:api.bsky.app#bsky_appview",
            "did:web:localhost",
            "did:web:localhost%3A2583",
            "did:web:localhost%3A2583#x",
            "did:web:example.com#a%20b",
        ] {
            assert!(is_audience(good), "{good}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        for bad in [
            "",
            "api.bsky.app",
            "https://api.bsky.app",
            "did:plc:short",
            "did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ",
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz#",
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz#a#b",
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz#a b",
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz#a%2",
            "did:web:example.com:path",
            "did:web:example.com%3A8443",
            "did:web:localhost%3Aport",
            "did:web:.example.com",
            "did:web:a%2Fb",
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
            "#bsky_appview",
        ] {
            assert!(!is_audience(bad), "{bad}");
        }
    }
}
