//! A seeded simulation: the real services over a real store, one step after the other, with a clock and a randomness of
//! the test's own, against a model that fits on a page. After each step the invariants of ARCHITECTURE.md are compared:
//! records, tree and head of every account that was touched; each new event with the one before it; the log as it is
//! stored; what subscribers read.
//!
//! `ROOKERY_LONG=1` takes more steps. A failure prints its seed and the last steps; `ROOKERY_SEED=…` repeats it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod log;
#[path = "../support/random.rs"]
mod random;
mod steps;
mod subscriber;
#[path = "../support/whole_repo.rs"]
mod whole_repo;
mod world;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use atproto::syntax::Did;
use bytes::Bytes;
use futures::StreamExt;
use rookery::{
    app::{App, AppConfig, Settings},
    store::{StoreError, StoreOptions, repo_seq},
    time::{Clock, Entropy, Micros, SECOND},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::{
    log::{Kind, Log, WINDOW},
    random::{Random, Seed, is_long_run},
    subscriber::Reader,
    whole_repo::open_whole,
    world::Account,
};

const STEPS: usize = 400;
const STEPS_LONG: usize = 5_000;
/// Seeds that the long mode goes through.
const SEEDS_LONG: u64 = 20;
/// Small, so that subscribers cross the border between memory and table all the time; in bytes.
const RING_BYTES_MAX: usize = 12_000;
/// Every so many steps everything is compared, not only what the step touched.
const FULL_CHECK_EVERY: usize = 20;
/// Steps that a failure prints.
const TRACE_MAX: usize = 40;

struct Simulation {
    random: Random,
    now: Arc<AtomicI64>,
    entropy: Entropy,
    dir: tempfile::TempDir,
    app: App,
    accounts: Vec<Account>,
    log: Log,
    readers: Vec<Reader>,
    /// Cursors of readers that went away or were cut.
    cursors: Vec<i64>,
    trace: VecDeque<String>,
}

#[tokio::test]
async fn whatever_happens_the_invariants_hold() {
    let seed = Seed::of_this_run();
    run(seed.0, if is_long_run() { STEPS_LONG } else { STEPS }).await;
    if is_long_run() {
        for seed in (seed.0 + 1..).take(SEEDS_LONG as usize).map(Seed) {
            run(seed.0, STEPS_LONG / 10).await;
        }
    }
}

/// Without this a printed seed would be worth little.
#[tokio::test]
async fn a_seed_means_the_same_events_byte_for_byte() {
    let seed = Seed::of_this_run();
    assert_eq!(run(seed.0, 60).await, run(seed.0, 60).await);
}

/// Returns a hash over all events.
async fn run(seed: u64, steps: usize) -> [u8; 32] {
    let mut simulation = Simulation::new(seed).await;
    for n in 0..steps {
        simulation.step().await;
        if n % FULL_CHECK_EVERY == 0 {
            simulation.check_everything().await;
        }
    }
    simulation.check_everything().await;
    simulation.app.close().await;
    let mut hash = Sha256::new();
    for event in &simulation.log.events {
        hash.update(&event.bytes);
    }
    hash.finalize().into()
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last steps:");
            self.trace.iter().for_each(|step| eprintln!("  {step}"));
        }
    }
}

async fn open(dir: &Path, now: &Arc<AtomicI64>, entropy: &Entropy) -> App {
    let mut settings = Settings::sandbox(
        "http://localhost:1",
        Did::parse("did:web:localhost").unwrap(),
        "http://localhost:1",
    );
    settings.firehose_window = Duration::from_micros(u64::try_from(WINDOW).unwrap());
    let now = now.clone();
    let app = App::build(AppConfig {
        settings,
        store: StoreOptions { ring_bytes_max: RING_BYTES_MAX, ..StoreOptions::at(dir) },
        master_key: Zeroizing::new([7; 32]),
        admin_password: Zeroizing::new(String::new()),
        clock: Clock::from_fn(move || now.load(Ordering::Relaxed)),
        entropy: entropy.clone(),
    })
    .await
    .unwrap();
    // What a server does at its start.
    app.blobs.clear_tmp().await.unwrap();
    app.repos.sweep_generations().await.unwrap();
    app
}

impl Simulation {
    async fn new(seed: u64) -> Simulation {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut random = Random::from_seed(seed);
        let drawn = Mutex::new(random.fork());
        let entropy = Entropy::from_fn(move |bytes| {
            let mut drawn = drawn.lock().unwrap();
            bytes.iter_mut().for_each(|byte| *byte = drawn.next().to_le_bytes()[0]);
        });
        let now = Arc::new(AtomicI64::new(1_700_000_000 * SECOND));
        let dir = tempfile::tempdir().unwrap();
        let app = open(dir.path(), &now, &entropy).await;
        let (accounts, log, readers) = (Vec::new(), Log::default(), Vec::new());
        let (cursors, trace) = (Vec::new(), VecDeque::new());
        Simulation { random, now, entropy, dir, app, accounts, log, readers, cursors, trace }
    }

    fn now(&self) -> Micros {
        self.now.load(Ordering::Relaxed)
    }

    fn note(&mut self, step: String) {
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        let last = self.log.last_seq();
        self.trace.push_back(format!("{step} (time {}, last event {last})", self.now()));
    }

    /// Takes in the events that a step has made. They are those expected, if the order does not matter.
    async fn expect(&mut self, mut expected: Vec<(Did, Kind)>) {
        let last = self.log.last_seq();
        let new = self.app.store.read(move |db| repo_seq::list_after(db, last, usize::MAX, usize::MAX)).await;
        let new = new.unwrap_or_else(|error: StoreError| panic!("{error}"));
        for (did, kind) in self.log.append(new, self.now(), &self.accounts) {
            let at = expected.iter().position(|(whose, what)| whose.as_str() == did && *what == kind);
            let at = at.unwrap_or_else(|| panic!("{did}: {kind:?} was announced; expected: {expected:?}"));
            expected.remove(at);
        }
        assert!(expected.is_empty(), "not announced: {expected:?}");
    }

    /// Records, tree, head and blobs are those of the model, and the head is what events have told.
    async fn check(&self, account: &Account) {
        let did = &account.did;
        let stored = self.app.accounts.find(did).await.unwrap().unwrap();
        assert_eq!(stored.is_active(), account.is_active(), "{did}");
        let mut export = self.app.repos.export(stored.repo_id.unwrap(), None, None).await.unwrap();
        let mut car = Vec::new();
        while let Some(chunk) = export.next().await {
            car.extend_from_slice(&chunk.unwrap());
        }
        let (head, records) = open_whole(&car, did.as_str(), &account.key);
        assert!(records == account.records, "{did}: records");
        if account.is_active() {
            assert_eq!(
                self.log.heads.get(did.as_str()),
                Some(&(head.rev, head.data)),
                "{did}: its last event"
            );
        }
        for (cid, bytes) in &account.blobs {
            let (_, mut file) =
                self.app.blobs.open(stored.id, *cid).await.unwrap().expect("the blob is there");
            let mut found = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut file, &mut found).await.unwrap();
            assert!(&found == bytes, "{did}: blob {cid}");
        }
    }

    async fn stored_log(&self) -> Vec<(i64, Bytes)> {
        let stored = self.app.store.read(|db| repo_seq::list_after(db, 0, usize::MAX, usize::MAX)).await;
        stored.unwrap_or_else(|error: StoreError| panic!("{error}"))
    }

    async fn check_everything(&self) {
        for account in &self.accounts {
            self.check(account).await;
        }
        self.log.check(self.stored_log().await);
    }

    /// Closes the store and opens it again, as a restart does. Readers come back with their cursors.
    async fn reopen(&mut self) {
        let cursors: Vec<i64> = self.readers.drain(..).map(|reader| reader.cursor).collect();
        self.app.close().await;
        self.app = open(self.dir.path(), &self.now, &self.entropy).await;
        self.log.pruned_below = 0;
        for cursor in cursors {
            self.subscribe(Some(cursor)).await;
        }
    }

    async fn subscribe(&mut self, cursor: Option<i64>) {
        let started = Reader::start(&self.app.firehose, cursor, &self.log, self.now()).await;
        self.readers.extend(started);
    }
}
