//! Bodies of procedures. A method takes its arguments in the order in which it checks them: [`Params`](super::Params),
//! then the caller, then one of [`Input`] (JSON), [`Upload`] (anything, streamed) or [`NoInput`].

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};

use super::{
    XrpcError,
    unpack::{Unsupported, is_packed, unpack},
};

/// JSON bodies of ordinary procedures, in bytes (XR-21).
pub const INPUT_BYTES_MAX: usize = 150 * 1024;
/// JSON bodies of createRecord, putRecord and applyWrites, in bytes.
pub const WRITE_INPUT_BYTES_MAX: usize = 1_000_000;
/// How long a client may take to send a JSON body, in seconds.
const INPUT_READ_SECS_MAX: u64 = 30;
/// How much of a body that should not be there is read to see that it is there, in bytes.
const NO_INPUT_BYTES_MAX: usize = 1024;

/// JSON input of a procedure, at most `BYTES_MAX` long (XR-5).
#[derive(Debug)]
pub struct Input<T, const BYTES_MAX: usize = INPUT_BYTES_MAX>(pub T);

impl<S, T, const BYTES_MAX: usize> FromRequest<S> for Input<T, BYTES_MAX>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        parse_json(&read_json(request, BYTES_MAX).await?).map(Input)
    }
}

/// The bytes of a JSON body, at most `bytes_max` of them.
async fn read_json(request: Request, bytes_max: usize) -> Result<Bytes, XrpcError> {
    let (parts, body) = request.into_parts();
    require_bytes(&parts.headers, &body)?;
    let content_type = require_content_type(&parts.headers)?;
    if mime_essence(&content_type) != "application/json" {
        return Err(XrpcError::invalid_request(format_args!(
            "Wrong request encoding (Content-Type): {content_type}"
        )));
    }
    let body = unpack(&parts.headers, body).map_err(|Unsupported(encoding)| {
        // The name that the reference's JSON parser gives it; see `PayloadTooLargeError`.
        XrpcError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaTypeError",
            format_args!("unsupported content encoding {encoding:?}: gzip, deflate and br can be read"),
        )
    })?;
    if content_length(&parts.headers).is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(XrpcError::payload_too_large());
    }
    collect(body, bytes_max).await
}

/// A body of any type, not read yet: uploads and imports. It must be there, but need not have bytes (C-7).
#[derive(Debug)]
pub struct Upload {
    /// `Content-Type` as sent.
    pub content_type: String,
    /// `Content-Length`, when the client knows it and the bytes come as they are meant.
    pub content_length: Option<u64>,
    /// The bytes to come, without their `Content-Encoding`. Their number is for the method to bound.
    pub body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        let (parts, body) = request.into_parts();
        require_body(&parts.headers, &body)?;
        let content_type = require_content_type(&parts.headers)?;
        let body = unpack(&parts.headers, body).map_err(|Unsupported(encoding)| {
            XrpcError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                format_args!("unsupported content encoding {encoding:?}: gzip, deflate and br can be read"),
            )
        })?;
        let content_length = content_length(&parts.headers).filter(|_| !is_packed(&parts.headers));
        Ok(Upload { content_type, content_length, body })
    }
}

/// A procedure without input: a body that has bytes is refused (XR-5).
#[derive(Debug)]
pub struct NoInput;

impl<S: Send + Sync> FromRequest<S> for NoInput {
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        let (parts, body) = request.into_parts();
        require_no_body(content_length(&parts.headers), body).await.map(|()| NoInput)
    }
}

/// Refuses a body that has bytes; `length` is what it was announced with.
pub(super) async fn require_no_body(length: Option<u64>, body: Body) -> Result<(), XrpcError> {
    let has_bytes = match length {
        Some(bytes) => bytes > 0,
        None if HttpBody::is_end_stream(&body) => false,
        None => collect(body, NO_INPUT_BYTES_MAX).await.map_or(true, |bytes| !bytes.is_empty()),
    };
    if has_bytes {
        return Err(XrpcError::invalid_request("A request body was provided when none was expected"));
    }
    Ok(())
}

/// The MIME type of a `Content-Type` in lower case, without its parameters.
pub fn mime_essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Checks that there is a body, if only an empty one.
fn require_body(headers: &HeaderMap, body: &Body) -> Result<(), XrpcError> {
    let announced =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name));
    // HTTP/2 needs neither header to carry a body, so the stream itself is asked.
    let is_empty = HttpBody::is_end_stream(body) || HttpBody::size_hint(body).exact() == Some(0);
    if announced || !is_empty { Ok(()) } else { Err(no_body()) }
}

/// Checks that there is a body and that it has bytes.
fn require_bytes(headers: &HeaderMap, body: &Body) -> Result<(), XrpcError> {
    let is_empty = content_length(headers) == Some(0) || HttpBody::is_end_stream(body);
    if is_empty { Err(no_body()) } else { Ok(()) }
}

fn no_body() -> XrpcError {
    XrpcError::invalid_request("A request body is expected but none was provided")
}

/// The `Content-Type` as sent.
fn require_content_type(headers: &HeaderMap) -> Result<String, XrpcError> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Err(XrpcError::invalid_request("Request encoding (Content-Type) required but not provided"));
    };
    match content_type.to_str() {
        Ok(text) if !mime_essence(text).is_empty() => Ok(text.to_owned()),
        _ => Err(XrpcError::invalid_request("Request encoding (Content-Type) cannot be read")),
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, XrpcError> {
    let reading = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(Duration::from_secs(INPUT_READ_SECS_MAX), reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(XrpcError::payload_too_large()),
        Ok(Err(error)) => {
            Err(XrpcError::invalid_request(format_args!("the request body cannot be read: {error}")))
        }
        Err(_) => Err(XrpcError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            format_args!("the request body did not arrive within {INPUT_READ_SECS_MAX} seconds"),
        )),
    }
}

/// The value that the JSON text stands for; 400 that names the field when it stands for none.
fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, XrpcError> {
    if may_name_prototype(bytes) {
        deserialize::<NoPrototype>(bytes)?;
    }
    deserialize(bytes)
}

/// Programs in JavaScript trip over this name; the reference takes it nowhere.
pub(super) const PROTOTYPE: &str = "__proto__";

/// False when the text cannot have [`PROTOTYPE`] as the name of a field, plainly or with an escaped underscore: most
/// need no closer look.
fn may_name_prototype(bytes: &[u8]) -> bool {
    bytes.windows(5).any(|window| window == b"proto") && bytes.windows(2).any(|window| window == b"__")
        || bytes.windows(4).any(|window| window == b"\\u00")
}

/// Any JSON that has no field called [`PROTOTYPE`].
struct NoPrototype;

impl<'de> Deserialize<'de> for NoPrototype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NoPrototype, D::Error> {
        deserializer.deserialize_any(NoPrototype)
    }
}

impl<'de> Visitor<'de> for NoPrototype {
    type Value = NoPrototype;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoPrototype, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == PROTOTYPE {
                return Err(de::Error::custom("a field must not be called __proto__"));
            }
            map.next_value::<NoPrototype>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<NoPrototype, A::Error> {
        while items.next_element::<NoPrototype>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<NoPrototype, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NoPrototype, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NoPrototype, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NoPrototype, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<NoPrototype, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<NoPrototype, E> {
        Ok(self)
    }
}

fn deserialize<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, XrpcError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Tracking the path costs on every field, so it is done a second time and only for bodies that failed.
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let path = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) if error.path().iter().len() > 0 => {
                format!("Input/{}", error.path().to_string().replace('.', "/"))
            }
            _ => "Input".to_owned(),
        };
        XrpcError::invalid_request(format_args!("{path}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Example {
        name: String,
        nested: Option<Nested>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Nested {
        count: u32,
    }

    fn request(headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
        let mut request = Request::builder().method("POST");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.into()).unwrap()
    }

    async fn refused(headers: &[(&str, &str)], body: impl Into<Body>) -> XrpcError {
        Input::<Example, 64>::from_request(request(headers, body), &()).await.unwrap_err()
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[tokio::test]
    async fn a_json_body_may_carry_a_charset() {
        let headers = [("content-type", "Application/JSON; charset=utf-8")];
        let Input(example) =
            Input::<Example>::from_request(request(&headers, r#"{"name":"a","other":1}"#), &())
                .await
                .unwrap();
        assert_eq!(example.name, "a");
    }

    #[tokio::test]
    async fn a_body_that_is_missing_or_of_another_type_is_refused_as_xr_5_says() {
        assert_eq!(refused(&[JSON], "").await.status(), 400);
        assert_eq!(refused(&[], "{}").await.status(), 400);
        assert_eq!(refused(&[("content-type", "text/plain")], "{}").await.status(), 400);
        let unknown = refused(&[JSON, ("content-encoding", "smoke")], "{}").await;
        assert_eq!((unknown.status().as_u16(), unknown.name()), (415, "UnsupportedMediaTypeError"));
        assert_eq!(refused(&[JSON, ("content-encoding", "gzip")], "{}").await.status(), 400);
    }

    #[tokio::test]
    async fn too_long_a_body_is_413_whether_announced_or_not() {
        let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(64));
        let announced = refused(&[JSON, ("content-length", &long.len().to_string())], long.clone()).await;
        assert_eq!((announced.status().as_u16(), announced.name()), (413, "PayloadTooLargeError"));
        let streamed = Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(long)]));
        let streamed = refused(&[JSON], streamed).await;
        assert_eq!((streamed.status().as_u16(), streamed.name()), (413, "PayloadTooLargeError"));
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_a_client_mistake() {
        let broken =
            Body::from_stream(futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(refused(&[JSON], broken).await.status(), 400);
    }

    #[test]
    fn malformed_json_is_refused_by_field() {
        let deep = "[".repeat(4000);
        for (body, named) in [
            (r#"{"name":5}"#, "Input/name"),
            (r#"{"name":"a","name":"b"}"#, "name"),
            (r#"{}"#, "name"),
            (r#"{"name":"a","nested":{"count":-1}}"#, "Input/nested/count"),
            (r#"[]"#, "Input"),
            (r#"{"name":"a"} x"#, "Input"),
            (r#"{"name":"#, "Input"),
            ("\u{feff}{}", "Input"),
            (r#"{"name":"a","__proto__":1}"#, "__proto__"),
            (r#"{"name":"a","nested":{"count":1,"__proto__":{}}}"#, "Input/nested"),
            (r#"{"name":"a","other":[{"\u005f_proto\u005F_":1}]}"#, "__proto__"),
            (r#"{"name":"a","\u005f\u005fproto\u005f\u005f":1}"#, "__proto__"),
            (&format!(r#"{{"name":"a","x":{deep}"#), "Input"),
        ] {
            let error = parse_json::<Example>(body.as_bytes()).expect_err(body);
            assert!(format!("{error:?}").contains(named), "{body}: {error:?}");
            assert_eq!(error.name(), "InvalidRequest");
        }
    }

    #[test]
    fn what_only_looks_like_a_prototype_is_let_through() {
        for body in [r#"{"name":"__proto__"}"#, r#"{"name":"a","___proto__":null}"#, r#"{"name":"\u00e4"}"#] {
            assert!(parse_json::<Example>(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_method_without_input_refuses_bytes_and_takes_an_empty_body() {
        let with = |headers: &[(&str, &str)], body: Body| NoInput::from_request(request(headers, body), &());
        assert!(with(&[], Body::empty()).await.is_ok());
        assert!(with(&[("content-length", "0")], Body::empty()).await.is_ok());
        assert!(with(&[("content-length", "2")], Body::from("{}")).await.is_err());
        let chunks =
            |chunk: &'static str| Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(chunk)]));
        assert!(with(&[], chunks("")).await.is_ok());
        assert!(with(&[], chunks("x")).await.is_err());
    }
}
