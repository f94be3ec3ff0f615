//! Pruning: what goes, what stays, and that nobody has to wait for it.

use std::time::Instant;

use super::*;
use crate::store::{StoreError, repo_seq};

/// Frames of the large log, in bytes.
const FRAME_BYTES: usize = 2_000;
/// Writes that are timed without pruning beside them.
const WRITES_BEFORE: usize = 200;

/// Appends `n` events of about [`FRAME_BYTES`] about `n_dids` accounts in turn.
async fn fill(store: &Store, n: usize, n_dids: usize) {
    const CHUNK: usize = 1000;
    for chunk in 0..n.div_ceil(CHUNK) {
        let fill = store.write(move |tx| {
            for at in chunk * CHUNK..n.min((chunk + 1) * CHUNK) {
                let did = Did::parse(&format!("did:web:user{}.example.com", at % n_dids)).unwrap();
                let (whose, rev) = (did.clone(), atproto::syntax::Tid::from_parts(1, 1));
                let blocks = vec![7; FRAME_BYTES];
                tx.append_event(&did, |seq, time| {
                    Frame::Sync(event::Sync { seq, time, did: whose, rev, blocks })
                })?;
            }
            Ok::<_, StoreError>(())
        });
        fill.await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_no_event_older_than_it_is() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        bench.emit().await;
    }
    // Further back than the window reaches.
    bench.wait(-100);
    bench.emit().await;
    bench.wait(2);
    assert_eq!(bench.firehose.prune().await.unwrap(), 0);
    assert_eq!(read_to(&mut bench.subscribe(2).await, 6).await, [3, 4, 5, 6]);
    // Once the clock is right again, everything is as old as it is.
    bench.wait(98 + 20);
    assert_eq!(bench.firehose.prune().await.unwrap(), 0);
    bench.wait(6);
    assert_eq!(bench.firehose.prune().await.unwrap(), 6);
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_lets_nothing_go_too_early() {
    let bench = Bench::new().await;
    bench.emit().await;
    bench.wait(48);
    bench.emit().await;
    bench.wait(-48);
    bench.emit().await;
    bench.wait(26);
    // The second is still to come, and the third came after it.
    assert_eq!(bench.firehose.prune().await.unwrap(), 1);
    assert_eq!(read_to(&mut bench.subscribe(0).await, 3).await, [2, 3]);
    bench.wait(48);
    assert_eq!(bench.firehose.prune().await.unwrap(), 2);
}

/// A quiet server has in memory what its table has no longer.
#[tokio::test]
async fn what_was_pruned_goes_from_memory_too_when_its_account_is_deleted_ev_12() {
    let bench = Bench::new().await;
    let mut slow = bench.subscribe(None).await;
    let gone = bench.emit().await;
    bench.wait(26);
    bench.firehose.prune().await.unwrap();
    let last = bench.emit().await;
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    bench.store.write(move |tx| tx.remove_events(&did, last, 100)).await.unwrap();
    assert!(matches!(slow.next().await, Err(SubscribeError::ConsumerTooSlow)), "event {gone} was there");
}

/// Whatever cuts it short: what is left is the newer part, numbers go on above it, and the next round does the rest.
#[tokio::test]
async fn pruning_that_is_cut_short_anywhere_leaves_no_hole_and_takes_no_number_ev_7() {
    const N_OLD: usize = 250;
    /// Chances from one try to the next.
    const STRIDE: usize = 29;
    for n_new in [0, 3] {
        let mut n_cut = 0;
        for chance in (1..).step_by(STRIDE) {
            let bench = Bench::new().await;
            fill(&bench.store, N_OLD, 3).await;
            bench.wait(26);
            for _ in 0..n_new {
                bench.emit().await;
            }
            let last_seq = i64::try_from(N_OLD + n_new).unwrap();
            let left = bench.store.cut_short().await.unwrap();
            left.store(chance, Ordering::Relaxed);
            let outcome = bench.firehose.prune().await;
            let was_cut = left.swap(i64::MAX, Ordering::Relaxed) <= 0;
            let state = bench.store.read(|db| {
                let stored = repo_seq::list_after(db, 0, usize::MAX, usize::MAX)?;
                Ok::<_, StoreError>((stored, repo_seq::last_seq(db)?))
            });
            let (stored, taken) = state.await.unwrap();
            assert_eq!(taken, last_seq, "chance {chance}: {outcome:?}");
            let first = last_seq + 1 - i64::try_from(stored.len()).unwrap();
            assert!(stored.iter().map(|(seq, _)| *seq).eq(first..=last_seq), "chance {chance}: {outcome:?}");
            if outcome.is_ok() && !was_cut {
                assert_eq!(stored.len(), n_new);
                break;
            }
            n_cut += 1;
            assert_eq!(bench.firehose.prune().await.unwrap(), stored.len() - n_new);
            assert_eq!(bench.emit().await, last_seq + 1);
        }
        assert!(n_cut > 10, "only {n_cut} rounds were cut short");
    }
}

/// How long writers wait while a large log is pruned, beside how long they wait otherwise. Prints both; the limit is a
/// wide one, for machines that do other things too. `ROOKERY_LONG=1` prunes 300,000 events instead of 6,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_do_not_wait_for_pruning() {
    let n_events = if std::env::var_os("ROOKERY_LONG").is_some() { 300_000 } else { 6_000 };
    let bench = Bench::new().await;
    fill(&bench.store, n_events, 500).await;
    bench.wait(26);
    let before = latencies(&bench.store, |n_written| n_written < WRITES_BEFORE).await;
    let began = Instant::now();
    let firehose = bench.firehose.clone();
    let pruning = tokio::spawn(async move { firehose.prune().await.unwrap() });
    let during = latencies(&bench.store, |_| !pruning.is_finished()).await;
    assert_eq!(pruning.await.unwrap(), n_events);
    println!("{n_events} events pruned in {:.1?}; a write took (p50, p99, most)", began.elapsed());
    println!("  before: {before:?}\n  during: {during:?}");
    assert!(during.1 < before.1 * 5 + Duration::from_millis(100), "{before:?} {during:?}");
}

/// Writes one after the other as long as `goes_on` says so; median, 99th percentile and longest.
async fn latencies(store: &Store, goes_on: impl Fn(usize) -> bool) -> (Duration, Duration, Duration) {
    let mut taken = Vec::new();
    while taken.is_empty() || goes_on(taken.len()) {
        let began = Instant::now();
        emit(store).await;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    let at = |per_mille: usize| taken[(taken.len() - 1) * per_mille / 1000];
    (at(500), at(990), at(1000))
}
