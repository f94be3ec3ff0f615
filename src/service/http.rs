//! Requests to servers that the operator has named: bounded in time and in bytes, without redirects.
//!
//! Not for: servers that users or DID documents name (`service::outbound`, which starts from [`builder`]).

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, redirect::Policy};

/// To open a connection, in seconds.
const CONNECT_SECS_MAX: u64 = 3;
/// For the whole exchange, in seconds.
const EXCHANGE_SECS_MAX: u64 = 10;
/// Longest answer read, in bytes. A directory's whole log of a busy DID is below it.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No client can be built on this machine.
    #[error("no HTTP client: {0}")]
    Client(String),
    /// Not connected, not in time, or broken off.
    #[error("no answer: {0}")]
    Exchange(String),
    /// The answer is longer than is read.
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

/// A client for one server. Made on first use: certificates take memory that an idle server does not need.
pub(in crate::service) struct Http {
    client: OnceLock<Client>,
    /// Without TLS no certificates are loaded.
    plain: bool,
}

impl Http {
    /// For requests to `base_url`.
    pub(in crate::service) fn new(base_url: &str) -> Http {
        Http { client: OnceLock::new(), plain: base_url.starts_with("http://") }
    }

    /// The client. Two callers at once may each make one; the first stays.
    pub(in crate::service) fn client(&self) -> Result<&Client, HttpError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build(self.plain)?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// What every client of this server has in common: no redirects, no proxy of the environment's, a limit for connecting.
pub(in crate::service) fn builder() -> ClientBuilder {
    // Fails when there is a default already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(Duration::from_secs(CONNECT_SECS_MAX))
        .redirect(Policy::none())
        // Only `config` reads the environment.
        .no_proxy()
        .pool_max_idle_per_host(2)
        .user_agent(concat!("rookery/", env!("CARGO_PKG_VERSION")))
}

fn build(plain: bool) -> Result<Client, HttpError> {
    let mut builder = builder().timeout(Duration::from_secs(EXCHANGE_SECS_MAX));
    if plain {
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build().map_err(|error| HttpError::Client(error.to_string()))
}

/// Sends a request and reads its answer.
pub(in crate::service) async fn send(request: RequestBuilder) -> Result<Answer, HttpError> {
    let failed = |error: reqwest::Error| HttpError::Exchange(error.without_url().to_string());
    let mut response = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), body })
}
