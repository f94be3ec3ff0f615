//! Undoes the `Content-Encoding` of a request: gzip, deflate and br, alone or one over the other.
//!
//! What comes out is for the reader to bound: it can be a thousand times what went in.
//!
//! Not for: answers; `web` packs those.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
};
use futures::{Stream, TryStreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

/// Encodings that one body may have, one over the other.
const ENCODINGS_MAX: usize = 4;
/// Read from a decoder at once, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// An encoding that is not known, or one too many: the header as sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) String);

/// The encodings to undo, in the order in which they were put on. `identity` is none.
fn encodings(headers: &HeaderMap) -> Result<Vec<String>, Unsupported> {
    let values: Vec<&str> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value: &HeaderValue| value.to_str().map_err(|_| Unsupported("not text".into())))
        .collect::<Result<_, _>>()?;
    let sent = values.join(", ");
    let encodings: Vec<String> = sent
        .split(',')
        .map(|encoding| encoding.trim().to_ascii_lowercase())
        .filter(|encoding| !encoding.is_empty() && encoding != "identity")
        .collect();
    let known = |encoding: &String| matches!(encoding.as_str(), "gzip" | "x-gzip" | "deflate" | "br");
    if encodings.len() > ENCODINGS_MAX || !encodings.iter().all(known) {
        return Err(Unsupported(sent));
    }
    Ok(encodings)
}

/// True when the bytes that come are not those that are meant.
pub(super) fn is_packed(headers: &HeaderMap) -> bool {
    encodings(headers).is_ok_and(|encodings| !encodings.is_empty())
}

/// The body as it was before it was encoded.
pub(super) fn unpack(headers: &HeaderMap, body: Body) -> Result<Body, Unsupported> {
    let unpacked = encodings(headers)?.iter().rev().fold(body, |body, encoding| {
        let packed = StreamReader::new(bytes_of(body));
        match encoding.as_str() {
            "br" => read_from(BrotliDecoder::new(packed)),
            "deflate" => read_from(ZlibDecoder::new(packed)),
            _ => {
                let mut gzip = GzipDecoder::new(packed);
                gzip.multiple_members(true);
                read_from(gzip)
            }
        }
    });
    Ok(unpacked)
}

fn bytes_of(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    body.into_data_stream().map_err(io::Error::other)
}

fn read_from(reader: impl AsyncRead + Send + 'static) -> Body {
    Body::from_stream(ReaderStream::with_capacity(reader, CHUNK_BYTES))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder};
    use http_body_util::BodyExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pack(encoding: &str, bytes: &[u8]) -> Vec<u8> {
        macro_rules! through {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(bytes).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        match encoding {
            "gzip" => through!(GzipEncoder),
            "deflate" => through!(ZlibEncoder),
            "br" => through!(BrotliEncoder),
            _ => bytes.to_vec(),
        }
    }

    fn headers(encoding: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, encoding.parse().unwrap())])
    }

    #[tokio::test]
    async fn encodings_are_undone_from_the_last_to_the_first() {
        let text = "every word twice, every word twice".repeat(100);
        for (header, steps) in [
            ("gzip", &["gzip"][..]),
            ("X-GZIP", &["gzip"]),
            ("deflate", &["deflate"]),
            ("br", &["br"]),
            ("identity", &[]),
            ("identity, gzip", &["gzip"]),
            ("gzip, br", &["gzip", "br"]),
            ("br,deflate,gzip,gzip", &["br", "deflate", "gzip", "gzip"]),
        ] {
            let mut bytes = text.clone().into_bytes();
            for step in steps {
                bytes = pack(step, &bytes).await;
            }
            let body = unpack(&headers(header), Body::from(bytes)).unwrap();
            let unpacked = body.collect().await.unwrap().to_bytes();
            assert_eq!(unpacked, text.as_bytes(), "{header}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_undone_is_refused() {
        for header in ["smoke", "gzip, smoke", "zstd", "compress", "gzip,gzip,gzip,gzip,gzip", "gzip;q=1"] {
            let refused = unpack(&headers(header), Body::empty());
            assert_eq!(refused.err(), Some(Unsupported(header.into())));
        }
        for header in ["gzip", "br", "deflate", "gzip, br"] {
            let body = unpack(&headers(header), Body::from("not packed at all")).unwrap();
            assert!(body.collect().await.is_err(), "{header}");
        }
    }
}
