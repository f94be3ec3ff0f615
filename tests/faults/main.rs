//! The real program on a disk that fails: each file operation of each way to write, the first, the second, and so on. What
//! is answered with an error must not be visible, neither now nor after `kill -9`, and the program must go on by itself when
//! the disk does.
//!
//! The operations fail inside the program's process (`shim.c`): the system below has a sound disk. What a machine without
//! power loses is not shown here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod bench;
mod faults;
mod follower;
#[path = "../support/random.rs"]
mod random;
#[path = "../crash/server.rs"]
mod server;
mod state;
#[path = "../support/whole_repo.rs"]
mod whole_repo;

use std::{collections::BTreeSet, time::Instant};

use self::{
    acts::{Act, PINGS_MAX},
    bench::{Bench, told},
    faults::{CHANGES, EIO, ENOSPC, ERRORS, FLUSHES, Fault, GROWTH, Lasting, READS},
    follower::Follower,
    state::changed,
};

/// Operations of one act that fail, about: of more, as many are chosen, evenly.
const FAULTS_MAX: u32 = 30;
/// Reads that fail for one query, at most.
const READS_MAX: u32 = 12;
/// Connections that the program reads with.
const READERS: usize = 4;
/// One line of the log stands for all that fails in so many seconds.
const LOG_EVERY_SECS: u64 = 10;
/// Starts with a fault.
const STARTS: u32 = 24;
/// Operations from one of these to the next.
const START_STEP: u32 = 5;
/// More operations than any act takes.
const OPERATIONS_MAX: u32 = 300;

/// Which operations fail of an act that takes about `count`; whoever tries them ends when nothing fails any more.
fn steps(count: u32) -> impl Iterator<Item = u32> {
    (1..=OPERATIONS_MAX).step_by((count / FAULTS_MAX + 1) as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_disk_does_not_take_is_refused_and_leaves_nothing_rp_16() {
    let Some(mut bench) = Bench::new().await else { return };
    let (began, mut n_faults) = (Instant::now(), 0);
    for act in Act::ALL {
        // Twice, as something else may be cleared away meanwhile.
        let count = bench.count(act).await.min(bench.count(act).await);
        let act_began = Instant::now();
        let mut n_failed = 0;
        for nth in steps(count) {
            let n_before = n_failed;
            for (error, lasting) in act.faults(nth) {
                let fault = Fault { nth, error, kinds: CHANGES, lasting };
                n_failed += usize::from(bench.try_act(act, fault).await);
            }
            if n_failed == n_before {
                break;
            }
        }
        println!("{act:?}: {count} operations, {n_failed} faults in {:.1?}", act_began.elapsed());
        n_faults += n_failed;
        assert!(n_failed > 0, "{act:?} writes nothing");
        bench.stage.prepare(act).await;
        bench.stage.act(act).await.bytes();
    }
    bench.stage.prepare(Act::CreateRecord).await;
    let n_events = bench.check().await;
    println!("{n_faults} faults in {:.0?}; {n_events} events", began.elapsed());
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_identity_that_the_disk_cuts_off_is_finished_or_undone_mg_8() {
    let Some(mut bench) = Bench::new().await else { return };
    for act in Act::OF_IDENTITY {
        let mut n_failed = 0;
        for nth in 1..OPERATIONS_MAX {
            let (error, lasting) = (ERRORS[nth as usize % ERRORS.len()], Lasting::Once);
            if !bench.try_change_of_identity(act, Fault { nth, error, kinds: CHANGES, lasting }).await {
                break;
            }
            n_failed += 1;
        }
        println!("{act:?}: {n_failed} faults");
        assert!(n_failed > 0, "{act:?} writes nothing");
    }
    bench.check().await;
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_does_not_come_back_when_the_program_is_killed_rp_16() {
    let Some(mut bench) = Bench::new().await else { return };
    let (began, mut n_killed) = (Instant::now(), 0);
    for act in [Act::CreateRecord, Act::UploadBlob] {
        let count = bench.count(act).await;
        for nth in steps(count) {
            let lasting = if nth % 2 == 0 { Lasting::UntilLifted } else { Lasting::Once };
            let fault = Fault { nth, error: ERRORS[(nth / 2) as usize % 3], kinds: CHANGES, lasting };
            if !bench.try_act_and_kill(act, fault).await {
                break;
            }
            n_killed += 1;
        }
    }
    // The flush alone: the commit stands in the write-ahead log, whole.
    for (nth, lasting) in [(1, Lasting::Once), (1, Lasting::UntilLifted)] {
        for act in [Act::CreateRecord, Act::DeleteRecord, Act::ApplyWrites] {
            let fault = Fault { nth, error: EIO, kinds: FLUSHES, lasting };
            assert!(bench.try_act_and_kill(act, fault).await, "{act:?} flushes nothing");
            n_killed += 1;
        }
    }
    println!(
        "killed {n_killed} times in {:.0?}; {} answers left it open",
        began.elapsed(),
        bench.n_uncertain
    );
    assert!((1..n_killed).contains(&bench.n_uncertain), "only what cannot be overwritten is left open");
    bench.check().await;
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_goes_on_serving_until_there_is_room() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.stage.prepare(Act::ReferToBlob).await;
    let referred = bench.stage.act(Act::ReferToBlob).await.json();
    let (alice, client) = (bench.stage.alice.clone(), bench.client.clone());
    let path = referred["uri"].as_str().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
    let (collection, rkey) = path.split_once('/').unwrap();
    let did = &alice.did;
    let at = format!("repo={did}&collection={collection}&rkey={rkey}");
    let record = client.get("com.atproto.repo.getRecord", &at, None);
    let blob = record.await.unwrap().json()["value"]["blob"]["ref"]["$link"].as_str().unwrap().to_owned();

    let (before, last_seq) = (bench.state(), bench.database().last_seq());
    let began = Instant::now();
    bench.faults.arm(Fault { nth: 1, error: ENOSPC, kinds: GROWTH, lasting: Lasting::UntilLifted });
    for act in [
        Act::CreateRecord,
        Act::PutRecord,
        Act::ApplyWrites,
        Act::UploadBlob,
        Act::ImportRepo,
        Act::PutPreferences,
    ] {
        bench.stage.prepare(act).await;
        let reply = bench.stage.act(act).await;
        assert_eq!(
            (reply.status.as_u16(), reply.error().as_deref()),
            (503, Some("InsufficientStorage")),
            "{act:?}"
        );
    }
    for (nsid, query) in [
        ("com.atproto.repo.getRecord", at.clone()),
        ("com.atproto.repo.listRecords", format!("repo={did}&collection={collection}")),
        ("com.atproto.repo.describeRepo", format!("repo={did}")),
        ("com.atproto.sync.getRepo", format!("did={did}")),
        ("com.atproto.sync.getRecord", format!("did={did}&collection={collection}&rkey={rkey}")),
        ("com.atproto.sync.getBlob", format!("did={did}&cid={blob}")),
        ("com.atproto.sync.listRepos", String::new()),
    ] {
        client.get(nsid, &query, None).await.unwrap().bytes();
    }
    client.get("com.atproto.server.getSession", "", Some(&alice.access)).await.unwrap().bytes();
    let health = || client.get("_health", "", None);
    assert_eq!(health().await.unwrap().status, 503, "whoever watches is told");
    let mut replay = Follower::start(bench.program.url().trim_start_matches("http://"));
    replay.compare(&bench.database().events_after(0)).await;
    assert_eq!(changed(&before, &bench.state()), [] as [String; 0]);
    assert!(bench.faults.lift().failed > 0);

    for act in [Act::CreateRecord, Act::UploadBlob, Act::ImportRepo, Act::PutPreferences] {
        bench.stage.prepare(act).await;
        let reply = bench.stage.act(act).await;
        assert_eq!(reply.status, 200, "{act:?}: {}", told(&reply));
    }
    assert!(bench.database().last_seq() > last_seq);
    health().await.unwrap().bytes();
    bench.check().await;
    let seconds = began.elapsed().as_secs();
    let n_lines = bench.program.log().lines().filter(|line| line.contains("was not committed")).count();
    let at_most = 1 + usize::try_from(seconds / LOG_EVERY_SECS).unwrap();
    assert!((1..=at_most).contains(&n_lines), "{n_lines} lines fill the disk:\n{}", bench.program.log());
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_the_disk_fails_is_told_so_and_the_next_one_is_answered() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.stage.prepare(Act::ImportRepo).await;
    bench.stage.act(Act::ImportRepo).await.bytes();
    let did = bench.stage.alice.did.clone();
    let mut n_failed = 0;
    for (nsid, query) in [
        ("com.atproto.repo.listRecords", format!("repo={did}&collection=com.example.note")),
        ("com.atproto.sync.getRepo", format!("did={did}")),
        ("com.atproto.sync.getLatestCommit", format!("did={did}")),
    ] {
        for nth in 1..=READS_MAX {
            // A new process has nothing in memory.
            bench.life.take().unwrap().stop();
            bench.start().await;
            bench.faults.arm(Fault { nth, error: EIO, kinds: READS, lasting: Lasting::UntilLifted });
            let answers = [(); 3].map(|()| bench.client.get(nsid, &query, None));
            for reply in futures::future::join_all(answers).await {
                // An export that has begun can only break off.
                let Ok(reply) = reply else { continue };
                let what = format!("{nsid}, {nth}: {}", told(&reply));
                assert!(reply.status == 200 || reply.error().as_deref() == Some("StorageFailure"), "{what}");
            }
            let failed = bench.faults.lift().failed;
            for _ in 0..2 * READERS {
                let reply = bench.client.get(nsid, &query, None).await.unwrap();
                assert_eq!(reply.status, 200, "{nsid}, {nth}, and then: {}", told(&reply));
            }
            n_failed += failed;
            if failed == 0 {
                break;
            }
        }
    }
    assert!(n_failed > 0, "nothing was read");
    for act in [Act::CreateRecord, Act::CreateSession] {
        for nth in 1..=READS_MAX {
            bench.life.take().unwrap().stop();
            bench.start().await;
            let fault = Fault { nth, error: EIO, kinds: READS, lasting: Lasting::UntilLifted };
            if !bench.try_act(act, fault).await {
                break;
            }
        }
    }
    bench.check().await;
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_durable_only_when_the_directory_that_holds_it_is_bl_1() {
    let Some(mut bench) = Bench::new().await else { return };
    let mut flushes = async |nth, lasting| {
        bench.stage.prepare(Act::UploadBlob).await;
        bench.faults.arm(Fault { nth, error: EIO, kinds: FLUSHES, lasting });
        let reply = bench.stage.act(Act::UploadBlob).await;
        (reply.status.as_u16(), bench.faults.lift())
    };
    // The first upload of the account makes its directory. Its name is not on the disk when that flush fails.
    let mut nth = 1;
    loop {
        let (status, happened) = flushes(nth, Lasting::Once).await;
        assert!(happened.failed > 0, "nothing flushes the directory of directories");
        assert_eq!(status, 500, "{}", happened.what);
        if happened.what.ends_with("/blobs") {
            break;
        }
        nth += 1;
    }
    let (status, after) = flushes(1, Lasting::Count).await;
    assert_eq!(status, 200);
    let (_, next) = flushes(1, Lasting::Count).await;
    assert_eq!(
        after.count,
        next.count + 1,
        "what could not be flushed is flushed before the next blob is answered"
    );
    bench.life.take().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_the_chores_on_a_failing_disk_can_be_done_again() {
    let Some(mut bench) = Bench::new().await else { return };
    let (mut n_refused, mut n_failed) = (0, 0);
    for start in 0..STARTS {
        bench.leave_something_behind().await;
        bench.life.take().unwrap().kill();
        bench.faults.lift();
        let before = bench.state();
        let (nth, error) = (1 + start * START_STEP, ERRORS[start as usize % 3]);
        let lasting = if start % 2 == 0 { Lasting::Once } else { Lasting::UntilLifted };
        bench.faults.arm(Fault { nth, error, kinds: CHANGES, lasting });
        match bench.program.try_start().await {
            Some(life) => {
                bench.life = Some(life);
                // What is done once at the start goes on beside these.
                bench.client.get("_health", "", None).await.unwrap();
                bench.client.get("_health", "", None).await.unwrap();
            }
            None => n_refused += 1,
        }
        let happened = bench.faults.lift();
        n_failed += usize::from(happened.failed > 0);
        bench.life = None;
        bench.start().await;
        assert_eq!(changed(&before, &bench.state()), [] as [String; 0], "{nth}, {error}: {}", happened.what);
        bench.works(&format!("a start with {nth}, {error}: {}", happened.what)).await;
    }
    let log = bench.program.log();
    let chores = log.lines().filter_map(|line| line.split_once("chore=\"")?.1.split_once('"'));
    let chores: BTreeSet<&str> = chores.map(|(chore, _)| chore).collect();
    println!("{n_failed} starts met a fault, {n_refused} ended with it; chores that failed: {chores:?}");
    assert!(n_failed > n_refused && n_refused > 0);
    assert!(!chores.is_empty(), "no chore met a fault:\n{log}");
    let mut n_left = bench.database().left();
    for _ in 0..PINGS_MAX {
        if n_left == 0 {
            break;
        }
        bench.client.get("_health", "", None).await.unwrap().bytes();
        n_left = bench.database().left();
    }
    assert_eq!(n_left, 0, "something is left behind for good");
    bench.check().await;
    bench.life.take().unwrap().stop();
}
