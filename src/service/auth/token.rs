//! Legacy session tokens: what is in them and when they are accepted (XR-10).
//!
//! Access tokens live 120 minutes and stand in no table; refresh tokens live 90 days and are rotated (see
//! [`super::session`]).

use atproto::syntax::Did;
use serde_json::{Value, json};

use super::{
    Scope,
    jws::{Hs256, Verified},
};
use crate::time::{Clock, Micros, SECOND};

/// Life of an access token, in seconds.
pub const ACCESS_TTL_SECS: i64 = 120 * 60;
/// Life of a refresh token, in seconds.
pub const REFRESH_TTL_SECS: i64 = 90 * 24 * 60 * 60;

const ACCESS_TYP: &str = "at+jwt";
const REFRESH_TYP: &str = "refresh+jwt";

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("Token has expired")]
    Expired,
    /// Signature, kind of token or audience is not ours.
    #[error("Token could not be verified")]
    Unverified,
    /// Claims that do not make a session token.
    #[error("Malformed token")]
    Malformed,
    /// A good token that does not open this door.
    #[error("Bad token scope")]
    Scope,
}

/// A verified access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose it is.
    pub did: Did,
    /// What it allows.
    pub scope: Scope,
}

/// A verified refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whose it is.
    pub did: Did,
    /// Its name; secret, as good as the token.
    pub jti: String,
}

/// Whether the end of a refresh token's life matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Expired tokens are refused.
    Enforced,
    /// Signing out with an expired token is fine.
    Ignored,
}

/// Issues and verifies session tokens.
#[derive(Clone)]
pub struct Tokens {
    hs256: Hs256,
    service_did: Did,
    clock: Clock,
}

impl Tokens {
    /// Tokens of `service_did`, signed under `hs256`.
    pub fn new(hs256: Hs256, service_did: Did, clock: Clock) -> Tokens {
        Tokens { hs256, service_did, clock }
    }

    pub(super) fn key(&self) -> &Hs256 {
        &self.hs256
    }

    /// A new access token.
    pub fn issue_access(&self, did: &Did, scope: Scope) -> String {
        let now = self.now_secs();
        self.hs256.sign(
            ACCESS_TYP,
            &json!({
                "scope": scope.as_str(),
                "aud": self.service_did,
                "sub": did,
                "iat": now,
                "exp": now + ACCESS_TTL_SECS,
            }),
        )
    }

    /// A refresh token named `jti`, and when it ends.
    pub fn issue_refresh(&self, did: &Did, jti: &str) -> (String, Micros) {
        let now = self.now_secs();
        let exp = now + REFRESH_TTL_SECS;
        let token = self.hs256.sign(
            REFRESH_TYP,
            &json!({
                "scope": Scope::Refresh.as_str(),
                "aud": self.service_did,
                "sub": did,
                "jti": jti,
                "iat": now,
                "exp": exp,
            }),
        );
        (token, exp * SECOND)
    }

    /// Checks an access token; its scope must be in `accepted`.
    pub fn verify_access(&self, token: &str, accepted: &[Scope]) -> Result<AccessToken, TokenError> {
        let verified = self.verify(token, ACCESS_TYP, Expiry::Enforced)?;
        let (did, scope) = (subject(&verified)?, scope(&verified)?);
        if !accepted.contains(&scope) {
            return Err(TokenError::Scope);
        }
        Ok(AccessToken { did, scope })
    }

    /// Checks a refresh token. Whether it has been used or revoked is for [`super::session`].
    pub fn verify_refresh(&self, token: &str, expiry: Expiry) -> Result<RefreshToken, TokenError> {
        let verified = self.verify(token, REFRESH_TYP, expiry)?;
        let did = subject(&verified)?;
        if scope(&verified)? != Scope::Refresh {
            return Err(TokenError::Scope);
        }
        let jti = verified.claims.get("jti").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
        Ok(RefreshToken { did, jti: jti.to_owned() })
    }

    fn verify(&self, token: &str, typ: &str, expiry: Expiry) -> Result<Verified, TokenError> {
        let verified = self.hs256.verify(token).map_err(|_| TokenError::Unverified)?;
        if verified.typ != typ {
            return Err(TokenError::Unverified);
        }
        // Service tokens name a method, DPoP-bound ones a key: neither is a session, whoever signed it.
        if verified.claims.contains_key("lxm") || verified.claims.contains_key("cnf") {
            return Err(TokenError::Malformed);
        }
        let audience = verified.claims.get("aud").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
        if audience != self.service_did.as_str() {
            return Err(TokenError::Unverified);
        }
        let expires_at = verified.claims.get("exp").and_then(Value::as_i64).ok_or(TokenError::Malformed)?;
        if expiry == Expiry::Enforced && expires_at <= self.now_secs() {
            return Err(TokenError::Expired);
        }
        Ok(verified)
    }

    fn now_secs(&self) -> i64 {
        self.clock.now() / SECOND
    }
}

fn subject(verified: &Verified) -> Result<Did, TokenError> {
    let subject = verified.claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    Did::parse(subject).map_err(|_| TokenError::Malformed)
}

fn scope(verified: &Verified) -> Result<Scope, TokenError> {
    let scope = verified.claims.get("scope").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    Scope::parse(scope).ok_or(TokenError::Scope)
}
