//! Who is calling: session tokens, passwords, the admin password, and what each may do.
//!
//! Not for: what a caller may do with a repository (the methods ask for that).

pub mod admin;
pub mod app_password;
pub mod audience;
pub mod jws;
pub mod method_sets;
pub mod password;
pub mod service_token;
pub mod session;
pub mod token;

use crate::store::account::Account;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose token it is.
    pub account: Account,
    /// What the token allows.
    pub scope: Scope,
}

/// Scope of a legacy session token (XR-10, XR-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Signed in with the account's own password.
    Access,
    /// Signed in with an app password that may also reach private messages.
    AppPassPrivileged,
    /// Signed in with an app password.
    AppPass,
    /// Signed in to a taken-down account, to appeal or to leave.
    Takendown,
    /// Only good for a new pair of tokens.
    Refresh,
    /// Waiting to be let in. Issued by entryways, never here; it may only ask how long the wait is.
    SignupQueued,
}

impl Scope {
    /// The claim's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Access => "com.atproto.access",
            Scope::AppPassPrivileged => "com.atproto.appPassPrivileged",
            Scope::AppPass => "com.atproto.appPass",
            Scope::Takendown => "com.atproto.takendown",
            Scope::Refresh => "com.atproto.refresh",
            Scope::SignupQueued => "com.atproto.signupQueued",
        }
    }

    /// Reads the claim; `None` for a scope that the protocol does not know.
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// True for sessions that may call the methods of [`method_sets::is_privileged`] elsewhere.
    pub fn is_privileged(self) -> bool {
        matches!(self, Scope::Access | Scope::AppPassPrivileged)
    }

    const ALL: [Scope; 6] = [
        Scope::Access,
        Scope::AppPassPrivileged,
        Scope::AppPass,
        Scope::Takendown,
        Scope::Refresh,
        Scope::SignupQueued,
    ];
}
