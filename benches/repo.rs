//! What importing and exporting a repository and writing to it cost through the real service and its database:
//! `cargo bench --bench repo`.
//!
//! The database is a file in a temporary directory ($TMPDIR decides on which disk). Not for: HTTP and memory; see
//! `benches/memory.sh`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the order by CID is for the example alone")]
#[path = "../examples/make_repo/generate.rs"]
mod generate;

use std::{
    hint::black_box,
    io::Cursor,
    time::{Duration, Instant},
};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{Map, Value},
    syntax::{Did, Nsid},
};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use generate::{BlockOrder, Repo, did_from};
use rookery::{
    app::{App, AppConfig, Settings},
    service::repo::{
        import::ImportOptions,
        write::{Validation, Write, WriteRequest},
    },
    store::{
        StoreError, StoreOptions,
        account::{self, Account, NewAccount},
        signing_key,
    },
    time::{Clock, Entropy},
};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

const SIZES: [u64; 2] = [10_000, 100_000];

/// The services over a temporary store.
struct Server {
    runtime: Runtime,
    app: App,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        // Nothing listens there; imports do without the key of the DID document.
        let did = Did::parse("did:web:localhost").unwrap();
        let settings = Settings::sandbox("http://localhost:1", did, "http://localhost:1");
        let built = runtime.block_on(App::build(AppConfig {
            settings,
            store: StoreOptions::at(dir.path()),
            master_key: Zeroizing::new([7; 32]),
            admin_password: Zeroizing::default(),
            clock: Clock::system(),
            entropy: Entropy::system(),
        }));
        Server { runtime, app: built.unwrap(), _dir: dir }
    }

    /// An active account without a repository.
    fn account(&self, did: &Did) -> Account {
        let key = self.app.keys.generate().unwrap();
        let sealed = self.app.keys.seal(&key).unwrap();
        let new = NewAccount {
            did: did.clone(),
            handle: None,
            email: None,
            password_hash: None,
            deactivated_at: None,
        };
        let inserted = self.app.store.write(move |tx| {
            let id = account::insert(tx, &new, tx.now())
                .map_err(|error| StoreError::Migrate(error.to_string()))?;
            signing_key::insert(tx, id, &key.public_key().did_key(), &sealed)
        });
        self.runtime.block_on(inserted).unwrap();
        self.find(did)
    }

    fn find(&self, did: &Did) -> Account {
        let did = did.clone();
        let found = self.app.store.read::<_, StoreError, _>(move |db| account::get_by_did(db, &did));
        self.runtime.block_on(found).unwrap().unwrap()
    }

    fn import(&self, account: &Account, car: &[u8]) {
        let options = ImportOptions { bytes_max: 1 << 30, known_key: None, progress: Box::new(|_| ()) };
        let source = Cursor::new(car.to_vec());
        self.runtime.block_on(self.app.repos.import(account, source, options)).unwrap();
    }

    /// Bytes of the CAR.
    fn export(&self, account: &Account) -> usize {
        self.runtime.block_on(async {
            let mut chunks = self.app.repos.export(account.repo_id.unwrap(), None, None).await.unwrap();
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                bytes += black_box(chunk.unwrap()).len();
            }
            bytes
        })
    }

    fn create_post(&self, account: &Account) {
        let text = |text: &str| Value::String(text.into());
        let record = Map::from_entries(vec![
            ("$type".into(), text("app.bsky.feed.post")),
            ("createdAt".into(), text("2026-01-02T03:04:05.678Z")),
            ("text".into(), text("Hello from my own server")),
        ]);
        let write = Write::Create {
            collection: Nsid::parse("app.bsky.feed.post").unwrap(),
            rkey: None,
            record: Value::Map(record.unwrap()),
            replace_duplicates: true,
        };
        let request =
            WriteRequest { writes: vec![write], validation: Validation::Required, swap_commit: None };
        self.runtime.block_on(self.app.repos.apply_writes(&account.did, request)).unwrap();
    }
}

fn repo(c: &mut Criterion) {
    let key = SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap();
    for size in SIZES {
        let mut car = Vec::new();
        let did = did_from(&size.to_be_bytes()).unwrap();
        Repo::generate(did.clone(), size, &key).unwrap().write(BlockOrder::PreOrder, &mut car).unwrap();

        let mut group = c.benchmark_group("repo");
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::new("import", size), |b| {
            b.iter_custom(|n| {
                // Each into a server of its own: none waits for the removal of what it replaced.
                let imports = (0..n).map(|_| {
                    let server = Server::start();
                    let account = server.account(&did);
                    let start = Instant::now();
                    server.import(&account, &car);
                    start.elapsed()
                });
                imports.sum()
            });
        });
        let server = Server::start();
        server.import(&server.account(&did), &car);
        let account = server.find(&did);
        group.bench_function(BenchmarkId::new("export", size), |b| b.iter(|| server.export(&account)));
        group.finish();
        // Until it is on the disk, its event among it.
        let mut group = c.benchmark_group("create_record");
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| server.create_post(&account)));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = repo
}
criterion_main!(benches);
