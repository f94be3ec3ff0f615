//! Which MIME type an upload gets: what its first bytes say, else what the client says.

/// How many leading bytes are looked at.
pub(super) const HEAD_BYTES: usize = 8 * 1024;

/// Used when neither the client nor the bytes tell (BL-2).
const UNKNOWN: &str = "application/octet-stream";

/// The type that the client declares: lower case, without parameters. `None`: the header is not a MIME type.
pub(super) fn declared(content_type: Option<&str>) -> Option<String> {
    let Some(header) = content_type else {
        return Some(UNKNOWN.to_owned());
    };
    let mime = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match mime.split_once('/') {
        // A wildcard is what a client sends that does not know.
        Some(("*", "*")) => Some(UNKNOWN.to_owned()),
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Some(mime),
        _ => None,
    }
}

/// A name of RFC 6838: not empty, at most 127 characters.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.len() <= 127 && text.bytes().all(allowed)
}

/// The type of a blob that starts with `head` and was declared as `declared`.
///
/// What the bytes say wins, so that nobody passes an executable off as a picture. Text has no magic numbers: guesses
/// of `text/*` are not trusted over the client's word.
pub(super) fn settle(declared: String, head: &[u8]) -> String {
    match infer::get(head) {
        Some(kind) if !kind.mime_type().starts_with("text/") => kind.mime_type().to_owned(),
        _ => declared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn the_bytes_beat_the_header() {
        assert_eq!(settle("image/jpeg".into(), PNG), "image/png");
    }

    #[test]
    fn text_json_and_unknown_bytes_keep_the_header() {
        assert_eq!(settle("application/json".into(), b"{\"a\":1}"), "application/json");
        assert_eq!(settle("text/vtt".into(), b"WEBVTT\n\n"), "text/vtt");
        assert_eq!(settle("text/plain".into(), b"<!DOCTYPE html><html></html>"), "text/plain");
        assert_eq!(settle("model/gltf+json".into(), b""), "model/gltf+json");
    }

    #[test]
    fn a_declared_type_loses_parameters_and_case() {
        assert_eq!(declared(Some("Text/Plain; charset=UTF-8")).as_deref(), Some("text/plain"));
        assert_eq!(declared(Some("image/svg+xml")).as_deref(), Some("image/svg+xml"));
    }

    #[test]
    fn without_a_declared_type_a_blob_is_bytes() {
        assert_eq!(declared(None).as_deref(), Some(UNKNOWN));
        assert_eq!(declared(Some("*/*")).as_deref(), Some(UNKNOWN));
    }

    #[test]
    fn what_is_not_a_type_is_refused() {
        for bad in ["", "image", "image/", "/png", "image/*", "ima ge/png", "a/b/c", "image/pn\u{e9}"] {
            assert_eq!(declared(Some(bad)), None, "{bad:?}");
        }
    }
}
