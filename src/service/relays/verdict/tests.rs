//! Every state that a relay can say, and what it comes to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const NOW: Micros = 1_800_000_000 * SECOND;
const MINUTE: Micros = 60 * SECOND;

/// A host whose newest event is 500; the relay has not taken `n_waiting`, the first of them so old.
fn ours(n_waiting: u32, age: Micros) -> OurHost {
    OurHost {
        hostname: "pds.example.com".to_owned(),
        last_seq: 500,
        n_waiting,
        waiting_since: (n_waiting > 0).then_some(NOW - age),
        now: NOW,
    }
}

fn known(status: &str, seq: i64) -> HostAnswer {
    HostAnswer::Known(HostStatus { status: Some(status.into()), seq: Some(seq), account_count: Some(2) })
}

/// What the operator reads: the sentence and the advice.
fn words(finding: &Finding) -> String {
    format!("{} | {}", finding.text, finding.advice.as_deref().unwrap_or_default())
}

#[test]
fn each_state_of_the_host_is_said_in_words_with_what_to_do() {
    use Level::{ToDo, Unknown, Well};
    let caught_up = || ours(0, 0);
    let late = || ours(7, 90 * MINUTE);
    for (answer, ours, matter, level, says) in [
        (known("active", 500), caught_up(), Matter::UpToDate, Well, "has seen everything"),
        (
            known("active", 493),
            ours(7, SECOND),
            Matter::UpToDate,
            Well,
            "behind by 7 events, the first 1 second old",
        ),
        (known("active", -1), ours(7, SECOND), Matter::UpToDate, Well, "has taken no event yet"),
        (
            known("active", 493),
            late(),
            Matter::Behind,
            ToDo,
            "behind by 7 events, the first 1 hour old | After much",
        ),
        (
            known("active", 493),
            ours(10_000, 3 * 86_400 * SECOND),
            Matter::Behind,
            ToDo,
            "10000 events or more, the first 3 days",
        ),
        (known("idle", 500), caught_up(), Matter::Idle, Well, "hung up because it is quiet"),
        (
            known("idle", 499),
            ours(1, 5 * MINUTE),
            Matter::Idle,
            ToDo,
            "1 event, 5 minutes old | The server tells it",
        ),
        (
            known("idle", 501),
            caught_up(),
            Matter::AheadOfUs,
            ToDo,
            "has seen event 501, but the newest here is 500",
        ),
        (
            known("active", 501),
            caught_up(),
            Matter::AheadOfUs,
            ToDo,
            "nothing new until the numbers have passed 501 | Restart",
        ),
        (known("active", BELIEVED_MAX), caught_up(), Matter::AheadOfUs, ToDo, "Restart"),
        (known("active", BELIEVED_MAX + 1), caught_up(), Matter::AbsurdlyAhead, ToDo, "not believed | Ask"),
        (known("active", i64::MAX), caught_up(), Matter::AbsurdlyAhead, ToDo, "not believed"),
        (known("active", i64::MIN), caught_up(), Matter::UpToDate, Well, "has seen everything"),
        (known("offline", 493), late(), Matter::Offline, ToDo, "could not reach this server"),
        (
            known("throttled", 493),
            late(),
            Matter::Throttled,
            ToDo,
            "ask whoever runs the relay for a higher limit",
        ),
        (known("banned", 900), caught_up(), Matter::Banned, ToDo, "has banned this server"),
        (known("frozen\n", 493), late(), Matter::UnknownStatus, ToDo, "\"frozen\", and is behind by 7"),
        (
            HostAnswer::Known(HostStatus::default()),
            caught_up(),
            Matter::UpToDate,
            Well,
            "has seen everything",
        ),
        (
            HostAnswer::NeverHeard,
            caught_up(),
            Matter::NeverHeard,
            ToDo,
            "never heard of pds.example.com | `rookery relay request-crawl`",
        ),
        (
            HostAnswer::NeverHeard,
            OurHost { last_seq: 0, ..caught_up() },
            Matter::NothingYet,
            Well,
            "nothing has happened here yet",
        ),
        (HostAnswer::NotImplemented, late(), Matter::NoSuchQuestion, Well, "does not say what it thinks"),
        (
            HostAnswer::Failed("no answer".into()),
            late(),
            Matter::NotAsked,
            Unknown,
            "could not be asked: no answer",
        ),
    ] {
        let finding = judge_host(&answer, &ours);
        assert_eq!((finding.matter, finding.level), (matter, level), "{answer:?}: {}", words(&finding));
        assert!(words(&finding).contains(says), "{answer:?}: {}", words(&finding));
        assert_eq!(finding.advice.is_some(), level != Well, "{answer:?}");
        assert_eq!(finding.did, None);
    }
}

#[test]
fn each_state_of_an_account_is_said_in_words_with_what_to_do() {
    use Level::{ToDo, Unknown, Well};
    let rev = |minutes_ago: i64| Tid::from_parts((NOW - minutes_ago * MINUTE) as u64, 1);
    let knows = |active, status: Option<&str>, rev: Option<Tid>| {
        RepoAnswer::Known(RepoStatus { active, status: status.map(str::to_owned), rev })
    };
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let here = |status, minutes_ago| OurAccount { did: did.clone(), status, rev: Some(rev(minutes_ago)) };
    let active = || here(Status::Active, 10);
    for (answer, ours, matter, level, says) in [
        (knows(true, None, Some(rev(10))), active(), Matter::AccountUpToDate, Well, "has the newest commit"),
        (knows(true, None, None), active(), Matter::AccountUpToDate, Well, "no commit of it yet"),
        (
            knows(true, None, Some(rev(30))),
            here(Status::Active, 1),
            Matter::AccountUpToDate,
            Well,
            "on its way",
        ),
        (
            knows(true, None, Some(rev(30))),
            active(),
            Matter::AccountBehind,
            ToDo,
            "10 minutes old), and is at",
        ),
        (knows(true, None, Some(rev(5))), active(), Matter::AccountAheadOfUs, ToDo, "this database is older"),
        (
            knows(false, Some("throttled"), Some(rev(10))),
            active(),
            Matter::AccountThrottled,
            ToDo,
            "about 100 accounts",
        ),
        (
            knows(true, Some("throttled"), Some(rev(10))),
            active(),
            Matter::AccountThrottled,
            ToDo,
            "throttled",
        ),
        (
            knows(false, Some("desynchronized"), None),
            active(),
            Matter::AccountDesynchronized,
            ToDo,
            "`rookery relay announce did:plc:",
        ),
        (
            knows(true, Some("desynchronized"), None),
            active(),
            Matter::AccountDesynchronized,
            ToDo,
            "lost track",
        ),
        (knows(false, Some("takendown"), None), active(), Matter::AccountTakendown, ToDo, "ask why"),
        (knows(false, Some("suspended"), None), active(), Matter::AccountTakendown, ToDo, "(suspended)"),
        (
            knows(false, Some("deactivated"), None),
            active(),
            Matter::AccountInactive,
            ToDo,
            "inactive (deactivated), but it is active here",
        ),
        (knows(false, None, None), active(), Matter::AccountInactive, ToDo, "(without a reason)"),
        (
            knows(true, None, Some(rev(10))),
            here(Status::Deactivated, 10),
            Matter::AccountActiveThere,
            ToDo,
            "it is deactivated here",
        ),
        (
            knows(false, Some("takendown"), None),
            here(Status::Takendown, 10),
            Matter::AccountUpToDate,
            Well,
            "not active",
        ),
        (RepoAnswer::NotFound, active(), Matter::AccountNotSeenYet, Well, "nothing of this account yet"),
        (RepoAnswer::NotImplemented, active(), Matter::NoSuchQuestion, Well, "does not say"),
        (
            RepoAnswer::Failed("it answered 500".into()),
            active(),
            Matter::NotAsked,
            Unknown,
            "it answered 500",
        ),
    ] {
        let finding = judge_account(&answer, &ours, NOW);
        assert_eq!((finding.matter, finding.level), (matter, level), "{answer:?}: {}", words(&finding));
        assert!(words(&finding).contains(says), "{answer:?}: {}", words(&finding));
        assert_eq!(finding.advice.is_some(), level != Well, "{answer:?}");
        assert_eq!(finding.did.as_ref(), Some(&did));
    }
}

#[test]
fn times_are_said_as_people_say_them() {
    for (secs, expected) in [
        (-5, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
    ] {
        assert_eq!(time(secs), expected);
    }
}
