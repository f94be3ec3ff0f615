//! The event log as it has to be: every event that ever was, and which of them a subscriber must still get.

use std::collections::HashMap;

use atproto::{
    data::Cid,
    event::Frame,
    repo::{Commit, car, verify_commit_event, verify_sync_event},
    syntax::{Did, Tid},
};
use bytes::Bytes;
use rookery::time::{Micros, SECOND};

use crate::world::Account;

const HOUR: Micros = 3600 * SECOND;
/// What the firehose of these tests replays.
pub const WINDOW: Micros = 24 * HOUR;
/// How much longer than that pruning leaves events alone.
const SLACK: Micros = HOUR;

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Held,
    /// It left the window and was pruned.
    Pruned,
    /// Its account was deleted; until the next purge it may be there or not.
    Doomed,
    /// It went with its account.
    Purged,
}

pub struct Event {
    pub seq: i64,
    pub did: String,
    pub bytes: Bytes,
    pub fate: Fate,
    /// When it was made; never before the event before it, whatever the clock said.
    made_at: Micros,
}

/// What an event says, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Commit,
    Sync,
    Identity,
    Account { active: bool },
}

#[derive(Default)]
pub struct Log {
    pub events: Vec<Event>,
    /// Head of each repository as events tell of it: rev and root of the tree.
    pub heads: HashMap<String, (Tid, Cid)>,
    /// Events numbered below have been pruned since the store was opened.
    pub pruned_below: i64,
}

impl Log {
    pub fn last_seq(&self) -> i64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    pub fn held(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.fate == Fate::Held)
    }

    pub fn after(&self, cursor: i64) -> impl Iterator<Item = &Event> {
        self.events[self.events.partition_point(|event| event.seq <= cursor)..].iter()
    }

    /// Takes in the events that a step has made; returns whose they are and what they say.
    pub fn append(
        &mut self,
        new: Vec<(i64, Bytes)>,
        now: Micros,
        accounts: &[Account],
    ) -> Vec<(String, Kind)> {
        let mut said = Vec::new();
        for (seq, bytes) in new {
            assert_eq!(seq, self.last_seq() + 1, "numbers go on");
            let (did, kind) = self.verify(&Frame::decode(&bytes).unwrap(), accounts);
            let made_at = self.held().last().map_or(now, |last| last.made_at.max(now));
            self.events.push(Event { seq, did: did.clone(), bytes, fate: Fate::Held, made_at });
            said.push((did, kind));
        }
        said
    }

    /// Invariants 3 and 4, and that each event goes on from the one before it.
    fn verify(&mut self, frame: &Frame, accounts: &[Account]) -> (String, Kind) {
        let name = |did: &Did| did.as_str().to_owned();
        let key = |did: &Did| {
            accounts.iter().find(|account| &account.did == did).map(|account| account.key.clone())
        };
        match frame {
            Frame::Commit(commit) => {
                verify_commit_event(commit, Some(&key(&commit.repo).unwrap())).unwrap();
                let did = name(&commit.repo);
                let before = self.heads.get(&did).copied();
                assert_eq!(
                    commit.since.zip(commit.prev_data),
                    before,
                    "{did}: what event {} follows",
                    commit.seq
                );
                assert!(before.is_none_or(|(rev, _)| rev < commit.rev), "{did}: rev of event {}", commit.seq);
                let (_, blocks) = car::decode(&commit.blocks).unwrap();
                let data = Commit::decode(&blocks[&commit.commit]).unwrap().data;
                self.heads.insert(did.clone(), (commit.rev, data));
                (did, Kind::Commit)
            }
            Frame::Sync(sync) => {
                verify_sync_event(sync, Some(&key(&sync.did).unwrap())).unwrap();
                let did = name(&sync.did);
                let (roots, blocks) = car::decode(&sync.blocks).unwrap();
                let data = Commit::decode(&blocks[&roots[0]]).unwrap().data;
                let before = self.heads.insert(did.clone(), (sync.rev, data));
                assert!(before.is_none_or(|(rev, _)| rev <= sync.rev), "{did}: rev of event {}", sync.seq);
                (did, Kind::Sync)
            }
            Frame::Identity(identity) => (name(&identity.did), Kind::Identity),
            Frame::Account(account) => (name(&account.did), Kind::Account { active: account.active }),
            other => panic!("{other:?}"),
        }
    }

    /// The account is gone with all that was said of it before its own last event. Others may have gone in the same step.
    pub fn doom(&mut self, did: &str) {
        let mut its_events = self.events.iter_mut().rev().filter(|event| event.did == did);
        // It says that the account is gone, and stays.
        its_events.next();
        for event in its_events {
            event.fate = match event.fate {
                Fate::Held | Fate::Doomed => Fate::Doomed,
                Fate::Pruned | Fate::Purged => Fate::Purged,
            };
        }
        self.heads.remove(did);
    }

    pub fn purge(&mut self) {
        for event in self.events.iter_mut().filter(|event| event.fate == Fate::Doomed) {
            event.fate = Fate::Purged;
        }
    }

    /// Returns how many events that takes at least, and at most.
    pub fn prune(&mut self, now: Micros) -> (usize, usize) {
        let before = now - WINDOW - SLACK;
        let kept = self.events.iter().find(|event| event.made_at >= before && event.fate == Fate::Held);
        let bound = kept.map_or(self.last_seq() + 1, |kept| kept.seq);
        let (mut n_held, mut n_doomed) = (0, 0);
        for event in self.events.iter_mut().take_while(|event| event.seq < bound) {
            match event.fate {
                Fate::Held => {
                    n_held += 1;
                    event.fate = Fate::Pruned;
                }
                Fate::Doomed => {
                    n_doomed += 1;
                    event.fate = Fate::Purged;
                }
                Fate::Pruned | Fate::Purged => {}
            }
        }
        self.pruned_below = self.pruned_below.max(bound);
        (n_held, n_held + n_doomed)
    }

    /// The first event in the replay window that may be there, and the first that is; when there is none, the one that will
    /// be made next.
    pub fn window_first(&self, now: Micros) -> (i64, i64) {
        let first = |fates: &[Fate]| {
            let mut events = self.events.iter().filter(|event| fates.contains(&event.fate));
            events.find(|event| event.made_at >= now - WINDOW).map_or(self.last_seq() + 1, |event| event.seq)
        };
        (first(&[Fate::Held, Fate::Doomed]), first(&[Fate::Held]))
    }

    /// Compares with what is stored: events that are held are there, byte for byte, and none that has gone.
    pub fn check(&self, stored: Vec<(i64, Bytes)>) {
        let mut stored = stored.into_iter().peekable();
        for event in &self.events {
            let is_there = stored.peek().is_some_and(|(seq, _)| *seq == event.seq);
            match event.fate {
                Fate::Held => assert!(is_there, "event {} is missing", event.seq),
                Fate::Doomed => {}
                gone => assert!(!is_there, "event {} is there and should be {gone:?}", event.seq),
            }
            if is_there {
                assert!(stored.next().unwrap().1 == event.bytes, "event {} has changed", event.seq);
            }
        }
        assert_eq!(stored.next(), None, "an event that nobody made");
    }
}
