//! In a sandbox, each answer of ours is held against its method's lexicon before it goes out: a mistake in it is a 500
//! in the test that meets it, and not a surprise in some client.
//!
//! Not for: real servers, which do not spend the time, and answers that are marked ([`Unchecked`]), as those of
//! other servers are.

use atproto::{
    data::json,
    lexicon::{Catalog, Part},
};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::XrpcError;

/// Longest answer that is checked, in bytes. Answers of ours in JSON are pages, far shorter than this.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Marks an answer, among its extensions, as one that is not held against its lexicon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unchecked;

/// The layer around the methods.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let nsid = request.uri().path().strip_prefix("/xrpc/").unwrap_or_default().to_owned();
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let is_ours = response.status() == StatusCode::OK && response.extensions().get::<Unchecked>().is_none();
    if is_head || !is_ours || !is_json(&response) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let checked = match to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(bytes) => fault(&nsid, &bytes).map_or(Ok(bytes), Err),
        Err(error) => Err(error.to_string()),
    };
    match checked {
        Ok(bytes) => Response::from_parts(parts, Body::from(bytes)),
        Err(fault) => XrpcError::internal(BrokenContract { nsid, fault }).into_response(),
    }
}

fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// What in an answer its lexicon does not allow.
fn fault(nsid: &str, answer: &[u8]) -> Option<String> {
    let output = match serde_json::from_slice(answer) {
        Ok(output) => json::from_json(&output).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match output {
        Ok(output) => {
            Catalog::embedded().validate_part(nsid, Part::Output, &output).err().map(|e| e.to_string())
        }
        Err(error) => Some(error),
    }
}

/// An answer that our own lexicon forbids.
#[derive(Debug, thiserror::Error)]
#[error("{nsid} answers what its lexicon does not allow: {fault}")]
struct BrokenContract {
    nsid: String,
    fault: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use axum::{Extension, Json, Router, body::to_bytes, middleware::from_fn, routing::get};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    const NSID: &str = "com.atproto.sync.getLatestCommit";

    async fn answers<R: IntoResponse + Clone + Send + Sync + 'static>(answer: R) -> (u16, Value) {
        let method = get(move || async move { answer });
        let router = Router::new().route(&format!("/xrpc/{NSID}"), method).layer(from_fn(check));
        let request = Request::get(format!("/xrpc/{NSID}")).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&to_bytes(response.into_body(), 1024).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn an_answer_that_its_lexicon_forbids_is_a_mistake_of_ours() {
        let good = json!({
            "cid": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
            "rev": "3jzfcijpj2z2a",
        });
        assert_eq!(answers(Json(good.clone())).await, (200, good));
        for bad in [json!({ "cid": "bafy" }), json!({ "rev": "3jzfcijpj2z2a" }), json!([])] {
            let (status, error) = answers(Json(bad)).await;
            assert_eq!((status, &error["error"]), (500, &json!("InternalServerError")));
        }
    }

    #[tokio::test]
    async fn an_answer_of_another_server_is_its_own() {
        let theirs = json!({ "anything": true });
        assert_eq!(answers((Extension(Unchecked), Json(theirs.clone()))).await, (200, theirs));
    }
}
