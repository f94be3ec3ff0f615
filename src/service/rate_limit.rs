//! Rate limits: how much one client or account may ask for within a window of time.
//!
//! A window begins with the first charge of a key and lasts as long as its bucket says; then the key starts anew. What
//! is refused takes nothing: not from the bucket that refuses, nor from the others of the same charge.
//!
//! Memory is bounded: a bucket remembers [`KEYS_MAX`] keys. When it is full, windows that are over go first, then the
//! keys that have used the least, an eighth of all at a time. So a client that wants its own count forgotten must
//! first have thousands of other keys use as much as it did, which costs more than waiting.
//!
//! Not for: whose address a request comes from ([`super::client_address`]), which method is charged to which bucket
//! (`xrpc::rate_limit`).

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::time::{Clock, Micros, SECOND};

/// Keys that one bucket remembers. An entry costs about 50 bytes, so a bucket costs 2 MiB at most.
pub const KEYS_MAX: usize = 32 * 1024;
/// A limit with a name: at most `points` per key within a window of `window_secs`.
#[derive(Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name, unique among all.
    pub name: &'static str,
    /// What a key may use in one window.
    pub points: u32,
    /// How long a window lasts, in seconds.
    pub window_secs: u32,
}

const fn bucket(name: &'static str, points: u32, window_secs: u32) -> Bucket {
    Bucket { name, points, window_secs }
}

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

/// Every request, by address.
pub const GLOBAL_IP: Bucket = bucket("global-ip", 3000, 5 * MINUTE);
/// Record writes of an account; see [`RECORD_CREATE_POINTS`].
pub const REPO_WRITE_HOUR: Bucket = bucket("repo-write-hour", 5000, HOUR);
/// Record writes of an account.
pub const REPO_WRITE_DAY: Bucket = bucket("repo-write-day", 35_000, DAY);
/// `sync.getRepo`, by address.
pub const GET_REPO: Bucket = bucket("sync.getRepo", 6000, 5 * MINUTE);
/// `repo.uploadBlob`, by address.
pub const UPLOAD_BLOB: Bucket = bucket("repo.uploadBlob", 1000, DAY);
/// `server.createAccount`, by address.
pub const CREATE_ACCOUNT: Bucket = bucket("server.createAccount", 100, 5 * MINUTE);
/// `server.createSession`, by what was typed and address.
pub const CREATE_SESSION_DAY: Bucket = bucket("server.createSession-day", 300, DAY);
/// `server.createSession`, by what was typed and address.
pub const CREATE_SESSION: Bucket = bucket("server.createSession", 30, 5 * MINUTE);
/// `server.deleteAccount`, by address.
pub const DELETE_ACCOUNT: Bucket = bucket("server.deleteAccount", 50, 5 * MINUTE);
/// `server.resetPassword`, by address.
pub const RESET_PASSWORD: Bucket = bucket("server.resetPassword", 50, 5 * MINUTE);
/// `server.requestPasswordReset`, by address.
pub const REQUEST_PASSWORD_RESET_DAY: Bucket = bucket("server.requestPasswordReset-day", 50, DAY);
/// `server.requestPasswordReset`, by address.
pub const REQUEST_PASSWORD_RESET_HOUR: Bucket = bucket("server.requestPasswordReset-hour", 15, HOUR);
/// `server.requestAccountDelete`, by account.
pub const REQUEST_ACCOUNT_DELETE_DAY: Bucket = bucket("server.requestAccountDelete-day", 15, DAY);
/// `server.requestAccountDelete`, by account.
pub const REQUEST_ACCOUNT_DELETE_HOUR: Bucket = bucket("server.requestAccountDelete-hour", 5, HOUR);
/// `server.requestEmailConfirmation`, by account.
pub const REQUEST_EMAIL_CONFIRMATION_DAY: Bucket = bucket("server.requestEmailConfirmation-day", 15, DAY);
/// `server.requestEmailConfirmation`, by account.
pub const REQUEST_EMAIL_CONFIRMATION_HOUR: Bucket = bucket("server.requestEmailConfirmation-hour", 5, HOUR);
/// `server.requestEmailUpdate`, by account.
pub const REQUEST_EMAIL_UPDATE_DAY: Bucket = bucket("server.requestEmailUpdate-day", 15, DAY);
/// `server.requestEmailUpdate`, by account.
pub const REQUEST_EMAIL_UPDATE_HOUR: Bucket = bucket("server.requestEmailUpdate-hour", 5, HOUR);
/// `identity.updateHandle`, by account.
pub const UPDATE_HANDLE: Bucket = bucket("identity.updateHandle", 10, 5 * MINUTE);
/// `identity.updateHandle`, by account.
pub const UPDATE_HANDLE_DAY: Bucket = bucket("identity.updateHandle-day", 50, DAY);

/// What creating a record costs its account.
pub const RECORD_CREATE_POINTS: u32 = 3;
/// What replacing a record costs its account.
pub const RECORD_UPDATE_POINTS: u32 = 2;
/// What deleting a record costs its account.
pub const RECORD_DELETE_POINTS: u32 = 1;

/// Something that costs `points` in `bucket`.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// Which limit.
    pub bucket: &'static Bucket,
    /// Whose.
    pub key: &'a str,
    /// How much.
    pub points: u32,
}

/// How a key stands in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Points of a whole window.
    pub limit: u32,
    /// Points left in this one.
    pub remaining: u32,
    /// When the next window begins.
    pub resets_at: Micros,
    /// How long a window lasts, in seconds.
    pub window_secs: u32,
}

/// A charge that a bucket has no points left for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Rate Limit Exceeded")]
pub struct Exceeded {
    /// The bucket to wait for.
    pub standing: Standing,
    /// For how long, in seconds.
    pub retry_after_secs: i64,
}

/// The counts of all keys. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    keys_max: usize,
    buckets: Mutex<HashMap<&'static str, Keys>>,
}

/// The windows of one bucket. A key is a hash, because what clients type has no limit of its own.
type Keys = HashMap<[u8; 16], Window>;

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_at: Micros,
    used: u32,
}

impl RateLimits {
    /// Nobody has used anything yet.
    pub fn new(clock: Clock) -> RateLimits {
        RateLimits::with_keys_max(clock, KEYS_MAX)
    }

    fn with_keys_max(clock: Clock, keys_max: usize) -> RateLimits {
        RateLimits { inner: Arc::new(Inner { clock, keys_max, buckets: Mutex::default() }) }
    }

    /// Takes the points of all `charges`, or of none. Returns how the one with the fewest points left stands; `None`
    /// when nothing was to be charged.
    pub fn charge(&self, charges: &[Charge<'_>]) -> Result<Option<Standing>, Exceeded> {
        let now = self.inner.clock.now();
        let keys: Vec<[u8; 16]> = charges.iter().map(|charge| hash(charge.key)).collect();
        let mut buckets = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut exceeded: Option<Standing> = None;
        for (charge, key) in charges.iter().zip(&keys) {
            let window = buckets.get(charge.bucket.name).and_then(|keys| keys.get(key)).copied();
            let window = current(window, charge.bucket, now);
            if window.used.saturating_add(charge.points) > charge.bucket.points {
                let standing = standing(charge.bucket, window);
                // Trying again before the last of them opens would be in vain.
                exceeded = exceeded.filter(|other| other.resets_at > standing.resets_at).or(Some(standing));
            }
        }
        if let Some(standing) = exceeded {
            let retry_after_secs = secs_rounded_up(standing.resets_at.saturating_sub(now)).max(1);
            return Err(Exceeded { standing, retry_after_secs });
        }
        let mut tightest: Option<Standing> = None;
        for (charge, key) in charges.iter().zip(keys) {
            let windows = buckets.entry(charge.bucket.name).or_default();
            let window = current(windows.get(&key).copied(), charge.bucket, now);
            let window = Window { used: window.used.saturating_add(charge.points), ..window };
            if windows.insert(key, window).is_none() && windows.len() >= self.inner.keys_max {
                make_room(windows, self.inner.keys_max, now);
            }
            let standing = standing(charge.bucket, window);
            tightest = tightest.filter(|other| other.remaining <= standing.remaining).or(Some(standing));
        }
        Ok(tightest)
    }
}

impl Standing {
    /// When the next window begins, in seconds since 1970.
    pub fn resets_at_secs(&self) -> i64 {
        secs_rounded_up(self.resets_at)
    }
}

fn secs_rounded_up(micros: Micros) -> i64 {
    micros.saturating_add(SECOND - 1).div_euclid(SECOND)
}

fn standing(bucket: &Bucket, window: Window) -> Standing {
    Standing {
        limit: bucket.points,
        remaining: bucket.points.saturating_sub(window.used),
        resets_at: window.ends_at,
        window_secs: bucket.window_secs,
    }
}

/// The window that a charge at `now` falls into: the one that is open, or a new one.
fn current(window: Option<Window>, bucket: &Bucket, now: Micros) -> Window {
    let length = Micros::from(bucket.window_secs) * SECOND;
    // An end that is further away than a whole window was set by a clock that has been turned back since.
    let open = window.filter(|window| window.ends_at > now && window.ends_at - now <= length);
    open.unwrap_or(Window { ends_at: now.saturating_add(length), used: 0 })
}

/// Forgets windows that are over; when that is not enough, the keys that have used least, the oldest of them first.
fn make_room(windows: &mut Keys, keys_max: usize, now: Micros) {
    windows.retain(|_, window| window.ends_at > now);
    let surplus = windows.len().saturating_sub(keys_max / 8 * 7);
    if surplus == 0 {
        return;
    }
    let mut least: Vec<(u32, Micros, [u8; 16])> =
        windows.iter().map(|(key, window)| (window.used, window.ends_at, *key)).collect();
    if surplus < least.len() {
        least.select_nth_unstable(surplus);
    }
    for (_, _, key) in least.iter().take(surplus) {
        windows.remove(key);
    }
}

fn hash(key: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(key.as_bytes())[..16]);
    short
}

/// The key of programs that no limit holds for, kept as a hash.
#[derive(Clone)]
pub struct BypassKey([u8; 32]);

impl BypassKey {
    /// Keeps `key`.
    pub fn new(key: &str) -> BypassKey {
        BypassKey(Sha256::digest(key.as_bytes()).into())
    }

    /// Compares in constant time.
    pub fn matches(&self, key: &[u8]) -> bool {
        bool::from(self.0.as_slice().ct_eq(&Sha256::digest(key)[..]))
    }
}

impl std::fmt::Debug for BypassKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BypassKey")
    }
}
