//! Tokens between services: JWTs signed with the `#atproto` key of a DID document (SA-1 to SA-7).
//!
//! Here because `jsonwebtoken` has no ES256K. The algorithm is decided by the key that the issuer's document names;
//! what the token's header says has to agree with it.
//!
//! Not for: sessions ([`super::token`]).

use std::sync::Arc;

use atproto::{
    crypto::{Curve, PublicKey, SigningKey},
    syntax::Did,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::{
    service::{
        identity::{DidResolver, Freshness},
        keys::{KeyError, Keys},
    },
    store::account::Account,
    time::{Clock, Entropy, SECOND},
};

/// Life of a token whose end nobody chose, in seconds.
pub const SERVICE_TOKEN_TTL_SECS: i64 = 60;
/// Longest token looked at, in bytes. An audience may have 2,048.
const TOKEN_BYTES_MAX: usize = 8192;
/// Fragment of this server's DID in audiences.
const PDS_SERVICE: &str = "atproto_pds";
/// The `typ` of tokens that are something else, whoever signed them.
const OTHER_TYPES: [&str; 3] = ["at+jwt", "refresh+jwt", "dpop+jwt"];

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceToken {
    /// Who signed it.
    pub iss: Did,
    /// Fragment of the issuer: the service that signed, when it is not the account itself (`atproto_labeler`).
    pub service: Option<String>,
    /// Whom it is for, as it stands in the token.
    pub aud: String,
    /// The only method that it is good for.
    pub lxm: Option<String>,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceTokenError {
    /// Not three parts, or parts that do not hold what they must.
    #[error("poorly formatted jwt")]
    Malformed,
    /// A token of another kind.
    #[error("Invalid jwt type \"{0}\"")]
    Type(String),
    /// It was good once.
    #[error("jwt expired")]
    Expired,
    /// No method named.
    #[error("missing jwt lexicon method (\"lxm\"). must match: {0}")]
    MethodMissing(String),
    /// For another method.
    #[error("bad jwt lexicon method (\"lxm\"). must match: {0}")]
    Method(String),
    /// The issuer is not a DID, with a fragment perhaps.
    #[error("jwt iss is not a valid did")]
    Issuer,
    /// The issuer's document could not be had, or has no such key.
    #[error("could not find the key of the jwt issuer: {0}")]
    Key(String),
    /// The key is not the one that signed.
    #[error("jwt signature does not match jwt issuer")]
    Signature,
    /// For another server.
    #[error("jwt audience does not match service did")]
    Audience,
}

impl ServiceTokenError {
    /// The error name that clients see.
    pub fn name(&self) -> &'static str {
        match self {
            ServiceTokenError::Malformed => "BadJwt",
            ServiceTokenError::Type(_) => "BadJwtType",
            ServiceTokenError::Expired => "JwtExpired",
            ServiceTokenError::MethodMissing(_) | ServiceTokenError::Method(_) => "BadJwtLexiconMethod",
            ServiceTokenError::Issuer => "BadJwtIss",
            ServiceTokenError::Key(_) | ServiceTokenError::Signature => "BadJwtSignature",
            ServiceTokenError::Audience => "BadJwtAudience",
        }
    }
}

/// Issues and verifies tokens between services. Cheap to clone.
#[derive(Clone)]
pub struct ServiceTokens {
    inner: Arc<Inner>,
}

struct Inner {
    service_did: Did,
    resolver: DidResolver,
    keys: Keys,
    clock: Clock,
    entropy: Entropy,
}

impl ServiceTokens {
    /// `service_did` is the audience of tokens for this server.
    pub fn new(
        service_did: Did,
        resolver: DidResolver,
        keys: Keys,
        clock: Clock,
        entropy: Entropy,
    ) -> ServiceTokens {
        ServiceTokens { inner: Arc::new(Inner { service_did, resolver, keys, clock, entropy }) }
    }

    /// A token in the name of `account`, signed with the key of its repo. `aud` and `lxm` go in as they are; `exp` is
    /// in seconds since 1970, by default [`SERVICE_TOKEN_TTL_SECS`] from now.
    pub async fn issue(
        &self,
        account: &Account,
        aud: &str,
        lxm: Option<&str>,
        exp: Option<i64>,
    ) -> Result<String, KeyError> {
        let key = self.inner.keys.signing_key(&account.did).await?;
        let now = self.now_secs();
        let mut claims = json!({
            "iat": now,
            "iss": account.did,
            "aud": aud,
            "exp": exp.unwrap_or(now + SERVICE_TOKEN_TTL_SECS),
            "jti": format!("{:032x}", u128::from_be_bytes(self.inner.entropy.bytes())),
        });
        if let (Some(lxm), Some(claims)) = (lxm, claims.as_object_mut()) {
            claims.insert("lxm".to_owned(), lxm.into());
        }
        Ok(sign(&key, &claims))
    }

    /// Checks a token that was sent along with a call of the method `lxm`. When the signature does not match, the
    /// issuer's document is fetched anew, once: keys change.
    pub async fn verify(&self, token: &str, lxm: &str) -> Result<ServiceToken, ServiceTokenError> {
        let read = Read::parse(token)?;
        if read.exp <= self.now_secs() {
            return Err(ServiceTokenError::Expired);
        }
        match &read.token.lxm {
            None => return Err(ServiceTokenError::MethodMissing(lxm.to_owned())),
            Some(named) if named != lxm => return Err(ServiceTokenError::Method(lxm.to_owned())),
            Some(_) => {}
        }
        let known = self.key(&read.token, Freshness::Cached).await?;
        if !read.is_signed_by(&known) {
            let fresh = self.key(&read.token, Freshness::Forced).await?;
            if fresh == known || !read.is_signed_by(&fresh) {
                return Err(ServiceTokenError::Signature);
            }
        }
        if !self.is_for_us(&read.token.aud) {
            return Err(ServiceTokenError::Audience);
        }
        Ok(read.token)
    }

    /// Our DID, with or without the service that a PDS is (SA-2, SA-7).
    fn is_for_us(&self, aud: &str) -> bool {
        let (did, service) = aud.split_once('#').unwrap_or((aud, PDS_SERVICE));
        did == self.inner.service_did.as_str() && service == PDS_SERVICE
    }

    async fn key(&self, token: &ServiceToken, freshness: Freshness) -> Result<PublicKey, ServiceTokenError> {
        let failed = |problem: String| ServiceTokenError::Key(problem);
        let document = self
            .inner
            .resolver
            .resolve(&token.iss, freshness)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let id =
            if token.service.as_deref() == Some("atproto_labeler") { "#atproto_label" } else { "#atproto" };
        document
            .verification_key(id)
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed(format!("{} has no key {id}", token.iss)))
    }

    fn now_secs(&self) -> i64 {
        self.inner.clock.now() / SECOND
    }
}

/// The name of the algorithm that keys of `curve` sign with (CR-1).
fn algorithm(curve: Curve) -> &'static str {
    match curve {
        Curve::K256 => "ES256K",
        Curve::P256 => "ES256",
    }
}

/// The compact JWT of `claims`.
pub fn sign(key: &SigningKey, claims: &Value) -> String {
    let header = json!({ "typ": "JWT", "alg": algorithm(key.curve()) });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The claims of a JWT, not verified: only good for choosing who verifies it. `None` when it is not one.
pub fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    object(token.split('.').nth(1)?)
}

/// A token whose form is right.
struct Read<'a> {
    token: ServiceToken,
    exp: i64,
    algorithm: String,
    signed: &'a str,
    signature: Vec<u8>,
}

impl Read<'_> {
    fn parse(token: &str) -> Result<Read<'_>, ServiceTokenError> {
        let malformed = || ServiceTokenError::Malformed;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) =
            signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or_else(malformed)?;
        let header = object(header).ok_or_else(malformed)?;
        let algorithm = text(&header, "alg").ok_or_else(malformed)?;
        if let Some(typ) = text(&header, "typ").filter(|typ| OTHER_TYPES.contains(&typ.as_str())) {
            return Err(ServiceTokenError::Type(typ));
        }
        let claims = object(claims).ok_or_else(malformed)?;
        let issuer = text(&claims, "iss").ok_or_else(malformed)?;
        let aud = text(&claims, "aud").ok_or_else(malformed)?;
        // A fraction of a second does not matter, and a number beyond all dates is one that has not come.
        #[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        let exp = claims.get("exp").and_then(Value::as_f64).ok_or_else(malformed)? as i64;
        let (iss, service) = match issuer.split_once('#') {
            Some((did, service)) => (did, Some(service.to_owned())),
            None => (issuer.as_str(), None),
        };
        if service.as_deref().is_some_and(|service| service.is_empty() || service.contains('#')) {
            return Err(ServiceTokenError::Issuer);
        }
        let iss = Did::parse(iss).map_err(|_| ServiceTokenError::Issuer)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let token = ServiceToken { iss, service, aud, lxm: text(&claims, "lxm") };
        Ok(Read { token, exp, algorithm, signed, signature })
    }

    /// High-S signatures pass: libraries that make JWTs do not normalise.
    fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.algorithm == algorithm(key.curve())
            && key.verify_any_s(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    Some(fields.get(name)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::{
        service::{
            identity::PlcClient,
            outbound::{Outbound, Reach},
            settings::Settings,
        },
        store::{Store, StoreOptions},
    };

    const ISSUER: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    const METHOD: &str = "com.atproto.server.createAccount";
    const NOW_SECS: i64 = 1_700_000_000;

    struct Setting {
        directory: MockServer,
        tokens: ServiceTokens,
        _dir: tempfile::TempDir,
    }

    async fn setting() -> Setting {
        let dir = tempfile::TempDir::new().unwrap();
        let clock = Clock::from_fn(|| NOW_SECS * SECOND);
        let store = Store::open(StoreOptions::at(dir.path()), clock.clone()).await.unwrap();
        let directory = MockServer::start().await;
        let did: Did = "did:web:pds.example.com".parse().unwrap();
        let settings = Arc::new(Settings::sandbox("https://pds.example.com", did.clone(), &directory.uri()));
        let plc = PlcClient::new(&directory.uri());
        let outbound = Outbound::new(Reach::Public);
        let resolver = DidResolver::new(settings, plc, outbound, store.clone(), clock.clone());
        let keys = Keys::new(store, &[7; 32].into(), Entropy::system());
        let tokens = ServiceTokens::new(did, resolver, keys, clock, Entropy::system());
        Setting { directory, tokens, _dir: dir }
    }

    impl Setting {
        /// What the issuer's document says from now on.
        async fn publish(&self, id: &str, key: &SigningKey) {
            self.directory.reset().await;
            let method_of_key = json!({
                "id": format!("{ISSUER}#{id}"),
                "type": "Multikey",
                "controller": ISSUER,
                "publicKeyMultibase": key.public_key().multikey(),
            });
            let document = json!({ "id": ISSUER, "verificationMethod": [method_of_key] });
            let answer = ResponseTemplate::new(200).set_body_json(document);
            Mock::given(method("GET")).respond_with(answer).mount(&self.directory).await;
        }

        async fn verify(&self, token: &str) -> Result<ServiceToken, &'static str> {
            self.tokens.verify(token, METHOD).await.map_err(|error| error.name())
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(Curve::K256, &[seed; 32]).unwrap()
    }

    fn claims() -> Value {
        json!({ "iss": ISSUER, "aud": "did:web:pds.example.com", "exp": NOW_SECS + 60, "lxm": METHOD })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    #[tokio::test]
    async fn a_token_of_either_curve_names_its_issuer() {
        let setting = setting().await;
        for key in [key(1), SigningKey::from_bytes(Curve::P256, &[2; 32]).unwrap()] {
            setting.publish("atproto", &key).await;
            let token = setting.verify(&sign(&key, &claims())).await.unwrap();
            assert_eq!((token.iss.as_str(), token.service), (ISSUER, None));
        }
        let token = sign(&key(2), &with("aud", json!("did:web:pds.example.com#atproto_pds")));
        setting.publish("atproto", &key(2)).await;
        assert!(setting.verify(&token).await.is_ok());
    }

    /// SA-5
    #[tokio::test]
    async fn tokens_for_something_else_are_refused_by_name() {
        let setting = setting().await;
        setting.publish("atproto", &key(1)).await;
        for (claims, name) in [
            (with("exp", json!(NOW_SECS)), "JwtExpired"),
            (with("exp", json!("soon")), "BadJwt"),
            (with("lxm", json!(null)), "BadJwtLexiconMethod"),
            (with("lxm", json!("com.atproto.server.createaccount")), "BadJwtLexiconMethod"),
            (with("iss", json!("alice.test")), "BadJwtIss"),
            (with("iss", json!(format!("{ISSUER}#"))), "BadJwtIss"),
            (with("iss", json!(format!("{ISSUER}#a#b"))), "BadJwtIss"),
            (with("aud", json!("did:web:other.example.com")), "BadJwtAudience"),
            (with("aud", json!("did:web:pds.example.com#bsky_appview")), "BadJwtAudience"),
        ] {
            assert_eq!(setting.verify(&sign(&key(1), &claims)).await.unwrap_err(), name, "{claims}");
        }
        let token = sign(&key(1), &claims());
        let (_, rest) = token.split_once('.').unwrap();
        let header = |header: Value| format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for (token, name) in [
            (header(json!({ "alg": "ES256K", "typ": "at+jwt" })), "BadJwtType"),
            (header(json!({ "alg": "none" })), "BadJwtSignature"),
            (header(json!({ "alg": "ES256" })), "BadJwtSignature"),
            (header(json!({ "typ": "JWT" })), "BadJwt"),
            (format!("{token}.x"), "BadJwt"),
            ("a.b".to_owned(), "BadJwt"),
            (String::new(), "BadJwt"),
            (long, "BadJwt"),
            (sign(&key(2), &claims()), "BadJwtSignature"),
        ] {
            assert_eq!(setting.verify(&token).await.unwrap_err(), name, "{token}");
        }
    }

    #[tokio::test]
    async fn a_key_that_has_changed_is_fetched_anew_once() {
        let setting = setting().await;
        setting.publish("atproto", &key(1)).await;
        assert!(setting.verify(&sign(&key(1), &claims())).await.is_ok());
        setting.publish("atproto", &key(2)).await;
        assert!(setting.verify(&sign(&key(2), &claims())).await.is_ok());
        assert_eq!(setting.verify(&sign(&key(1), &claims())).await.unwrap_err(), "BadJwtSignature");
    }

    /// SA-6
    #[tokio::test]
    async fn a_labeler_signs_with_its_own_key() {
        let setting = setting().await;
        let token = sign(&key(3), &with("iss", json!(format!("{ISSUER}#atproto_labeler"))));
        setting.publish("atproto", &key(3)).await;
        assert_eq!(setting.verify(&token).await.unwrap_err(), "BadJwtSignature");
        setting.directory.reset().await;
        let fresh = setting_with_label(&token).await;
        assert_eq!(fresh.as_deref(), Ok("atproto_labeler"));
    }

    async fn setting_with_label(token: &str) -> Result<String, &'static str> {
        let setting = setting().await;
        setting.publish("atproto_label", &key(3)).await;
        setting.verify(token).await.map(|token| token.service.unwrap_or_default())
    }
}
