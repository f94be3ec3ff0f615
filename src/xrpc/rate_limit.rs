//! What a request costs: which buckets a method is charged to, by whose name, and the headers that tell the client.
//!
//! A method is charged between its arguments and its work (`method`), a path without a method before anything else.
//! What depends on the input is charged by the method itself, through [`Charges`]: record writes and sign-ins.
//!
//! Not for: counting (`service::rate_limit`).

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use atproto::syntax::Did;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::XrpcError;
use crate::{
    app::App,
    service::{
        client_address::{client_address, is_in, limit_key},
        rate_limit::{self as limits, Bucket, Charge, Exceeded, RateLimits, Standing},
    },
};

const BYPASS_HEADER: HeaderName = HeaderName::from_static("x-ratelimit-bypass");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const LIMIT_HEADER: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING_HEADER: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET_HEADER: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whose points a bucket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The client's address.
    Address,
    /// The account that calls.
    Account,
}

/// The buckets of a method beside [`limits::GLOBAL_IP`]. One point each.
fn buckets_of(nsid: &str) -> &'static [(&'static Bucket, By)] {
    use By::{Account, Address};
    match nsid {
        "com.atproto.identity.updateHandle" => {
            &[(&limits::UPDATE_HANDLE, Account), (&limits::UPDATE_HANDLE_DAY, Account)]
        }
        "com.atproto.repo.uploadBlob" => &[(&limits::UPLOAD_BLOB, Address)],
        "com.atproto.server.createAccount" => &[(&limits::CREATE_ACCOUNT, Address)],
        "com.atproto.server.deleteAccount" => &[(&limits::DELETE_ACCOUNT, Address)],
        "com.atproto.server.requestAccountDelete" => {
            &[(&limits::REQUEST_ACCOUNT_DELETE_HOUR, Account), (&limits::REQUEST_ACCOUNT_DELETE_DAY, Account)]
        }
        "com.atproto.server.requestEmailConfirmation" => &[
            (&limits::REQUEST_EMAIL_CONFIRMATION_HOUR, Account),
            (&limits::REQUEST_EMAIL_CONFIRMATION_DAY, Account),
        ],
        "com.atproto.server.requestEmailUpdate" => {
            &[(&limits::REQUEST_EMAIL_UPDATE_HOUR, Account), (&limits::REQUEST_EMAIL_UPDATE_DAY, Account)]
        }
        "com.atproto.server.requestPasswordReset" => {
            &[(&limits::REQUEST_PASSWORD_RESET_HOUR, Address), (&limits::REQUEST_PASSWORD_RESET_DAY, Address)]
        }
        "com.atproto.server.resetPassword" => &[(&limits::RESET_PASSWORD, Address)],
        GET_REPO => &[(&limits::GET_REPO, Address)],
        _ => &[],
    }
}

/// A relay that fetches many repositories is not to be kept from everything else, so this is not counted globally.
const GET_REPO: &str = "com.atproto.sync.getRepo";
/// One long connection, which its own limits bound.
const SUBSCRIBE_REPOS: &str = "com.atproto.sync.subscribeRepos";

/// One request's account with the rate limits. Charges nothing when limits are off or the client is exempt.
#[derive(Clone, Debug, Default)]
pub struct Charges(Option<Arc<Counted>>);

struct Counted {
    limits: RateLimits,
    client: String,
    outcome: Mutex<Outcome>,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// What came of the charges so far.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// How the bucket with the fewest points left stands.
    tightest: Option<Standing>,
    /// The refusal that the client is being told of.
    exceeded: Option<Exceeded>,
}

impl Charges {
    fn of(parts: &HeaderMap, peer: Option<SocketAddr>, app: &App) -> Charges {
        let settings = &app.settings.rate_limits;
        if !settings.enabled {
            return Charges(None);
        }
        let key = parts.get(BYPASS_HEADER).map(HeaderValue::as_bytes);
        if settings.bypass_key.as_ref().zip(key).is_some_and(|(expected, given)| expected.matches(given)) {
            return Charges(None);
        }
        let client = address_of(parts, peer, app);
        if client.is_some_and(|client| is_in(client, &settings.bypass_ips)) {
            return Charges(None);
        }
        Charges(Some(Arc::new(Counted {
            limits: app.rate_limits.clone(),
            // Without a connection there is no address: what has none shares one count.
            client: client.map(limit_key).unwrap_or_default(),
            outcome: Mutex::default(),
        })))
    }

    /// Charges a request for a method whose arguments are in order.
    pub(super) fn charge_method(&self, nsid: &str, caller: Option<&Did>) -> Result<(), XrpcError> {
        let Some(counted) = &self.0 else { return Ok(()) };
        let address = counted.client.as_str();
        let global =
            (nsid != GET_REPO && nsid != SUBSCRIBE_REPOS).then_some((&limits::GLOBAL_IP, By::Address));
        let charges: Vec<Charge<'_>> = buckets_of(nsid)
            .iter()
            .copied()
            .chain(global)
            .map(|(bucket, by)| {
                let key = match by {
                    By::Address => address,
                    By::Account => caller.map_or(address, Did::as_str),
                };
                Charge { bucket, key, points: 1 }
            })
            .collect();
        counted.charge(&charges)
    }

    /// Charges record writes to their account. `points`: see [`limits::RECORD_CREATE_POINTS`].
    pub fn charge_writes(&self, account: &Did, points: u32) -> Result<(), XrpcError> {
        let Some(counted) = &self.0 else { return Ok(()) };
        let charge = |bucket| Charge { bucket, key: account.as_str(), points };
        counted.charge(&[charge(&limits::REPO_WRITE_HOUR), charge(&limits::REPO_WRITE_DAY)])
    }

    /// Charges an attempt to sign in as `identifier`, however its letters are cased.
    pub fn charge_sign_in(&self, identifier: &str) -> Result<(), XrpcError> {
        let Some(counted) = &self.0 else { return Ok(()) };
        let key = format!("{}-{}", identifier.to_lowercase(), counted.client);
        let charge = |bucket| Charge { bucket, key: &key, points: 1 };
        counted.charge(&[charge(&limits::CREATE_SESSION), charge(&limits::CREATE_SESSION_DAY)])
    }

    fn outcome(&self) -> Outcome {
        self.0.as_ref().map_or_else(Outcome::default, |counted| *counted.lock_outcome())
    }
}

impl Counted {
    fn charge(&self, charges: &[Charge<'_>]) -> Result<(), XrpcError> {
        let charged = self.limits.charge(charges);
        let mut outcome = self.lock_outcome();
        match charged {
            Ok(standing) => {
                let tighter = outcome.tightest.into_iter().chain(standing);
                outcome.tightest = tighter.min_by_key(|standing| standing.remaining);
                Ok(())
            }
            Err(exceeded) => {
                outcome.exceeded = Some(exceeded);
                Err(XrpcError::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", exceeded))
            }
        }
    }

    fn lock_outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of the client; `None` without a connection.
fn address_of(headers: &HeaderMap, peer: Option<SocketAddr>, app: &App) -> Option<IpAddr> {
    let forwarded: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    Some(client_address(peer?.ip(), forwarded.into_iter(), &app.settings.trusted_proxies))
}

/// Whose share of what is scarce a request takes: the key of the client's address. `None` when that is one of our proxies,
/// which does not say whom it speaks for.
#[derive(Clone, Debug)]
pub struct Client(pub Option<String>);

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Client, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let address = address_of(&parts.headers, peer, app);
        Ok(Client(address.filter(|address| !is_in(*address, &app.settings.trusted_proxies)).map(limit_key)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Charges {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Charges, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Around every request: who is charged, and at the end what the client is told of it.
pub(super) async fn account(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let charges = Charges::of(request.headers(), peer, &app);
    request.extensions_mut().insert(charges.clone());
    let mut response = next.run(request).await;
    let outcome = charges.outcome();
    let exceeded = outcome.exceeded.filter(|_| response.status() == StatusCode::TOO_MANY_REQUESTS);
    if let Some(standing) = exceeded.map(|exceeded| exceeded.standing).or(outcome.tightest) {
        let headers = response.headers_mut();
        headers.insert(LIMIT_HEADER, standing.limit.into());
        headers.insert(REMAINING_HEADER, standing.remaining.into());
        headers.insert(RESET_HEADER, standing.resets_at_secs().into());
        if let Ok(policy) = format!("{};w={}", standing.limit, standing.window_secs).parse() {
            headers.insert(POLICY_HEADER, policy);
        }
    }
    if let Some(exceeded) = exceeded {
        response.headers_mut().insert(header::RETRY_AFTER, exceeded.retry_after_secs.into());
    }
    response
}

/// Before a path that no method has: it is charged like any other request.
pub(super) async fn charge_unknown(charges: Charges, request: Request, next: Next) -> Response {
    let nsid = request.uri().path().strip_prefix("/xrpc/").unwrap_or_default();
    match charges.charge_method(nsid, None) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}
