//! Extractors that say who is calling, and the checks that methods make of them.
//!
//! [`Caller`]: a session token is required. [`Session`]: the same, without a look at the account. [`OptionalCaller`]: sync reads that tell the account itself and the
//! operator more than the public. [`AdminOnly`]: the operator. [`Moderator`]: the operator or the moderation service.
//! [`ServiceCaller`]: a token signed by the key of a DID. [`AccountCaller`]: an account, by either kind of token. A method without any of them ignores `Authorization`.
//! Which scopes of token are accepted is part of the type: `Caller<FullAccess>`.

use std::{marker::PhantomData, ops::Deref};

use atproto::syntax::{AtIdentifier, Did};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{XrpcError, trace::RequestNotes};
use crate::{
    app::App,
    service::auth::{
        self, Scope,
        service_token::{ServiceToken, ServiceTokenError, unverified_claims},
        token::{AccessToken, TokenError},
    },
    store::{
        StoreError,
        account::{self, Account, Status},
        lane::leave_public_lane,
    },
};

/// Which scopes of session token a method accepts.
pub trait Accepts: Send + Sync + 'static {
    /// The scopes.
    const SCOPES: &'static [Scope];
}

/// Any session of an account in good standing, app passwords included.
#[derive(Clone, Copy, Debug)]
pub struct Standard;

impl Accepts for Standard {
    const SCOPES: &'static [Scope] = &[Scope::Access, Scope::AppPassPrivileged, Scope::AppPass];
}

/// [`Standard`], and sessions of taken-down accounts.
#[derive(Clone, Copy, Debug)]
pub struct StandardOrTakendown;

impl Accepts for StandardOrTakendown {
    const SCOPES: &'static [Scope] =
        &[Scope::Access, Scope::AppPassPrivileged, Scope::AppPass, Scope::Takendown];
}

/// [`Standard`], and sessions of people who wait to be let in (entryways issue them).
#[derive(Clone, Copy, Debug)]
pub struct StandardOrQueued;

impl Accepts for StandardOrQueued {
    const SCOPES: &'static [Scope] =
        &[Scope::Access, Scope::AppPassPrivileged, Scope::AppPass, Scope::SignupQueued];
}

/// Only sessions made with the account's own password.
#[derive(Clone, Copy, Debug)]
pub struct FullAccess;

impl Accepts for FullAccess {
    const SCOPES: &'static [Scope] = &[Scope::Access];
}

/// [`FullAccess`], and sessions of taken-down accounts.
#[derive(Clone, Copy, Debug)]
pub struct FullAccessOrTakendown;

impl Accepts for FullAccessOrTakendown {
    const SCOPES: &'static [Scope] = &[Scope::Access, Scope::Takendown];
}

/// A session token whose account has not been looked at: for methods that find out by what they do whether it is here and
/// what its status is.
#[derive(Clone, Debug)]
pub struct Session<A: Accepts = Standard> {
    /// Whose it is.
    pub did: Did,
    scope: Scope,
    accepts: PhantomData<fn() -> A>,
}

impl<A: Accepts> FromRequestParts<App> for Session<A> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Session<A>, XrpcError> {
        match authorization(parts)? {
            Authorization::None => Err(auth_missing()),
            Authorization::Bearer(token) => {
                let AccessToken { did, scope } = session_token(parts, app, &token, A::SCOPES)?;
                Ok(Session { did, scope, accepts: PhantomData })
            }
            Authorization::Basic { .. } => {
                Err(XrpcError::bad_request("InvalidToken", "Unexpected authorization type"))
            }
        }
    }
}

impl<A: Accepts> Session<A> {
    /// Looks at the account; 403 `AccountNotFound` when it is not here.
    pub async fn caller(self, app: &App) -> Result<Caller<A>, XrpcError> {
        let account = find_account(app, self.did).await?;
        Ok(Caller { caller: auth::Caller { account, scope: self.scope }, accepts: PhantomData })
    }
}

/// An account that has signed in. Derefs to [`auth::Caller`]; says nothing of the account's status.
#[derive(Clone, Debug)]
pub struct Caller<A: Accepts = Standard> {
    caller: auth::Caller,
    accepts: PhantomData<fn() -> A>,
}

impl<A: Accepts> Deref for Caller<A> {
    type Target = auth::Caller;

    fn deref(&self) -> &auth::Caller {
        &self.caller
    }
}

impl<A: Accepts> FromRequestParts<App> for Caller<A> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Caller<A>, XrpcError> {
        Session::from_request_parts(parts, app).await?.caller(app).await
    }
}

impl<A: Accepts> Caller<A> {
    /// 401 when the account is taken down or deactivated.
    pub fn require_active(&self) -> Result<(), XrpcError> {
        require_active(&self.account)
    }

    /// 401 when the account is taken down. Deactivated accounts pass: they may still be moving in.
    pub fn require_not_takendown(&self) -> Result<(), XrpcError> {
        require_not_takendown(&self.account)
    }

    /// What every write method asks first: `repo` is an active account here (403 `AccountNotFound`, 401
    /// `AccountTakedown`, 401 `AccountDeactivated`) and it is the caller's own (401 `AuthenticationRequired`).
    pub async fn require_own_repo(&self, app: &App, repo: &AtIdentifier) -> Result<(), XrpcError> {
        let own = match repo {
            AtIdentifier::Did(did) => *did == self.account.did,
            AtIdentifier::Handle(handle) => Some(handle) == self.account.handle.as_ref(),
        };
        if own {
            return self.require_active();
        }
        let found = app
            .store
            .look(|db| account::get_by_identifier(db, repo))
            .await
            .map_err(|error: StoreError| XrpcError::from(error))?
            .ok_or_else(account_not_found)?;
        require_active(&found)?;
        Err(XrpcError::authentication_required("repo is not the account that is signed in"))
    }
}

/// Who reads: nobody in particular, the operator, or an account.
#[derive(Clone, Debug)]
pub enum Reader {
    /// No `Authorization`.
    Anonymous,
    /// The operator.
    Admin,
    /// A session.
    Account(Box<auth::Caller>),
}

/// A reader, signed in or not. An `Authorization` that is there but wrong is an error all the same.
#[derive(Clone, Debug)]
pub struct OptionalCaller<A: Accepts = Standard> {
    /// Who it is.
    pub reader: Reader,
    accepts: PhantomData<fn() -> A>,
}

impl<A: Accepts> OptionalCaller<A> {
    /// True for the operator and for the account itself: they see it whatever its status.
    pub fn may_read_inactive(&self, did: &Did) -> bool {
        match &self.reader {
            Reader::Anonymous => false,
            Reader::Admin => true,
            Reader::Account(caller) => caller.account.did == *did,
        }
    }
}

impl<A: Accepts> FromRequestParts<App> for OptionalCaller<A> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<OptionalCaller<A>, XrpcError> {
        let reader = match authorization(parts)? {
            Authorization::None => Reader::Anonymous,
            Authorization::Bearer(token) => {
                Reader::Account(Box::new(session(parts, app, &token, A::SCOPES).await?))
            }
            Authorization::Basic { user, password } => {
                require_admin(app, &user, &password)?;
                Reader::Admin
            }
        };
        Ok(OptionalCaller { reader, accepts: PhantomData })
    }
}

/// The operator: HTTP Basic, user `admin` (XR-12).
#[derive(Clone, Copy, Debug)]
pub struct AdminOnly;

impl FromRequestParts<App> for AdminOnly {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<AdminOnly, XrpcError> {
        match authorization(parts) {
            Ok(Authorization::Basic { user, password }) => {
                require_admin(app, &user, &password).map(|()| AdminOnly)
            }
            // Whatever else there is, it is not the operator's password.
            _ => Err(not_the_operator()),
        }
    }
}

const ADMIN_CHALLENGE: &str = "Basic realm=\"admin\"";

fn require_admin(app: &App, user: &str, password: &str) -> Result<(), XrpcError> {
    if user == "admin" && app.admin.matches(password) {
        leave_public_lane();
        return Ok(());
    }
    Err(not_the_operator())
}

fn not_the_operator() -> XrpcError {
    XrpcError::authentication_required("Authentication Required").challenge(ADMIN_CHALLENGE)
}

/// The operator, or the moderation service by a token of its own.
#[derive(Clone, Copy, Debug)]
pub struct Moderator;

/// The service of a moderation service's DID whose tokens count as the DID's own.
const LABELER_SERVICE: &str = "atproto_labeler";

impl FromRequestParts<App> for Moderator {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Moderator, XrpcError> {
        let token = match authorization(parts) {
            Ok(Authorization::Bearer(token)) => token,
            _ => return AdminOnly::from_request_parts(parts, app).await.map(|_| Moderator),
        };
        let ServiceToken { iss, service, .. } = service_token(parts, app, &token).await?;
        let moderates = app.settings.mod_service.as_ref().is_some_and(|service| service.did == iss);
        if moderates && matches!(service.as_deref(), None | Some(LABELER_SERVICE)) {
            return Ok(Moderator);
        }
        Err(XrpcError::unauthorized("UntrustedIss", "Untrusted issuer"))
    }
}

/// A DID, by a token that its key has signed for the method called.
#[derive(Clone, Debug)]
pub struct ServiceCaller(pub ServiceToken);

impl FromRequestParts<App> for ServiceCaller {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<ServiceCaller, XrpcError> {
        match authorization(parts)? {
            Authorization::Bearer(token) => service_token(parts, app, &token).await.map(ServiceCaller),
            _ => Err(XrpcError::unauthorized("MissingJwt", "missing jwt")),
        }
    }
}

/// [`ServiceCaller`], or nobody when there is no `Authorization` at all. Credentials of another kind are refused: whoever
/// sends them expects them to matter.
#[derive(Clone, Debug)]
pub struct OptionalServiceCaller(pub Option<ServiceToken>);

impl FromRequestParts<App> for OptionalServiceCaller {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<OptionalServiceCaller, XrpcError> {
        match authorization(parts)? {
            Authorization::None => Ok(OptionalServiceCaller(None)),
            Authorization::Bearer(token) => {
                service_token(parts, app, &token).await.map(|token| OptionalServiceCaller(Some(token)))
            }
            _ => Err(XrpcError::authentication_required("Invalid authorization header")),
        }
    }
}

/// An account of this server: by a session token, or by a token for the method called that its own key has signed. Says
/// nothing of the account's status.
#[derive(Clone, Debug)]
pub struct AccountCaller(pub Account);

impl FromRequestParts<App> for AccountCaller {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<AccountCaller, XrpcError> {
        match authorization(parts)? {
            // Sessions name no method; what cannot be read at all is refused as one.
            Authorization::Bearer(token)
                if unverified_claims(&token)
                    .is_some_and(|claims| claims.get("lxm").is_some_and(|lxm| !lxm.is_null())) =>
            {
                let token = service_token(parts, app, &token).await?;
                if token.service.is_some() {
                    let problem = "jwt iss must be the account itself, not a service of it";
                    return Err(XrpcError::unauthorized("BadJwtIss", problem));
                }
                find_account(app, token.iss).await.map(AccountCaller)
            }
            _ => {
                let caller = Caller::<Standard>::from_request_parts(parts, app).await?;
                Ok(AccountCaller(caller.caller.account))
            }
        }
    }
}

/// Verifies a token for the method that the path names.
async fn service_token(parts: &Parts, app: &App, token: &str) -> Result<ServiceToken, XrpcError> {
    let method = parts.uri.path().strip_prefix("/xrpc/").unwrap_or_default();
    let token = app.service_tokens.verify(token, method).await?;
    leave_public_lane();
    if let Some(notes) = parts.extensions.get::<RequestNotes>() {
        notes.set_did(&token.iss);
    }
    Ok(token)
}

async fn session(
    parts: &Parts,
    app: &App,
    token: &str,
    accepted: &[Scope],
) -> Result<auth::Caller, XrpcError> {
    let token = session_token(parts, app, token, accepted)?;
    let account = find_account(app, token.did).await?;
    Ok(auth::Caller { account, scope: token.scope })
}

/// Checks a token that has to be of a session.
fn session_token(
    parts: &Parts,
    app: &App,
    token: &str,
    accepted: &[Scope],
) -> Result<AccessToken, XrpcError> {
    let token = app.tokens.verify_access(token, accepted)?;
    leave_public_lane();
    if let Some(notes) = parts.extensions.get::<RequestNotes>() {
        notes.set_did(&token.did);
    }
    Ok(token)
}

async fn find_account(app: &App, did: Did) -> Result<Account, XrpcError> {
    app.store
        .look(|db| account::get_by_did(db, &did))
        .await
        .map_err(|error: StoreError| XrpcError::from(error))?
        .ok_or_else(account_not_found)
}

/// The `Authorization` header, read.
pub(in crate::xrpc) enum Authorization {
    /// There is none.
    None,
    /// A session token.
    Bearer(String),
    /// The operator, or someone who claims so.
    Basic {
        /// Before the first colon.
        user: String,
        /// After it.
        password: String,
    },
}

/// Reads `Authorization`, and notes that the answer depends on it.
pub(in crate::xrpc) fn authorization(parts: &Parts) -> Result<Authorization, XrpcError> {
    if let Some(notes) = parts.extensions.get::<RequestNotes>() {
        notes.set_private();
    }
    read_authorization(&parts.headers)
}

fn read_authorization(headers: &HeaderMap) -> Result<Authorization, XrpcError> {
    let malformed = || XrpcError::bad_request("InvalidToken", "Malformed authorization header");
    // An empty header says no more than none.
    let Some(header) = headers.get(header::AUTHORIZATION).filter(|header| !header.is_empty()) else {
        return Ok(Authorization::None);
    };
    let mut parts = header.to_str().map_err(|_| malformed())?.split(' ');
    let (Some(scheme), Some(credentials), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    if credentials.is_empty() {
        return Err(malformed());
    }
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Ok(Authorization::Bearer(credentials.to_owned())),
        "basic" => {
            let decoded = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (user, password) =
                decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(malformed)?;
            Ok(Authorization::Basic { user: user.to_owned(), password: password.to_owned() })
        }
        "dpop" => Err(XrpcError::bad_request("InvalidToken", "Unexpected authorization type")),
        _ => Err(XrpcError::bad_request(
            "InvalidToken",
            format_args!("Unsupported authorization type: {scheme}"),
        )),
    }
}

/// 401 when the account is taken down or deactivated.
pub fn require_active(account: &Account) -> Result<(), XrpcError> {
    require_not_takendown(account)?;
    if account.status() == Status::Deactivated {
        return Err(XrpcError::unauthorized("AccountDeactivated", "Account is deactivated"));
    }
    Ok(())
}

/// 401 when the account is taken down.
pub fn require_not_takendown(account: &Account) -> Result<(), XrpcError> {
    if account.status() == Status::Takendown {
        return Err(XrpcError::unauthorized("AccountTakedown", "Account has been taken down"));
    }
    Ok(())
}

pub(super) fn account_not_found() -> XrpcError {
    XrpcError::forbidden("AccountNotFound", "Account not found")
}

pub(in crate::xrpc) fn auth_missing() -> XrpcError {
    XrpcError::unauthorized("AuthMissing", "Authentication Required")
}

impl From<TokenError> for XrpcError {
    fn from(error: TokenError) -> XrpcError {
        // Clients refresh when they see this name with status 400 (XR-7).
        let name = if error == TokenError::Expired { "ExpiredToken" } else { "InvalidToken" };
        XrpcError::bad_request(name, error)
    }
}

impl From<ServiceTokenError> for XrpcError {
    fn from(error: ServiceTokenError) -> XrpcError {
        XrpcError::unauthorized(error.name(), error)
    }
}
