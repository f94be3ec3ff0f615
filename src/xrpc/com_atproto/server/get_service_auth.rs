//! com.atproto.server.getServiceAuth: a token with which another service knows the caller.

use atproto::syntax::Nsid;
use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    app::App,
    service::auth::{
        Scope,
        audience::is_audience,
        method_sets::{is_privileged, is_protected},
    },
    time::{Micros, SECOND},
    xrpc::{Caller, Params, XrpcError, caller::StandardOrTakendown},
};

/// Longest `aud`, in bytes.
const AUDIENCE_BYTES_MAX: usize = 2048;
/// Longest life of a token for one method.
const LIFE_MAX: Micros = 60 * 60 * SECOND;
/// Longest life of a token for any method.
const METHODLESS_LIFE_MAX: Micros = 60 * SECOND;
/// What an account that is taken down may still prove: that it moves away.
const MOVE_AWAY: &str = "com.atproto.server.createAccount";

/// Deactivated accounts get one too: it is how they move away (MG-12).
pub(super) async fn get_service_auth(
    State(app): State<App>,
    Params(params): Params<GetServiceAuthParams>,
    caller: Caller<StandardOrTakendown>,
) -> Result<Json<GetServiceAuthOutput>, XrpcError> {
    if !is_audience(&params.aud.0) {
        return Err(XrpcError::invalid_request("aud must be a valid atproto DID or did#serviceId reference"));
    }
    let lxm = params.lxm.as_ref().map(Nsid::as_str);
    check_method(lxm, caller.scope)?;
    if let Some(exp) = params.exp {
        check_expiry(lxm, exp, app.clock.now())?;
    }
    if let Some(lxm) = lxm.filter(|lxm| is_protected(lxm)) {
        return Err(XrpcError::invalid_request(format_args!(
            "cannot request a service auth token for the following protected method: {lxm}"
        )));
    }
    let token = app
        .service_tokens
        .issue(&caller.account, &params.aud.0, lxm, params.exp)
        .await
        .map_err(XrpcError::internal)?;
    Ok(Json(GetServiceAuthOutput { token }))
}

/// What the session may ask for.
fn check_method(lxm: Option<&str>, scope: Scope) -> Result<(), XrpcError> {
    if scope == Scope::Takendown && lxm != Some(MOVE_AWAY) {
        return Err(XrpcError::bad_request("InvalidToken", "Bad token scope"));
    }
    let may_be_privileged = scope.is_privileged() || scope == Scope::Takendown;
    match lxm {
        Some(lxm) if is_privileged(lxm) && !may_be_privileged => {
            Err(XrpcError::invalid_request(format_args!(
                "insufficient access to request a service auth token for the following method: {lxm}"
            )))
        }
        _ => Ok(()),
    }
}

/// `exp`: in seconds since 1970, not in milliseconds.
fn check_expiry(lxm: Option<&str>, exp: i64, now: Micros) -> Result<(), XrpcError> {
    let life = exp.saturating_mul(SECOND).saturating_sub(now);
    let problem = if life < 0 {
        "expiration is in past"
    } else if life > LIFE_MAX {
        "cannot request a token with an expiration more than an hour in the future"
    } else if lxm.is_none() && life > METHODLESS_LIFE_MAX {
        "cannot request a method-less token with an expiration more than a minute in the future"
    } else {
        return Ok(());
    };
    Err(XrpcError::bad_request("BadExpiration", problem))
}

#[derive(Deserialize)]
pub(super) struct GetServiceAuthParams {
    aud: Audience,
    exp: Option<i64>,
    lxm: Option<Nsid>,
}

/// Text of a bounded length.
struct Audience(String);

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Audience, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > AUDIENCE_BYTES_MAX {
            let problem = format_args!("must not be longer than {AUDIENCE_BYTES_MAX} bytes");
            return Err(de::Error::custom(problem));
        }
        Ok(Audience(text))
    }
}

#[derive(Serialize)]
pub(super) struct GetServiceAuthOutput {
    token: String,
}
