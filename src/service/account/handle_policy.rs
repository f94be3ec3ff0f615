//! Which handles this server gives out (HN-3, HN-11).
//!
//! Everything here is known without asking anyone. That a handle elsewhere leads to its DID is asked by
//! [`Accounts::check_handle`](super::Accounts::check_handle).

use std::{collections::HashSet, sync::LazyLock};

use atproto::syntax::Handle;

use crate::service::settings::Settings;

/// Shortest label before a service domain, in characters.
const FRONT_CHARS_MIN: usize = 3;
/// Longest label before a service domain, in characters.
const FRONT_CHARS_MAX: usize = 18;

/// Names that would pass for the protocol, the server, its keepers or someone else; the file says why each is there.
static RESERVED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| reserved_names().collect());

fn reserved_names() -> impl Iterator<Item = &'static str> {
    include_str!("reserved_handles.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Anyone.
    Public,
    /// The operator, who may have reserved names and words of the list.
    Operator,
}

/// Where a handle that may be given out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under a service domain: this server answers for it.
    Ours,
    /// Anywhere else: its owner answers for it, and it has to lead to the account's DID.
    Elsewhere,
}

/// Why a handle is not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// HN-3
    #[error("Handle TLD is invalid or disallowed")]
    Tld,
    /// A word of the operator's list.
    #[error("Inappropriate language in handle")]
    Inappropriate,
    /// More than one label before the service domain.
    #[error("Invalid characters in handle")]
    Characters,
    /// Fewer than three characters before the service domain.
    #[error("Handle too short")]
    TooShort,
    /// More than eighteen characters before the service domain.
    #[error("Handle too long")]
    TooLong,
    /// A name of `reserved_handles.txt`.
    #[error("Reserved handle")]
    Reserved,
    /// Not under a service domain, and there is no DID yet that it could lead to.
    #[error("Not a supported handle domain")]
    UnsupportedDomain,
    /// Not under a service domain, and it leads nowhere or to another DID.
    #[error("External handle did not resolve to DID")]
    Unresolved,
    /// As many handles as this server looks up at a time are being looked up.
    #[error("too many handles are being looked up; try again in a moment")]
    Busy,
}

/// Checks a handle, in the reference's order; says whether it stands under a service domain.
pub fn check(settings: &Settings, handle: &Handle, asker: Asker) -> Result<Place, HandleError> {
    if handle.has_disallowed_tld() {
        return Err(HandleError::Tld);
    }
    if asker == Asker::Public && settings.words.matches(handle.as_str()) {
        return Err(HandleError::Inappropriate);
    }
    let Some(domain) = settings.handle_domain_of(handle.as_str()) else { return Ok(Place::Elsewhere) };
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
    if asker == Asker::Public && RESERVED.contains(front) {
        return Err(HandleError::Reserved);
    }
    Ok(Place::Ours)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use atproto::syntax::Did;

    use super::*;
    use crate::service::word_filter::WordFilter;

    fn check_text(handle: &str, asker: Asker) -> Result<Place, HandleError> {
        let mut settings = Settings::sandbox(
            "http://localhost",
            Did::parse("did:web:localhost").unwrap(),
            "http://localhost",
        );
        settings.handle_domains.push(".a-rather-long-domain-name-here.example.com".into());
        settings.words = WordFilter::parse("grimble").unwrap();
        check(&settings, &Handle::parse(handle).unwrap(), asker)
    }

    /// A name that could never be asked for would only pretend to be refused.
    #[test]
    fn each_reserved_name_could_be_asked_for_and_stands_there_once() {
        let mut seen = HashSet::new();
        for name in reserved_names() {
            assert!(Handle::parse(&format!("{name}.test")).is_ok(), "{name:?}");
            assert_eq!(name, name.to_lowercase());
            assert!((FRONT_CHARS_MIN..=FRONT_CHARS_MAX).contains(&name.len()), "{name}");
            assert!(seen.insert(name), "{name} stands there twice");
        }
        assert!(seen.len() > 500, "{}", seen.len());
    }

    #[test]
    fn handles_follow_the_policy_of_hn_11() {
        for (handle, expected) in [
            ("alice.test", Ok(Place::Ours)),
            ("bob.test", Ok(Place::Ours)),
            ("eighteen-chars-abc.test", Ok(Place::Ours)),
            ("alice.a-rather-long-domain-name-here.example.com", Ok(Place::Ours)),
            ("alice.example.com", Ok(Place::Elsewhere)),
            ("a.b.alice.nottest", Ok(Place::Elsewhere)),
            ("admin.example.com", Ok(Place::Elsewhere)),
            ("al.test", Err(HandleError::TooShort)),
            ("nineteen-chars-abcd.test", Err(HandleError::TooLong)),
            ("alice.bob.test", Err(HandleError::Characters)),
            ("admin.test", Err(HandleError::Reserved)),
            ("xrpc.test", Err(HandleError::Reserved)),
            ("grimble.test", Err(HandleError::Inappropriate)),
            ("gr1-mble.example.com", Err(HandleError::Inappropriate)),
            ("alice.local", Err(HandleError::Tld)),
            ("alice.onion", Err(HandleError::Tld)),
        ] {
            assert_eq!(check_text(handle, Asker::Public), expected, "{handle}");
        }
        for handle in ["admin.test", "grimble.test"] {
            assert_eq!(check_text(handle, Asker::Operator), Ok(Place::Ours), "{handle}");
        }
        assert_eq!(check_text("al.test", Asker::Operator), Err(HandleError::TooShort));
    }
}
