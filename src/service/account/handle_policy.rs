//! Which handles this server gives out (HN-3, HN-11).

use atproto::syntax::Handle;

use crate::service::settings::Settings;

/// Shortest label before a service domain, in characters.
const FRONT_CHARS_MIN: usize = 3;
/// Longest label before a service domain, in characters.
const FRONT_CHARS_MAX: usize = 18;

/// Names that would pass for the protocol, the server or its keepers.
const RESERVED: [&str; 58] = [
    "about",
    "abuse",
    "account",
    "admin",
    "administrator",
    "api",
    "app",
    "atp",
    "atproto",
    "auth",
    "billing",
    "blog",
    "bluesky",
    "bsky",
    "cdn",
    "contact",
    "dev",
    "did",
    "dns",
    "docs",
    "email",
    "feed",
    "ftp",
    "handle",
    "help",
    "host",
    "hostmaster",
    "imap",
    "info",
    "legal",
    "lexicon",
    "login",
    "mail",
    "moderation",
    "moderator",
    "mta-sts",
    "news",
    "nsid",
    "oauth",
    "official",
    "pds",
    "plc",
    "policy",
    "pop3",
    "postmaster",
    "privacy",
    "relay",
    "repo",
    "root",
    "security",
    "signup",
    "smtp",
    "staff",
    "status",
    "support",
    "webmaster",
    "www",
    "xrpc",
];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Anyone.
    Public,
    /// The operator, who may have reserved names.
    Operator,
}

/// Why a handle is not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// HN-3
    #[error("Handle TLD is invalid or disallowed")]
    Tld,
    /// More than one label before the service domain.
    #[error("Invalid characters in handle")]
    Characters,
    /// Fewer than three characters before the service domain.
    #[error("Handle too short")]
    TooShort,
    /// More than eighteen characters before the service domain.
    #[error("Handle too long")]
    TooLong,
    /// A name of [`RESERVED`].
    #[error("Reserved handle")]
    Reserved,
    /// Not under a service domain.
    #[error("Not a supported handle domain")]
    UnsupportedDomain,
}

/// Checks a handle for a new account.
pub fn check(settings: &Settings, handle: &Handle, asker: Asker) -> Result<(), HandleError> {
    if handle.has_disallowed_tld() {
        return Err(HandleError::Tld);
    }
    let domain = settings.handle_domain_of(handle.as_str()).ok_or(HandleError::UnsupportedDomain)?;
    let front = handle.as_str().strip_suffix(domain).unwrap_or_default();
    if front.contains('.') {
        return Err(HandleError::Characters);
    }
    if front.len() < FRONT_CHARS_MIN {
        return Err(HandleError::TooShort);
    }
    if front.len() > FRONT_CHARS_MAX {
        return Err(HandleError::TooLong);
    }
    if asker == Asker::Public && RESERVED.binary_search(&front).is_ok() {
        return Err(HandleError::Reserved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use atproto::syntax::Did;

    use super::*;

    fn check_text(handle: &str, asker: Asker) -> Result<(), HandleError> {
        let mut settings = Settings::sandbox(
            "http://localhost",
            Did::parse("did:web:localhost").unwrap(),
            "http://localhost",
        );
        settings.handle_domains.push(".a-rather-long-domain-name-here.example.com".into());
        check(&settings, &Handle::parse(handle).unwrap(), asker)
    }

    #[test]
    fn reserved_names_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn handles_under_the_service_domains_follow_the_policy_of_hn_11() {
        for (handle, expected) in [
            ("alice.test", Ok(())),
            ("bob.test", Ok(())),
            ("eighteen-chars-abc.test", Ok(())),
            ("alice.a-rather-long-domain-name-here.example.com", Ok(())),
            ("al.test", Err(HandleError::TooShort)),
            ("nineteen-chars-abcd.test", Err(HandleError::TooLong)),
            ("alice.bob.test", Err(HandleError::Characters)),
            ("admin.test", Err(HandleError::Reserved)),
            ("xrpc.test", Err(HandleError::Reserved)),
            ("alice.example.com", Err(HandleError::UnsupportedDomain)),
            ("alice.nottest", Err(HandleError::UnsupportedDomain)),
            ("alice.local", Err(HandleError::Tld)),
            ("alice.onion", Err(HandleError::Tld)),
        ] {
            assert_eq!(check_text(handle, Asker::Public), expected, "{handle}");
        }
        assert_eq!(check_text("admin.test", Asker::Operator), Ok(()));
    }
}
