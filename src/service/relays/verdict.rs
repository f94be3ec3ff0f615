//! What a relay's answers mean, in plain words, and what to do about it. Pure: answers and numbers in, words out.
//!
//! Not for: asking ([`super::ask`]), and doing.

use atproto::syntax::{Did, Tid};
use serde::Serialize;

use super::ask::{HostAnswer, HostStatus, RepoAnswer, RepoStatus};
use crate::{
    service::sequence::BELIEVED_MAX,
    store::account::Status,
    time::{Micros, SECOND},
};

/// Events that wait for a relay for less than this are on their way: it saves its place every few seconds only.
const ON_THEIR_WAY_SECS: i64 = 120;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// As it should be.
    Well,
    /// The relay could not be asked.
    Unknown,
    /// Somebody has to do something.
    ToDo,
}

/// What is the matter. The word does not change as numbers do, so that a change of state can be told from a change of
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "`judge_host` and `judge_account` say what each means")]
pub enum Matter {
    UpToDate,
    NothingYet,
    NeverHeard,
    AheadOfUs,
    AbsurdlyAhead,
    Behind,
    Idle,
    Offline,
    Throttled,
    Banned,
    UnknownStatus,
    NoSuchQuestion,
    NotAsked,
    AccountUpToDate,
    AccountNotSeenYet,
    AccountThrottled,
    AccountDesynchronized,
    AccountTakendown,
    AccountInactive,
    AccountActiveThere,
    AccountBehind,
    AccountAheadOfUs,
}

/// One thing to know about a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whose account it is about; `None`: about the host.
    pub did: Option<Did>,
    /// What is the matter.
    pub matter: Matter,
    /// How bad it is.
    pub level: Level,
    /// What the relay thinks of us: a sentence that goes on after "it", without a full stop.
    pub text: String,
    /// What to do, in whole sentences; `None`: nothing.
    pub advice: Option<String>,
}

/// This server, as it should look from outside.
#[derive(Clone, Debug)]
pub struct OurHost {
    /// The name that relays know it by.
    pub hostname: String,
    /// The number of the newest event.
    pub last_seq: i64,
    /// Events that the relay has not taken, as far as they are kept; counted up to a limit.
    pub n_waiting: u32,
    /// When the first of them happened.
    pub waiting_since: Option<Micros>,
    /// Now.
    pub now: Micros,
}

/// An account of ours.
#[derive(Clone, Debug)]
pub struct OurAccount {
    /// Whose it is.
    pub did: Did,
    /// What it is here.
    pub status: Status,
    /// Its newest commit.
    pub rev: Option<Tid>,
}

fn finding(matter: Matter, level: Level, text: impl Into<String>, advice: Option<String>) -> Finding {
    Finding { did: None, matter, level, text: text.into(), advice }
}

/// What a relay's answer about this host means.
pub fn judge_host(answer: &HostAnswer, ours: &OurHost) -> Finding {
    let hostname = &ours.hostname;
    match answer {
        HostAnswer::Known(status) => judge_status(status, ours),
        HostAnswer::NeverHeard if ours.last_seq == 0 => finding(
            Matter::NothingYet,
            Level::Well,
            "has never heard of this server, and nothing has happened here yet",
            None,
        ),
        HostAnswer::NeverHeard => finding(
            Matter::NeverHeard,
            Level::ToDo,
            format!("has never heard of {hostname}"),
            Some(format!(
                "`rookery relay request-crawl` asks it to come and shows its answer. It has to reach \
                 https://{hostname}/xrpc/com.atproto.server.describeServer and subscribeRepos from outside. Relays take a \
                 limited number of new hosts each day: if it answers well and does not come, try again tomorrow."
            )),
        ),
        HostAnswer::NotImplemented => finding(
            Matter::NoSuchQuestion,
            Level::Well,
            "does not say what it thinks of hosts; it may only pass requests to crawl on to others",
            None,
        ),
        HostAnswer::Failed(why) => finding(
            Matter::NotAsked,
            Level::Unknown,
            format!("could not be asked: {why}"),
            Some("Try again later. A relay that has ended can be taken out of services.relays.".to_owned()),
        ),
    }
}

fn judge_status(status: &HostStatus, ours: &OurHost) -> Finding {
    let OurHost { hostname, last_seq, .. } = ours;
    let seq = status.seq.unwrap_or(0);
    let word = status.status.as_deref().unwrap_or("active");
    // Whatever else it says, nothing gets through in these.
    if word == "banned" {
        return finding(
            Matter::Banned,
            Level::ToDo,
            "has banned this server and takes nothing from it",
            Some(
                "Write to whoever runs the relay, and ask why. Until they lift the ban nothing helps here."
                    .to_owned(),
            ),
        );
    }
    if seq > BELIEVED_MAX {
        return finding(
            Matter::AbsurdlyAhead,
            Level::ToDo,
            format!("says that it has seen event {seq}, a number that no server gets to; it is not believed"),
            Some(format!(
                "Ask whoever runs the relay to set its cursor for {hostname} back. Rookery does not follow it there."
            )),
        );
    }
    if seq > *last_seq {
        return finding(
            Matter::AheadOfUs,
            Level::ToDo,
            format!(
                "has seen event {seq}, but the newest here is {last_seq}: this database is older than what the relay has \
                 seen, and it takes nothing new until the numbers have passed {seq}"
            ),
            Some(
                "Restart the server (`systemctl restart rookery`): it jumps ahead at the start and announces every \
                 account again. A running server does the same within the hour."
                    .to_owned(),
            ),
        );
    }
    judge_progress(word, seq, ours)
}

/// A relay whose cursor is among our numbers.
fn judge_progress(word: &str, seq: i64, ours: &OurHost) -> Finding {
    let age_secs = ours.waiting_since.map_or(0, |since| ours.now.saturating_sub(since) / SECOND);
    let late = ours.n_waiting > 0 && age_secs >= ON_THEIR_WAY_SECS;
    let waiting = format!("behind by {}", events(ours.n_waiting, age_secs));
    let crawl = "`rookery relay request-crawl` asks it to come back now.";
    match word {
        "throttled" => finding(
            Matter::Throttled,
            Level::ToDo,
            format!("takes less from this server than it gives (throttled), and is {waiting}"),
            Some(
                "Wait: limits are by the hour and the day. If it stays so, ask whoever runs the relay for a higher limit, \
                 and say how many accounts live here."
                    .to_owned(),
            ),
        ),
        "offline" => finding(
            Matter::Offline,
            Level::ToDo,
            format!("could not reach this server, and has given up for now; it is {waiting}"),
            Some(format!(
                "Look whether https://{}/xrpc/_health answers from outside, and whether the proxy lets websockets \
                 through. Then {crawl}",
                ours.hostname
            )),
        ),
        "idle" if ours.n_waiting > 0 => finding(
            Matter::Idle,
            Level::ToDo,
            format!("has hung up because it was quiet here (idle), and is {waiting}"),
            Some(format!("The server tells it of new events at least every hour. {crawl}")),
        ),
        "idle" => finding(Matter::Idle, Level::Well, "has seen everything, and hung up because it is quiet here", None),
        "active" if late => finding(
            Matter::Behind,
            Level::ToDo,
            format!("is {waiting}"),
            Some(format!(
                "After much was written at once, wait: relays take a few thousand events an hour from a server. \
                 Otherwise {crawl} If that does not help, look whether the proxy lets websockets through."
            )),
        ),
        "active" => {
            let seen = match (ours.n_waiting, seq) {
                (0, _) => "has seen everything".to_owned(),
                (_, 1..) => format!("follows, {waiting}"),
                _ => "is connected, and has taken no event yet".to_owned(),
            };
            finding(Matter::UpToDate, Level::Well, seen, None)
        }
        other => finding(
            Matter::UnknownStatus,
            Level::ToDo,
            format!("calls this server {:?}, and is {waiting}", short(other)),
            Some("Ask whoever runs the relay what that means.".to_owned()),
        ),
    }
}

/// What a relay's answer about an account means.
pub fn judge_account(answer: &RepoAnswer, ours: &OurAccount, now: Micros) -> Finding {
    let (matter, level, text, advice) = match answer {
        RepoAnswer::Known(theirs) => judge_repo(theirs, ours, now),
        RepoAnswer::NotFound => {
            (Matter::AccountNotSeenYet, Level::Well, "has seen nothing of this account yet".to_owned(), None)
        }
        RepoAnswer::NotImplemented => {
            (Matter::NoSuchQuestion, Level::Well, "does not say what it thinks of accounts".to_owned(), None)
        }
        RepoAnswer::Failed(why) => (
            Matter::NotAsked,
            Level::Unknown,
            format!("could not be asked: {why}"),
            Some("Try again later.".into()),
        ),
    };
    Finding { did: Some(ours.did.clone()), matter, level, text, advice }
}

type Judged = (Matter, Level, String, Option<String>);

fn judge_repo(theirs: &RepoStatus, ours: &OurAccount, now: Micros) -> Judged {
    let announce = format!("`rookery relay announce {}` tells all relays its state once more.", ours.did);
    let to_do = |matter, text: String, advice: String| (matter, Level::ToDo, text, Some(advice));
    let word = theirs.status.as_deref().unwrap_or_default();
    match (ours.status, theirs.active) {
        (Status::Active, _) if word == "throttled" => to_do(
            Matter::AccountThrottled,
            "passes nothing of this account on, because this server has more accounts than it takes from one host \
             (throttled)"
                .to_owned(),
            "Ask whoever runs the relay for a higher limit. A new host starts with a limit of about 100 accounts; \
             accounts that are deleted or deactivated make room."
                .to_owned(),
        ),
        (Status::Active, _) if word == "desynchronized" => to_do(
            Matter::AccountDesynchronized,
            "has lost track of this account's repository (desynchronized)".to_owned(),
            format!("{announce} `rookery repo verify {}` says whether the repository is whole.", ours.did),
        ),
        (Status::Active, false) if matches!(word, "takendown" | "suspended") => to_do(
            Matter::AccountTakendown,
            format!("has taken this account down ({})", short(word)),
            "Write to whoever runs the relay, and ask why. Nothing helps here until they let it up.".to_owned(),
        ),
        (Status::Active, false) => {
            let word = if word.is_empty() { "without a reason" } else { word };
            to_do(
                Matter::AccountInactive,
                format!("takes this account for inactive ({}), but it is active here", short(word)),
                announce,
            )
        }
        (Status::Active, true) => judge_rev(theirs.rev, ours, now, announce),
        (_, true) => {
            let here = ours.status.as_str().unwrap_or_default();
            to_do(
                Matter::AccountActiveThere,
                format!("takes this account for active, but it is {here} here"),
                announce,
            )
        }
        (_, false) => (Matter::AccountUpToDate, Level::Well, "knows that it is not active".to_owned(), None),
    }
}

fn judge_rev(theirs: Option<Tid>, ours: &OurAccount, now: Micros, announce: String) -> Judged {
    let micros = |rev: Tid| Micros::try_from(rev.micros()).unwrap_or(Micros::MAX);
    let up_to_date = |text: &str| (Matter::AccountUpToDate, Level::Well, text.to_owned(), None);
    match (theirs, ours.rev) {
        (Some(theirs), Some(ours_rev)) if theirs > ours_rev => (
            Matter::AccountAheadOfUs,
            Level::ToDo,
            format!(
                "has seen rev {theirs}, but the newest here is {ours_rev}: this database is older than that"
            ),
            Some(format!("Restore a newer copy if there is one. If not: {announce}")),
        ),
        (Some(theirs), Some(ours_rev)) if theirs < ours_rev => {
            let age_secs = now.saturating_sub(micros(ours_rev)) / SECOND;
            if age_secs < ON_THEIR_WAY_SECS {
                return up_to_date("follows; the newest commit is on its way");
            }
            (
                Matter::AccountBehind,
                Level::ToDo,
                format!(
                    "has not taken the newest commit ({ours_rev}, {} old), and is at {theirs}",
                    time(age_secs)
                ),
                Some(format!("If the relay has seen all events of this server: {announce}")),
            )
        }
        (None, Some(_)) => up_to_date("knows the account, and has seen no commit of it yet"),
        _ => up_to_date("has the newest commit"),
    }
}

/// Counts and times, as people say them.
fn events(n: u32, age_secs: i64) -> String {
    match n {
        0 => "no event".to_owned(),
        1 => format!("1 event, {} old", time(age_secs)),
        super::check::WAITING_COUNTED_MAX.. => {
            format!("{n} events or more, the first {} old", time(age_secs))
        }
        _ => format!("{n} events, the first {} old", time(age_secs)),
    }
}

fn time(secs: i64) -> String {
    let (n, unit) = match secs {
        ..60 => (secs.max(0), "second"),
        60..3600 => (secs / 60, "minute"),
        3600..172_800 => (secs / 3600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") }
}

/// A word of theirs, not longer than words are.
fn short(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests;
