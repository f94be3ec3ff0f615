//! What a newly written operation may hold (PL-8, PL-9, PL-13) and how often one may be written
//! (PL-14). Where specification and directory differ, the narrower one counts (C-9, C-10).

use std::collections::{BTreeMap, BTreeSet};

use multibase::Base;

use super::{Error, LogEntry, Operation, PlcData, Service};
use crate::crypto::PublicKey;

/// Most bytes of a signed operation as CBOR (C-9).
pub const OPERATION_BYTES_MAX: usize = 4_000;
/// PL-8
const ROTATION_KEYS_MAX: usize = 5;
/// PL-9
const VERIFICATION_METHODS_MAX: usize = 10;
const ALIASES_MAX: usize = 10;
/// `at://` and the longest handle.
const ALIAS_CHARS_MAX: usize = 258;
const SERVICES_MAX: usize = 10;
const SERVICE_TYPE_CHARS_MAX: usize = 256;
const ENDPOINT_CHARS_MAX: usize = 512;
const ID_CHARS_MAX: usize = 32;
const KEY_CHARS_MAX: usize = 256;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// PL-14: window, its name, and how many operations it may hold.
const RATES: [(i64, &str, usize); 3] =
    [(HOUR_MICROS, "an hour", 10), (DAY_MICROS, "a day", 30), (7 * DAY_MICROS, "a week", 100)];

impl Operation {
    /// Checks that this operation may be newly written: its type, its size and its fields.
    ///
    /// Signature and place in a log are not checked.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], or [`Error::Field`] naming the field that breaks a limit.
    pub fn check_writable(&self) -> Result<(), Error> {
        let bytes = self.signed_bytes().len();
        if bytes > OPERATION_BYTES_MAX {
            return Err(Error::TooLarge { bytes, max: OPERATION_BYTES_MAX });
        }
        match self {
            Operation::Plc { data, .. } => data.check_writable(),
            Operation::Tombstone { .. } => Ok(()),
            Operation::LegacyCreate { .. } => {
                Err(Error::field("type", "create is no longer written; use plc_operation"))
            }
        }
    }
}

impl PlcData {
    fn check_writable(&self) -> Result<(), Error> {
        check_rotation_keys(&self.rotation_keys)?;
        check_verification_methods(&self.verification_methods)?;
        check_aliases(&self.also_known_as)?;
        check_services(&self.services)
    }
}

fn check_rotation_keys(keys: &[String]) -> Result<(), Error> {
    const FIELD: &str = "rotationKeys";
    if keys.is_empty() {
        return Err(Error::field(FIELD, "needs at least one key, or nobody can change the DID"));
    }
    at_most(FIELD, "keys", keys.len(), ROTATION_KEYS_MAX)?;
    distinct(FIELD, keys)?;
    for key in keys {
        at_most(FIELD, "characters in a key", key.chars().count(), KEY_CHARS_MAX)?;
        PublicKey::from_did_key(key).map_err(|problem| Error::field(FIELD, format!("{key:?}: {problem}")))?;
    }
    Ok(())
}

/// Any kind of key passes, as long as it is a did:key in base58btc (PL-9).
fn check_verification_methods(methods: &BTreeMap<String, String>) -> Result<(), Error> {
    const FIELD: &str = "verificationMethods";
    at_most(FIELD, "methods", methods.len(), VERIFICATION_METHODS_MAX)?;
    for (name, key) in methods {
        at_most(FIELD, "characters in a name", name.chars().count(), ID_CHARS_MAX)?;
        at_most(FIELD, "characters in a key", key.chars().count(), KEY_CHARS_MAX)?;
        let multikey = key.strip_prefix("did:key:z").unwrap_or_default();
        let is_key = Base::Base58Btc.decode(multikey).is_ok_and(|bytes| !bytes.is_empty());
        if !is_key {
            return Err(Error::field(FIELD, format!("{key:?} is not a did:key in base58btc")));
        }
    }
    Ok(())
}

fn check_aliases(aliases: &[String]) -> Result<(), Error> {
    const FIELD: &str = "alsoKnownAs";
    at_most(FIELD, "entries", aliases.len(), ALIASES_MAX)?;
    distinct(FIELD, aliases)?;
    for alias in aliases {
        at_most(FIELD, "characters in an entry", alias.chars().count(), ALIAS_CHARS_MAX)?;
    }
    Ok(())
}

fn check_services(services: &BTreeMap<String, Service>) -> Result<(), Error> {
    const FIELD: &str = "services";
    at_most(FIELD, "services", services.len(), SERVICES_MAX)?;
    for (name, service) in services {
        let (service_type, endpoint) = (&service.service_type, &service.endpoint);
        at_most(FIELD, "characters in a name", name.chars().count(), ID_CHARS_MAX)?;
        at_most(FIELD, "characters in a type", service_type.chars().count(), SERVICE_TYPE_CHARS_MAX)?;
        at_most(FIELD, "characters in an endpoint", endpoint.chars().count(), ENDPOINT_CHARS_MAX)?;
    }
    Ok(())
}

fn at_most(field: &'static str, what: &str, count: usize, max: usize) -> Result<(), Error> {
    match count > max {
        true => Err(Error::field(field, format!("{count} {what}; at most {max} are accepted"))),
        false => Ok(()),
    }
}

fn distinct(field: &'static str, texts: &[String]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    match texts.iter().find(|text| !seen.insert(text.as_str())) {
        Some(repeated) => Err(Error::field(field, format!("{repeated:?} is there twice"))),
        None => Ok(()),
    }
}

/// Refuses a further operation when the log already holds as many as PL-14 allows.
///
/// Nullified operations count as well.
///
/// # Errors
///
/// [`Error::RateLimited`] names the window that is full.
pub fn check_rate(log: &[LogEntry], now_micros: i64) -> Result<(), Error> {
    for (window_micros, window, limit) in RATES {
        let since = now_micros.saturating_sub(window_micros);
        if log.iter().filter(|entry| entry.created_at_micros > since).count() >= limit {
            return Err(Error::RateLimited { limit, window });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{
        crypto::{Curve, SigningKey},
        syntax::Handle,
    };

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(Curve::P256, &[seed; 32]).unwrap()
    }

    fn did_key(seed: u8) -> String {
        key(seed).public_key().did_key()
    }

    fn account() -> PlcData {
        let handle = Handle::parse("alice.example").unwrap();
        PlcData::for_account(vec![did_key(1)], &key(3).public_key(), &handle, "https://pds.example")
    }

    fn check(change: impl FnOnce(&mut PlcData)) -> Result<(), Error> {
        let mut data = account();
        change(&mut data);
        Operation::sign(data, None, &key(1)).check_writable()
    }

    fn refused_field(change: impl FnOnce(&mut PlcData)) -> &'static str {
        match check(change) {
            Err(Error::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_account_is_writable() {
        check(|_| {}).unwrap();
    }

    /// PL-8, C-10
    #[test]
    fn one_to_five_distinct_rotation_keys_of_known_curves_are_accepted() {
        check(|data| data.rotation_keys = (1..=5).map(did_key).collect()).unwrap();
        for keys in [
            vec![],
            (1..=6).map(did_key).collect(),
            vec![did_key(1), did_key(1)],
            vec!["did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".to_owned()],
            vec!["did:key:".to_owned()],
        ] {
            assert_eq!(refused_field(|data| data.rotation_keys = keys), "rotationKeys");
        }
    }

    /// PL-9
    #[test]
    fn any_did_key_in_base58btc_is_a_verification_method() {
        let method = |name: &str, key: &str| {
            let entry = (name.to_owned(), key.to_owned());
            move |data: &mut PlcData| data.verification_methods = BTreeMap::from([entry])
        };
        check(method("a", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")).unwrap();
        let long = format!("did:key:z{}", "2".repeat(248));
        for (name, key) in [
            ("a", "did:key:z0"),
            ("a", "did:key:z"),
            ("a", "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
            ("a", long.as_str()),
            ("a-name-of-more-than-thirty-two-ch", "did:key:z2"),
        ] {
            assert_eq!(refused_field(method(name, key)), "verificationMethods", "{name} {key}");
        }
    }

    /// PL-13
    #[test]
    fn aliases_and_services_are_few_short_and_distinct() {
        let alias = |chars: usize| "a".repeat(chars);
        check(|data| data.also_known_as = vec![alias(258)]).unwrap();
        assert_eq!(refused_field(|data| data.also_known_as = vec![alias(259)]), "alsoKnownAs");
        assert_eq!(refused_field(|data| data.also_known_as = vec![alias(1), alias(1)]), "alsoKnownAs");
        assert_eq!(refused_field(|data| data.also_known_as = (1..=11).map(alias).collect()), "alsoKnownAs");
        let service = |name: usize, kind: usize, endpoint: usize| {
            let (service_type, endpoint) = ("t".repeat(kind), "e".repeat(endpoint));
            ("n".repeat(name), Service { service_type, endpoint })
        };
        check(|data| data.services = BTreeMap::from([service(32, 256, 512)])).unwrap();
        for entry in [service(33, 1, 1), service(1, 257, 1), service(1, 1, 513)] {
            assert_eq!(refused_field(|data| data.services = BTreeMap::from([entry])), "services");
        }
        let many = (1..=11).map(|name| service(name, 1, 1)).collect();
        assert_eq!(refused_field(|data| data.services = many), "services");
    }

    /// C-9
    #[test]
    fn an_operation_past_4000_bytes_is_too_large() {
        let services = |n: usize| {
            (0..n).map(|name| {
                let service_type = "t".repeat(4);
                (name.to_string(), Service { service_type, endpoint: "e".repeat(512) })
            })
        };
        check(|data| data.services = services(6).collect()).unwrap();
        let refused = check(|data| data.services = services(8).collect());
        assert!(matches!(refused, Err(Error::TooLarge { max: 4_000, .. })), "{refused:?}");
    }

    /// PL-2
    #[test]
    fn a_legacy_create_is_never_newly_written() {
        let legacy = Operation::LegacyCreate {
            signing_key: did_key(1),
            recovery_key: did_key(2),
            handle: "alice.example".to_owned(),
            service: "https://pds.example".to_owned(),
            sig: String::new(),
        };
        assert!(legacy.check_writable().is_err());
    }

    /// PL-14
    #[test]
    fn the_eleventh_operation_of_an_hour_has_to_wait() {
        let operation = Operation::sign(account(), None, &key(1));
        let entry = |created_at_micros| LogEntry {
            operation: operation.clone(),
            cid: operation.cid(),
            nullified: false,
            created_at_micros,
        };
        let log: Vec<_> = (0..10).map(entry).collect();
        check_rate(&log[..9], 10).unwrap();
        assert!(matches!(check_rate(&log, 10), Err(Error::RateLimited { limit: 10, .. })));
        check_rate(&log, HOUR_MICROS + 9).unwrap();
        let day: Vec<_> = (0..30).map(|n| entry(n * HOUR_MICROS / 2)).collect();
        assert!(matches!(check_rate(&day, DAY_MICROS - 1), Err(Error::RateLimited { limit: 30, .. })));
    }
}
