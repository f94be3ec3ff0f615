//! Legacy session tokens: what is in them and when they are accepted (XR-10).
//!
//! Access tokens live 120 minutes and stand in no table; refresh tokens live 90 days and are rotated (see
//! [`super::session`]). Clients send the same access token with each request: those seen last are remembered by their hash,
//! and not read anew. Nothing but time ends them, and that is looked at each time.

use std::sync::{Arc, Mutex, PoisonError};

use atproto::syntax::Did;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Scope,
    jws::{Hs256, TOKEN_BYTES_MAX, Verified},
};
use crate::{
    service::recent::Recent,
    time::{Clock, Micros, SECOND},
};

/// Life of an access token, in seconds.
pub const ACCESS_TTL_SECS: i64 = 120 * 60;
/// Life of a refresh token, in seconds.
pub const REFRESH_TTL_SECS: i64 = 90 * 24 * 60 * 60;

/// Access tokens remembered at a time, some 200 bytes each: those of 10,000 accounts that write in turn.
const SEEN_MAX: usize = 20_000;

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
    /// Good access tokens, by the SHA-256 of their text.
    seen: Arc<Mutex<Recent<[u8; 32], Seen>>>,
}

/// An access token that has been checked once.
#[derive(Clone)]
struct Seen {
    token: AccessToken,
    /// Seconds since 1970.
    expires_at: i64,
}

impl Tokens {
    /// Tokens of `service_did`, signed under `hs256`.
    pub fn new(hs256: Hs256, service_did: Did, clock: Clock) -> Tokens {
        Tokens { hs256, service_did, clock, seen: Arc::new(Mutex::new(Recent::new(SEEN_MAX))) }
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
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Unverified);
        }
        let name: [u8; 32] = Sha256::digest(token).into();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&name);
        let Seen { token, expires_at } = match seen {
            Some(seen) => seen,
            None => {
                let verified = self.verify(token, ACCESS_TYP, Expiry::Enforced)?;
                let token = AccessToken { did: subject(&verified)?, scope: scope(&verified)? };
                let seen = Seen { token, expires_at: expires_at(&verified)? };
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name, seen.clone());
                seen
            }
        };
        if expires_at <= self.now_secs() {
            return Err(TokenError::Expired);
        }
        if !accepted.contains(&token.scope) {
            return Err(TokenError::Scope);
        }
        Ok(token)
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
        if expires_at(&verified)? <= self.now_secs() && expiry == Expiry::Enforced {
            return Err(TokenError::Expired);
        }
        Ok(verified)
    }

    fn now_secs(&self) -> i64 {
        self.clock.now() / SECOND
    }
}

fn expires_at(verified: &Verified) -> Result<i64, TokenError> {
    verified.claims.get("exp").and_then(Value::as_i64).ok_or(TokenError::Malformed)
}

fn subject(verified: &Verified) -> Result<Did, TokenError> {
    let subject = verified.claims.get("sub").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    Did::parse(subject).map_err(|_| TokenError::Malformed)
}

fn scope(verified: &Verified) -> Result<Scope, TokenError> {
    let scope = verified.claims.get("scope").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    Scope::parse(scope).ok_or(TokenError::Scope)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicI64, Ordering};

    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_token_seen_before_is_looked_at_as_closely_as_a_new_one() {
        let (alice, bob) =
            (Did::parse("did:web:alice.test").unwrap(), Did::parse("did:web:bob.test").unwrap());
        let now = Arc::new(AtomicI64::new(1_000_000));
        let shown = now.clone();
        let clock = Clock::from_fn(move || shown.load(Ordering::SeqCst) * SECOND);
        let hs256 = |byte| Hs256::new(Zeroizing::new([byte; 32]));
        let service = Did::parse("did:web:pds.test").unwrap();
        let tokens = Tokens::new(hs256(1), service.clone(), clock.clone());
        let (app_pass, access) = (&[Scope::AppPass][..], &[Scope::AppPass, Scope::Access][..]);
        let token = tokens.issue_access(&alice, Scope::AppPass);
        let other = tokens.issue_access(&bob, Scope::Access);
        for _ in 0..3 {
            for accepted in [app_pass, access] {
                let verified = tokens.verify_access(&token, accepted).unwrap();
                assert_eq!(verified, AccessToken { did: alice.clone(), scope: Scope::AppPass });
            }
            assert_eq!(tokens.verify_access(&token, &[Scope::Access]), Err(TokenError::Scope));
            assert_eq!(tokens.verify_access(&other, access).unwrap().did, bob);
            assert_eq!(tokens.verify_access(&other, app_pass), Err(TokenError::Scope));
            assert_eq!(tokens.verify_access(&format!("{token}x"), access), Err(TokenError::Unverified));
            let (refresh, _) = tokens.issue_refresh(&alice, "name");
            assert_eq!(tokens.verify_access(&refresh, access), Err(TokenError::Unverified));
        }
        let other_key = Tokens::new(hs256(2), service, clock);
        assert_eq!(other_key.verify_access(&token, access), Err(TokenError::Unverified));

        now.fetch_add(ACCESS_TTL_SECS, Ordering::SeqCst);
        assert_eq!(tokens.verify_access(&token, access), Err(TokenError::Expired));
        // The clock may be set back.
        now.fetch_sub(1, Ordering::SeqCst);
        assert_eq!(tokens.verify_access(&token, access).unwrap().did, alice);
    }
}
