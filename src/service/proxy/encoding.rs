//! Content encodings of answers that we may have to read ourselves: what to ask for so that the client and we both
//! understand it, and how to undo it.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use bytes::Bytes;
use hyper::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Encodings that can be undone here, the one liked best first, with how much it is liked. Undoing costs time and
/// memory, and the service is seldom far away.
const PREFERENCES: [(&str, &str); 4] =
    [("identity", "1"), ("gzip", "0.3"), ("deflate", "0.2"), ("br", "0.1")];
/// Longest `Accept-Encoding` looked at, in bytes.
const ACCEPT_BYTES_MAX: usize = 1024;

/// Why no encoding could be agreed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// 400
    #[error("Invalid accept-encoding: {0:?}")]
    Malformed(String),
    /// 406
    #[error("this service does not support any of the requested encodings")]
    NoneAcceptable,
}

/// The `Accept-Encoding` to send on: what the client accepts and we can undo, in our order of preference.
pub fn negotiate(accepted: Option<&str>) -> Result<String, NegotiationError> {
    let accepted = parse(accepted.unwrap_or_default())?;
    let quality = |name: &str| {
        let of = |wanted: &str| accepted.iter().rev().find(|(name, _)| name == wanted).map(|(_, q)| *q);
        of(name).or_else(|| of("*"))
    };
    // Whoever does not refuse `identity` accepts it.
    let usable = |name: &str| quality(name).map_or(name == "identity", |q| q > 0.0);
    let mut common: Vec<String> = PREFERENCES
        .iter()
        .filter(|(name, _)| usable(name))
        .map(|(name, q)| format!("{name};q={q}"))
        .collect();
    if common.is_empty() {
        return Err(NegotiationError::NoneAcceptable);
    }
    if !usable("identity") {
        common.push("*;q=0".to_owned());
    }
    Ok(common.join(","))
}

fn parse(header: &str) -> Result<Vec<(String, f32)>, NegotiationError> {
    let shown = |text: &str| NegotiationError::Malformed(text.chars().take(64).collect());
    if header.len() > ACCEPT_BYTES_MAX {
        return Err(shown(header));
    }
    if header.is_empty() {
        return Ok(Vec::new());
    }
    header.split(',').map(|item| parse_item(item).ok_or_else(|| shown(item))).collect()
}

/// `gzip`, `gzip;q=0.5`, `*;q=0`
fn parse_item(item: &str) -> Option<(String, f32)> {
    let mut parts = item.trim().split(';');
    let name = parts.next().filter(|name| !name.is_empty() && !name.contains('='))?;
    let quality = match parts.next() {
        None => 1.0,
        Some(parameter) => {
            let (key, value) = parameter.trim().split_once('=')?;
            let quality: f32 = value.parse().ok()?;
            let in_range = quality == 0.0 || (0.001..=1.0).contains(&quality);
            (key.eq_ignore_ascii_case("q") && in_range).then_some(quality)?
        }
    };
    parts.next().is_none().then(|| (name.to_ascii_lowercase(), quality))
}

/// Undoes the `Content-Encoding` of `headers`. `None` when it is none of ours, is broken, or unpacks to more than
/// `bytes_max` bytes.
pub async fn decode(headers: &HeaderMap, bytes: Bytes, bytes_max: usize) -> Option<Bytes> {
    let encoding = match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) => encoding.to_str().ok()?.trim().to_ascii_lowercase(),
        None => "identity".to_owned(),
    };
    let packed: &[u8] = &bytes;
    let unpacked: Box<dyn AsyncRead + Send + Unpin> = match encoding.as_str() {
        "identity" => return (bytes.len() <= bytes_max).then_some(bytes),
        "gzip" | "x-gzip" => Box::new(GzipDecoder::new(packed)),
        "deflate" => Box::new(ZlibDecoder::new(packed)),
        "br" => Box::new(BrotliDecoder::new(packed)),
        _ => return None,
    };
    let mut plain = Vec::new();
    unpacked.take(bytes_max as u64 + 1).read_to_end(&mut plain).await.ok()?;
    (plain.len() <= bytes_max).then(|| Bytes::from(plain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use async_compression::tokio::write::GzipEncoder;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn what_both_sides_know_is_asked_for_in_our_order() {
        for (accepted, expected) in [
            (None, "identity;q=1"),
            (Some(""), "identity;q=1"),
            (Some("invalid"), "identity;q=1"),
            (Some("br, gzip;q=0.1"), "identity;q=1,gzip;q=0.3,br;q=0.1"),
            (Some("gzip, *;q=0"), "gzip;q=0.3,*;q=0"),
            (Some("*"), "identity;q=1,gzip;q=0.3,deflate;q=0.2,br;q=0.1"),
            (Some("GZIP;Q=1,identity;q=0"), "gzip;q=0.3,*;q=0"),
        ] {
            assert_eq!(negotiate(accepted).unwrap(), expected, "{accepted:?}");
        }
    }

    #[test]
    fn a_client_that_accepts_nothing_is_told_so_and_a_malformed_header_is_named() {
        assert_eq!(negotiate(Some("invalid, *;q=0")), Err(NegotiationError::NoneAcceptable));
        for bad in [";q=1", "gzip;q=2", "gzip;q=x", "gzip;level=1", "gzip;q=1;q=1", "a=b", "gzip,", "gzip;q"]
        {
            let error = negotiate(Some(bad)).expect_err(bad);
            assert!(error.to_string().starts_with("Invalid accept-encoding: \""), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn what_unpacks_to_more_than_is_read_is_not_unpacked() {
        let mut headers = HeaderMap::new();
        assert_eq!(decode(&headers, Bytes::from_static(b"{}"), 2).await.unwrap(), "{}");
        assert_eq!(decode(&headers, Bytes::from_static(b"{ }"), 2).await, None);
        headers.insert(header::CONTENT_ENCODING, "zstd".parse().unwrap());
        assert_eq!(decode(&headers, Bytes::from_static(b"{}"), 2).await, None);
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(decode(&headers, Bytes::from_static(b"not gzip"), 20).await, None);
        let mut packed = GzipEncoder::new(Vec::new());
        packed.write_all(&[b' '; 1000]).await.unwrap();
        packed.shutdown().await.unwrap();
        let packed = Bytes::from(packed.into_inner());
        assert_eq!(decode(&headers, packed.clone(), 1000).await.unwrap().len(), 1000);
        assert_eq!(decode(&headers, packed, 999).await, None);
    }
}
