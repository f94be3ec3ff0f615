//! Subscribers against a real store: what they get is exactly the log, in order, wherever they start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod retention;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use atproto::{
    event::{self, Frame},
    syntax::Did,
};

use bytes::Bytes;

use super::*;
use crate::{store::StoreOptions, time::SECOND};

const HOUR: Micros = 3600 * SECOND;

/// A firehose with a window of 24 hours whose clock only moves when told to.
struct Bench {
    store: Store,
    firehose: Firehose,
    now: Arc<AtomicI64>,
    dir: Arc<tempfile::TempDir>,
}

impl Bench {
    async fn new() -> Bench {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Bench::open(dir, 1_700_000_000 * SECOND, StoreOptions::at("").ring_bytes_max).await
    }

    async fn open(dir: Arc<tempfile::TempDir>, now: Micros, ring_bytes_max: usize) -> Bench {
        let now = Arc::new(AtomicI64::new(now));
        let time = now.clone();
        let clock = Clock::from_fn(move || time.load(Ordering::Relaxed));
        let options = StoreOptions { ring_bytes_max, ..StoreOptions::at(dir.path()) };
        let store = Store::open(options, clock.clone()).await.unwrap();
        let options = FirehoseOptions { window: Duration::from_secs(24 * 3600), subscribers_max: 20 };
        let firehose = Firehose::new(store.clone(), clock, options);
        Bench { store, firehose, now, dir }
    }

    /// Closes the store and opens it again, `hours` later.
    async fn restart(self, hours: i64, ring_bytes_max: usize) -> Bench {
        let now = self.now.load(Ordering::Relaxed) + hours * HOUR;
        self.store.close().await;
        Bench::open(self.dir.clone(), now, ring_bytes_max).await
    }

    fn wait(&self, hours: i64) {
        self.now.fetch_add(hours * HOUR, Ordering::Relaxed);
    }

    /// Appends an event and returns its number.
    async fn emit(&self) -> i64 {
        emit(&self.store).await
    }

    async fn subscribe(&self, cursor: impl Into<Option<i64>>) -> Subscriber {
        self.firehose.seat().unwrap().start(cursor.into()).await.unwrap()
    }

    async fn refused(&self, cursor: i64) -> SubscribeError {
        match self.firehose.seat().unwrap().start(Some(cursor)).await {
            Ok(_) => panic!("cursor {cursor} was accepted"),
            Err(error) => error,
        }
    }
}

async fn emit(store: &Store) -> i64 {
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let frame = {
        let did = did.clone();
        move |seq, time| Frame::Identity(event::Identity { seq, time, did, handle: None })
    };
    store.write(move |tx| tx.append_event(&did, frame)).await.unwrap()
}

/// Numbers of events; an `#info` counts as 0.
fn seqs(frames: Vec<Bytes>) -> Vec<i64> {
    let seq = |frame: &Bytes| match Frame::decode(frame).unwrap() {
        Frame::Identity(identity) => identity.seq,
        Frame::Info(info) => {
            assert_eq!(info.name, "OutdatedCursor");
            0
        }
        other => panic!("unexpected {other:?}"),
    };
    frames.iter().map(seq).collect()
}

/// Reads up to and with the event numbered `last`.
async fn read_to(subscriber: &mut Subscriber, last: i64) -> Vec<i64> {
    let mut read = Vec::new();
    while read.last().is_none_or(|seq| *seq < last) {
        read.extend(seqs(subscriber.next().await.unwrap()));
    }
    read
}

/// Asserts that nothing is there to read.
async fn assert_waits(subscriber: &mut Subscriber) {
    let waiting = tokio::time::timeout(Duration::from_millis(1), subscriber.next());
    assert!(waiting.await.is_err(), "there was something to read");
}

/// 40 µs for each subscriber, once that is a millisecond and until it is 40.
#[tokio::test]
async fn subscribers_rest_the_longer_the_more_there_are_and_a_few_not_at_all() {
    let bench = Bench::new().await;
    let options = FirehoseOptions { window: Duration::from_secs(3600), subscribers_max: 2000 };
    let clock = Clock::from_fn(|| SECOND);
    let firehose = Firehose::new(bench.store.clone(), clock, options);
    let mut seats = Vec::new();
    for (subscribers, rest) in
        [(0, None), (24, None), (25, Some(1_000)), (500, Some(20_000)), (2000, Some(40_000))]
    {
        seats.resize_with(subscribers, || firehose.seat().unwrap());
        assert_eq!(firehose.inner.rest(), rest.map(Duration::from_micros), "{subscribers}");
    }
}

#[tokio::test]
async fn without_a_cursor_a_subscription_starts_now() {
    let bench = Bench::new().await;
    bench.emit().await;
    let mut subscriber = bench.subscribe(None).await;
    assert_waits(&mut subscriber).await;
    let next = bench.emit().await;
    assert_eq!(seqs(subscriber.next().await.unwrap()), [next]);
}

#[tokio::test]
async fn a_cursor_is_the_last_event_known_and_not_sent_again_ev_9() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        bench.emit().await;
    }
    assert_eq!(read_to(&mut bench.subscribe(3).await, 5).await, [4, 5]);
    let mut caught_up = bench.subscribe(5).await;
    assert_waits(&mut caught_up).await;
    assert_eq!(bench.emit().await, 6);
    assert_eq!(seqs(caught_up.next().await.unwrap()), [6]);
}

#[tokio::test]
async fn zero_and_below_mean_the_whole_window_ev_8() {
    let bench = Bench::new().await;
    bench.emit().await;
    bench.wait(25);
    bench.emit().await;
    bench.emit().await;
    for cursor in [0, -1, i64::MIN] {
        assert_eq!(read_to(&mut bench.subscribe(cursor).await, 3).await, [2, 3], "{cursor}");
    }
}

#[tokio::test]
async fn a_cursor_from_the_future_is_refused_ev_8() {
    let bench = Bench::new().await;
    assert!(matches!(bench.refused(1).await, SubscribeError::FutureCursor { cursor: 1, last_seq: 0 }));
    bench.emit().await;
    let refused = bench.refused(2).await;
    let Frame::Error(frame) = Frame::decode(&refused.frame().unwrap()).unwrap() else {
        panic!("no error frame")
    };
    assert_eq!(frame.error, "FutureCursor");
    assert!(bench.firehose.seat().unwrap().start(Some(1)).await.is_ok());
}

#[tokio::test]
async fn a_cursor_before_the_window_is_told_so_and_gets_the_window_ev_8() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.emit().await;
    }
    bench.wait(25);
    for _ in 0..2 {
        bench.emit().await;
    }
    assert_eq!(read_to(&mut bench.subscribe(2).await, 6).await, [0, 5, 6]);
    // Nothing unseen is too old: the cursor's own age does not matter.
    assert_eq!(read_to(&mut bench.subscribe(4).await, 6).await, [5, 6]);
}

#[tokio::test]
async fn when_the_window_is_empty_an_old_cursor_goes_live() {
    let bench = Bench::new().await;
    bench.emit().await;
    bench.emit().await;
    bench.wait(25);
    let mut subscriber = bench.subscribe(1).await;
    assert_eq!(seqs(subscriber.next().await.unwrap()), [0]);
    assert_waits(&mut subscriber).await;
    bench.emit().await;
    assert_eq!(seqs(subscriber.next().await.unwrap()), [3]);
}

#[tokio::test]
async fn pruning_takes_what_left_the_window_and_numbers_go_on_ev_7() {
    let bench = Bench::new().await;
    for _ in 0..1200 {
        bench.emit().await;
    }
    bench.wait(20);
    bench.emit().await;
    assert_eq!(bench.firehose.prune().await.unwrap(), 0);
    bench.wait(6);
    assert_eq!(bench.firehose.prune().await.unwrap(), 1200);
    // What was pruned is as much a loss to the subscriber as what is merely too old.
    assert_eq!(read_to(&mut bench.subscribe(7).await, 1201).await, [0, 1201]);
    bench.wait(30);
    assert_eq!(bench.firehose.prune().await.unwrap(), 1);
    assert_eq!(bench.emit().await, 1202);
}

#[tokio::test]
async fn a_subscriber_whose_backlog_is_pruned_is_too_slow_ev_10() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let bench = Bench::open(dir, 1_700_000_000 * SECOND, 1).await;
    let mut slow = bench.subscribe(None).await;
    bench.emit().await;
    bench.wait(26);
    bench.emit().await;
    bench.firehose.prune().await.unwrap();
    let error = slow.next().await.unwrap_err();
    let Frame::Error(frame) = Frame::decode(&error.frame().unwrap()).unwrap() else {
        panic!("no error frame")
    };
    assert_eq!(frame.error, "ConsumerTooSlow");
}

#[tokio::test]
async fn after_a_restart_numbers_go_on_and_a_caught_up_cursor_is_live() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.emit().await;
    }
    let bench = bench.restart(0, 1000).await;
    let mut caught_up = bench.subscribe(3).await;
    let mut behind = bench.subscribe(1).await;
    assert_waits(&mut caught_up).await;
    assert_eq!(bench.emit().await, 4);
    assert_eq!(seqs(caught_up.next().await.unwrap()), [4]);
    assert_eq!(read_to(&mut behind, 4).await, [2, 3, 4]);
}

#[tokio::test]
async fn numbers_go_on_after_a_restart_with_an_empty_log() {
    let bench = Bench::new().await;
    bench.emit().await;
    bench.wait(30);
    bench.firehose.prune().await.unwrap();
    let bench = bench.restart(0, 1000).await;
    // The cursor is that of the last event ever: nothing was missed.
    let mut subscriber = bench.subscribe(1).await;
    assert_waits(&mut subscriber).await;
    assert_eq!(bench.emit().await, 2);
    assert_eq!(seqs(subscriber.next().await.unwrap()), [2]);
}

#[tokio::test]
async fn events_that_went_with_their_account_are_no_gap_to_wait_for() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    // A ring that holds one frame.
    let bench = Bench::open(dir, 1_700_000_000 * SECOND, 150).await;
    let mut subscriber = bench.subscribe(None).await;
    for _ in 0..9 {
        bench.emit().await;
    }
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    bench
        .store
        .write(move |tx| crate::store::repo_seq::delete_of_did_before(tx, &did, i64::MAX, 100))
        .await
        .unwrap();
    let mut rest = tokio::time::timeout(Duration::from_secs(10), read_to(&mut subscriber, 9)).await.unwrap();
    assert_eq!(rest.pop(), Some(9));
    bench.emit().await;
    assert_eq!(seqs(subscriber.next().await.unwrap()), [10]);
}

/// The border between table and ring is crossed many times while events are written: a small ring, subscribers that
/// start anywhere, writers at full speed. Each gets every number once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_event_is_lost_or_doubled_ev_9() {
    const EVENTS: i64 = 1500;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for ring_bytes_max in [1, 400, 4000, 1 << 20] {
        let bench = Bench::open(dir.clone(), 1_700_000_000 * SECOND, ring_bytes_max).await;
        let before = emit(&bench.store).await;
        let last = before + EVENTS;
        let mut readers = Vec::new();
        for back in 0..8 {
            let cursor = (before - back * 300).max(0);
            let mut subscriber = bench.subscribe(cursor).await;
            readers.push(tokio::spawn(async move { (cursor, read_to(&mut subscriber, last).await) }));
        }
        let writers: Vec<_> = (0..5)
            .map(|_| {
                let store = bench.store.clone();
                tokio::spawn(async move {
                    for _ in 0..EVENTS / 5 {
                        emit(&store).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        for reader in readers {
            let (cursor, read) = reader.await.unwrap();
            assert_eq!(
                read,
                Vec::from_iter(cursor + 1..=last),
                "ring of {ring_bytes_max} bytes, cursor {cursor}"
            );
        }
        bench.store.close().await;
    }
}

#[tokio::test]
async fn places_are_limited_and_come_back() {
    let bench = Bench::new().await;
    let mut seated = Vec::new();
    for _ in 0..20 {
        seated.push(bench.subscribe(None).await);
    }
    assert!(matches!(bench.firehose.seat(), Err(SubscribeError::Full)));
    seated.pop();
    assert!(bench.firehose.seat().is_ok());
}
