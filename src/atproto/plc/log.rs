//! The log of one DID: which operations stand, which are nullified, and what may come next.
//!
//! The standing operations are a chain: each names the one before it. An operation that names an
//! earlier link is a *recovery*: it cuts the chain there, and what was cut is nullified for good.
//! Its signer must outrank the signer of the first operation that it cuts (PL-10).

use serde_json::{Value as Json, json};

use super::{Error, Operation, PlcData};
use crate::{
    data::{Cid, cid},
    syntax::{Datetime, Did},
};

/// How old the first nullified operation may be, that age included (PL-10): 72 hours.
pub const RECOVERY_WINDOW_MICROS: i64 = 72 * 3_600 * 1_000_000;

/// How many entries of a log are looked at; the directory's rates (PL-14) allow two years of this.
const LOG_ENTRIES_MAX: usize = 10_000;

/// An entry of an audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// What was submitted.
    pub operation: Operation,
    /// Its CID, as the log gives it.
    pub cid: Cid,
    /// True when a later recovery undid it.
    pub nullified: bool,
    /// When the directory took it, microseconds since 1970.
    pub created_at_micros: i64,
}

impl LogEntry {
    /// Reads an entry of `/<did>/log/audit` (PL-15). The field `did` is not read.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] names the field that is missing or malformed.
    pub fn from_json(json: &Json) -> Result<LogEntry, Error> {
        let text = |field: &'static str| {
            json.get(field).and_then(Json::as_str).ok_or_else(|| Error::field(field, "must be text"))
        };
        let cid = cid::parse(text("cid")?).map_err(|p| Error::field("cid", p.to_string()))?;
        let created_at = Datetime::parse(text("createdAt")?)
            .map_err(|problem| Error::field("createdAt", problem.to_string()))?;
        let nullified = json
            .get("nullified")
            .and_then(Json::as_bool)
            .ok_or_else(|| Error::field("nullified", "must be true or false"))?;
        Ok(LogEntry {
            operation: Operation::from_json(json.get("operation").unwrap_or(&Json::Null))?,
            cid,
            nullified,
            created_at_micros: created_at.to_micros(),
        })
    }

    /// The entry as `/<did>/log/audit` lists it.
    pub fn to_json(&self, did: &Did) -> Json {
        json!({
            "did": did.as_str(),
            "operation": self.operation.to_json(),
            "cid": self.cid.to_string(),
            "nullified": self.nullified,
            "createdAt": Datetime::from_micros(self.created_at_micros).as_str(),
        })
    }
}

/// Checks a whole audit log, oldest first, with its `nullified` marks; returns the state, `None`
/// when the DID is tombstoned.
///
/// Fields are judged leniently (C-10). Takes one signature check per entry and key that may sign.
///
/// # Errors
///
/// [`Error::Log`] or [`Error::Signature`] for the first entry that does not stand where it is;
/// also for an empty log, and for marks that do not agree with what the operations did.
pub fn check_log(did: &Did, log: &[LogEntry]) -> Result<Option<PlcData>, Error> {
    let chain = Chain::replay(did, log)?;
    let mut stands = vec![false; log.len()];
    for link in &chain.links {
        if let Some(stands) = stands.get_mut(link.entry_idx) {
            *stands = true;
        }
    }
    for (entry, stands) in log.iter().zip(stands) {
        if entry.nullified == stands {
            let problem = match stands {
                true => "is marked as nullified, but no recovery undid it",
                false => "was undone by a recovery, but is not marked as nullified",
            };
            return Err(Error::Log(format!("{} {problem}", entry.cid)));
        }
    }
    match chain.links.last() {
        Some(link) => Ok(link.data.clone()),
        None => Err(Error::Log("is empty".to_owned())),
    }
}

/// What a directory does with a proposed operation (PL-7 to PL-13): returns the CIDs that it
/// nullifies, oldest first.
///
/// `log` is the DID's log so far, empty for a new DID. The proposed operation is judged by the
/// limits for new ones ([`Operation::check_writable`]); how often one may be sent is another
/// check, [`check_rate`](super::check_rate).
///
/// # Errors
///
/// Every refusal names the field, the signature or the place in the log that is wrong.
pub fn check_next(
    did: &Did,
    log: &[LogEntry],
    proposed: &Operation,
    now_micros: i64,
) -> Result<Vec<Cid>, Error> {
    proposed.check_writable()?;
    let mut chain = Chain::replay(did, log)?;
    let cut = chain.apply(did, log.len(), proposed, &proposed.cid(), now_micros)?;
    Ok(cut.into_iter().map(|link| link.cid).collect())
}

/// The operations that stand.
struct Chain {
    links: Vec<Link>,
    /// When the newest operation was taken, also if nullified since.
    last_at_micros: i64,
}

struct Link {
    /// Index in the log.
    entry_idx: usize,
    cid: Cid,
    /// `None` after a tombstone.
    data: Option<PlcData>,
    /// Index of the signer among the rotation keys of the link before.
    signer_idx: usize,
    created_at_micros: i64,
}

impl Chain {
    fn replay(did: &Did, log: &[LogEntry]) -> Result<Chain, Error> {
        if log.len() > LOG_ENTRIES_MAX {
            let problem = format!("has {} entries; at most {LOG_ENTRIES_MAX} are read", log.len());
            return Err(Error::Log(problem));
        }
        let mut chain = Chain { links: Vec::with_capacity(log.len()), last_at_micros: i64::MIN };
        for (idx, entry) in log.iter().enumerate() {
            let cid = entry.operation.cid();
            if cid != entry.cid {
                return Err(Error::Log(format!("lists {} for the operation {cid}", entry.cid)));
            }
            chain.apply(did, idx, &entry.operation, &cid, entry.created_at_micros)?;
        }
        Ok(chain)
    }

    /// Adds an operation and returns the links that it cut off, oldest first.
    fn apply(
        &mut self,
        did: &Did,
        entry_idx: usize,
        operation: &Operation,
        cid: &Cid,
        now_micros: i64,
    ) -> Result<Vec<Link>, Error> {
        if now_micros < self.last_at_micros {
            return Err(Error::Log(format!("{cid} is older than the operation before it")));
        }
        let (keep, signer_idx) = match operation.prev() {
            None if entry_idx == 0 => (0, check_genesis(did, operation)?),
            None => {
                return Err(Error::Log(format!("{did} exists; name its last operation in prev")));
            }
            Some(prev) => self.check_update(operation, prev, now_micros)?,
        };
        let cut = self.links.split_off(keep);
        self.links.push(Link {
            entry_idx,
            cid: *cid,
            data: operation.data(),
            signer_idx,
            created_at_micros: now_micros,
        });
        self.last_at_micros = now_micros;
        Ok(cut)
    }

    /// Returns how many links stay and which rotation key signed (PL-7, PL-10, PL-11).
    fn check_update(
        &self,
        operation: &Operation,
        prev: &str,
        now_micros: i64,
    ) -> Result<(usize, usize), Error> {
        let at = self.links.iter().rposition(|link| link.cid.to_string() == prev).ok_or_else(|| {
            Error::Log(format!("prev {prev} is no operation of this DID, or was nullified"))
        })?;
        let Some(PlcData { rotation_keys, .. }) = self.links.get(at).and_then(|link| link.data.as_ref())
        else {
            return Err(Error::Log(format!("prev {prev} is a tombstone; nothing may follow it")));
        };
        let Some(first_cut) = self.links.get(at + 1) else {
            return Ok((at + 1, operation.signer(rotation_keys)?));
        };
        let stronger_keys = rotation_keys.get(..first_cut.signer_idx).unwrap_or_default();
        let signer_idx = operation.signer(stronger_keys)?;
        if now_micros <= self.last_at_micros {
            return Err(Error::Log("a recovery must be newer than what it undoes".to_owned()));
        }
        if now_micros.saturating_sub(first_cut.created_at_micros) > RECOVERY_WINDOW_MICROS {
            let problem = format!("{} is more than 72 hours old and can no longer be undone", first_cut.cid);
            return Err(Error::Log(problem));
        }
        Ok((at + 1, signer_idx))
    }
}

/// PL-6, PL-7: the operation makes this DID and is signed by one of its own keys.
fn check_genesis(did: &Did, operation: &Operation) -> Result<usize, Error> {
    let made = operation.did()?;
    if made != *did {
        return Err(Error::Log(format!("its first operation makes {made}, not {did}")));
    }
    match operation.data() {
        Some(data) => operation.signer(&data.rotation_keys),
        None => Err(Error::Log("begins with a tombstone".to_owned())),
    }
}

#[cfg(test)]
mod tests;
