//! Private settings that apps keep with the account. They stand here and nowhere else: the AppView never sees them.
//!
//! One setting is for the account's own password only, and one is never stored: whether its owner is of age follows from
//! the date of birth.

use atproto::syntax::Datetime;
use serde_json::{Value as Json, json};

use crate::{
    service::auth::Scope,
    store::{
        Store, StoreError,
        account_pref::{self, Preference},
    },
    time::{Clock, Micros},
};

/// What every `$type` here begins with.
const NAMESPACE: &str = "app.bsky";
/// Date of birth: only for whoever has full access.
const PERSONAL_DETAILS: &str = "app.bsky.actor.defs#personalDetailsPref";
/// What others learn of it.
const DECLARED_AGE: &str = "app.bsky.actor.defs#declaredAgePref";
/// Most preferences of one account. The body of the request bounds their bytes.
const PREFERENCES_MAX: usize = 1000;

/// How much of an account's preferences someone may see and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The account's own password, or the moderation service.
    Full,
    /// App passwords: all but the personal details.
    Limited,
}

impl Access {
    /// Of a session.
    pub fn of(scope: Scope) -> Access {
        if scope == Scope::Access { Access::Full } else { Access::Limited }
    }

    fn allows(self, name: &str) -> bool {
        self == Access::Full || name != PERSONAL_DETAILS
    }
}

/// Why preferences are not stored. Nothing of them is.
#[derive(Debug, thiserror::Error)]
pub enum PreferenceError {
    /// One has no `$type`.
    #[error("Preference is missing a $type")]
    NoType,
    /// One belongs to another app.
    #[error("Some preferences are not in the {NAMESPACE} namespace")]
    Namespace,
    /// One needs the account's own password.
    #[error("Do not have authorization to set preferences: {0}")]
    NotAllowed(String),
    /// There are too many.
    #[error("preferences has {0} items; {PREFERENCES_MAX} is the most")]
    TooMany(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Preferences of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Preferences {
    store: Store,
    clock: Clock,
}

impl Preferences {
    /// Keeps them in `store`; ages are told by `clock`.
    pub fn new(store: Store, clock: Clock) -> Preferences {
        Preferences { store, clock }
    }

    /// What `access` may see, in the order in which it was put, and whether the owner is of age at the end.
    pub async fn get(&self, account_id: i64, access: Access) -> Result<Vec<Json>, StoreError> {
        let rows = self.store.read(move |db| account_pref::list(db, account_id)).await?;
        let corrupt = |_| StoreError::Corrupt { table: "account_pref", column: "value" };
        let mut values = Vec::with_capacity(rows.len() + 1);
        let mut age = None;
        for row in &rows {
            let value: Json = serde_json::from_str(&row.value).map_err(corrupt)?;
            if row.name == PERSONAL_DETAILS && age.is_none() {
                age = value
                    .get("birthDate")
                    .and_then(Json::as_str)
                    .and_then(|date| Some(age_at(Datetime::parse(date).ok()?.to_micros(), self.clock.now())));
            }
            if access.allows(&row.name) {
                values.push(value);
            }
        }
        values.extend(age.map(|age| {
            json!({
                "$type": DECLARED_AGE,
                "isOverAge13": age >= 13,
                "isOverAge16": age >= 16,
                "isOverAge18": age >= 18,
            })
        }));
        Ok(values)
    }

    /// Puts `values` in the place of all that `access` may change.
    pub async fn put(&self, account_id: i64, access: Access, values: &[Json]) -> Result<(), PreferenceError> {
        if values.len() > PREFERENCES_MAX {
            return Err(PreferenceError::TooMany(values.len()));
        }
        let preferences = check(access, values)?;
        self.store.require_room(0)?;
        // Whoever may not see the personal details does not delete them either.
        let kept = (!access.allows(PERSONAL_DETAILS)).then_some(PERSONAL_DETAILS);
        let replaced =
            self.store.write(move |tx| account_pref::replace(tx, account_id, kept, &preferences)).await;
        replaced.map_err(|error: StoreError| error.into())
    }
}

fn check(access: Access, values: &[Json]) -> Result<Vec<Preference>, PreferenceError> {
    let names: Option<Vec<&str>> =
        values.iter().map(|value| value.get("$type").and_then(Json::as_str)).collect();
    let names = names.ok_or(PreferenceError::NoType)?;
    let is_ours = |name: &str| {
        name.strip_prefix(NAMESPACE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !names.iter().all(|name| is_ours(name)) {
        return Err(PreferenceError::Namespace);
    }
    let refused: Vec<&str> = names.iter().copied().filter(|name| !access.allows(name)).collect();
    if !refused.is_empty() {
        return Err(PreferenceError::NotAllowed(refused.join(", ")));
    }
    let stored = names.iter().zip(values).filter(|(name, _)| **name != DECLARED_AGE);
    Ok(stored
        .map(|(name, value)| Preference { name: (*name).to_owned(), value: value.to_string() })
        .collect())
}

/// Whole years from `birth` to `now`, by the calendar (UTC).
fn age_at(birth: Micros, now: Micros) -> i64 {
    let (birth, now) = (civil(birth), civil(now));
    let had_birthday = (now.1, now.2) >= (birth.1, birth.2);
    now.0 - birth.0 - i64::from(!had_birthday)
}

/// Year, month and day.
fn civil(at: Micros) -> (i64, i64, i64) {
    let text = Datetime::from_micros(at);
    let mut parts =
        text.as_str().get(..10).unwrap_or_default().split('-').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn micros(text: &str) -> Micros {
        Datetime::parse(text).unwrap().to_micros()
    }

    #[test]
    fn one_is_a_year_older_on_the_birthday_and_not_before() {
        let birth = micros("2010-03-15T00:00:00.000Z");
        for (now, age) in [
            ("2023-03-14T23:59:59.000Z", 12),
            ("2023-03-15T00:00:00.000Z", 13),
            ("2023-12-31T00:00:00.000Z", 13),
            ("2024-01-01T00:00:00.000Z", 13),
        ] {
            assert_eq!(age_at(birth, micros(now)), age, "{now}");
        }
    }

    #[test]
    fn the_namespace_is_a_whole_name_and_not_a_beginning() {
        let check = |name: &str| check(Access::Full, &[json!({ "$type": name })]);
        for name in ["app.bsky", "app.bsky.actor.defs#adultContentPref"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["app.bskyx.actor", "com.example.pref", ""] {
            assert!(matches!(check(name), Err(PreferenceError::Namespace)), "{name}");
        }
    }
}
