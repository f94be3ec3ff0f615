//! What may happen, and what it does to the model.

use std::{io::Cursor, sync::atomic::Ordering};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{cid, json},
    syntax::{Did, Handle, Nsid, RecordKey, Tid},
};
use futures::{future::join_all, stream};
use rookery::{
    service::{
        account::{create::SignUp, handle_policy::Asker, status::StatusError},
        repo::{
            import::{ImportError, ImportOptions},
            write::{Swap, Validation, Write, WriteError, WriteRequest},
        },
    },
    store::account::Account as StoredAccount,
    time::SECOND,
};
use serde_json::{Value as Json, json};

use crate::{
    Simulation,
    log::Kind,
    subscriber::Cut,
    whole_repo::{Records, car_of, encode},
    world::Account,
};

/// `-` sorts before `/`: order by path is not order by collection.
const COLLECTIONS: [&str; 3] = ["com.example.note", "com.example.notes", "com.example-x.note"];
const KEYS: i64 = 25;
const ACCOUNTS_MAX: usize = 6;
const READERS_MAX: usize = 6;
const BLOBS_MAX: usize = 3;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

const ACTIVE: Kind = Kind::Account { active: true };
const INACTIVE: Kind = Kind::Account { active: false };

impl Simulation {
    pub(crate) async fn step(&mut self) {
        if self.accounts.is_empty() {
            return self.sign_up().await;
        }
        match self.random.below(100) {
            0..26 => self.write().await,
            26..31 => self.write_at_once().await,
            31..36 => self.upload_and_refer().await,
            36..40 => self.import().await,
            40..43 => self.sign_up().await,
            43..45 => self.delete().await,
            45..47 => self.purge().await,
            47..50 => self.take_down_or_let_up().await,
            50..54 => self.deactivate().await,
            54..58 => self.activate().await,
            58..60 => self.delete_due().await,
            60..68 => self.move_clock().await,
            68..71 => self.prune().await,
            71..73 => drop(self.app.blobs.sweep().await.unwrap()),
            73..75 => {
                self.note("reopen".into());
                self.reopen().await;
            }
            75..81 => self.come_or_go().await,
            _ => self.read().await,
        }
    }

    fn pick(&mut self) -> usize {
        self.random.below(self.accounts.len())
    }

    async fn stored(&self, at: usize) -> StoredAccount {
        self.app.accounts.find(&self.accounts[at].did).await.unwrap().unwrap()
    }

    fn record(&mut self, collection: &str) -> Json {
        // Few texts: the same record stands at several paths.
        let text = format!("{}", self.random.below(5));
        json!({ "$type": collection, "text": text.repeat(1 + self.random.below(300)) })
    }

    /// Writes, valid or not, and the records after them; `None` when they have to be refused.
    fn draw_writes(&mut self, at: usize) -> (Vec<Write>, Option<Records>) {
        let mut after = Some(self.accounts[at].records.clone());
        let mut writes = Vec::new();
        let n = if self.random.one_in(3) { 2 + self.random.below(12) } else { 1 };
        for _ in 0..n {
            let (name, key) = (*self.random.pick(&COLLECTIONS), format!("k{}", self.random.between(0, KEYS)));
            let (collection, rkey) = (Nsid::parse(name).unwrap(), RecordKey::parse(&key).unwrap());
            let path = format!("{name}/{key}");
            let value = self.record(name);
            let record = json::from_json(&value).unwrap();
            let is_there = after.as_ref().is_some_and(|after| after.contains_key(&path));
            let is_wrong = self.random.one_in(40);
            let write = match self.random.below(4) {
                // One time in forty the other way round: a create where there is something, an update of nothing.
                0 | 1 if is_there == is_wrong => {
                    Write::Create { collection, rkey: Some(rkey), record, replace_duplicates: true }
                }
                0 | 1 => Write::Update { collection, rkey, record },
                2 => Write::Put { collection, rkey, record, swap_record: Swap::Any },
                _ => Write::Delete { collection, rkey, must_exist: is_wrong, swap_record: Swap::Any },
            };
            after = after.and_then(|mut after| {
                match &write {
                    Write::Create { .. } if is_there => return None,
                    Write::Update { .. } if !is_there => return None,
                    Write::Delete { must_exist: true, .. } if !is_there => return None,
                    Write::Delete { .. } => drop(after.remove(&path)),
                    _ => drop(after.insert(path, encode(&value))),
                }
                Some(after)
            });
            writes.push(write);
        }
        (writes, after)
    }

    async fn write(&mut self) {
        let at = self.pick();
        let (writes, after) = self.draw_writes(at);
        self.note(format!("{} writes to {}", writes.len(), self.accounts[at].handle));
        let account = self.stored(at).await;
        let request = WriteRequest { writes, validation: Validation::Skip, swap_commit: None };
        let outcome = self.app.repos.apply_writes(&account.did, request).await;
        let commits = match outcome {
            Ok(applied) => {
                assert!(self.accounts[at].is_active());
                self.accounts[at].set_records(after.expect("what was wrong with it was not seen"));
                applied.commit.map(|_| (account.did.clone(), Kind::Commit))
            }
            Err(WriteError::Inactive(_)) => {
                assert!(!self.accounts[at].is_active());
                None
            }
            Err(WriteError::Invalid(problem)) => {
                assert!(after.is_none(), "{problem}");
                None
            }
            Err(error) => panic!("{error}"),
        };
        self.expect(commits.into_iter().collect()).await;
        self.check(&self.accounts[at]).await;
    }

    /// One write to each active account, all of them waiting for the writer together.
    async fn write_at_once(&mut self) {
        self.note("a write to each account at once".into());
        let (mut requests, mut afters) = (Vec::new(), Vec::new());
        for at in 0..self.accounts.len() {
            let account = self.stored(at).await;
            let (name, key) = (*self.random.pick(&COLLECTIONS), format!("k{}", self.random.between(0, KEYS)));
            let value = self.record(name);
            let write = Write::Put {
                collection: Nsid::parse(name).unwrap(),
                rkey: RecordKey::parse(&key).unwrap(),
                record: json::from_json(&value).unwrap(),
                swap_record: Swap::Any,
            };
            let request =
                WriteRequest { writes: vec![write], validation: Validation::Skip, swap_commit: None };
            let repos = self.app.repos.clone();
            // Opened before, so that requests reach the writer in this order.
            self.app.keys.signing_key(&account.did).await.unwrap();
            requests.push(async move { repos.apply_writes(&account.did, request).await });
            let mut after = self.accounts[at].records.clone();
            after.insert(format!("{name}/{key}"), encode(&value));
            afters.push(after);
        }
        let mut expected = Vec::new();
        for (at, (outcome, after)) in join_all(requests).await.into_iter().zip(afters).enumerate() {
            let account = &mut self.accounts[at];
            match outcome {
                Ok(applied) => {
                    assert!(account.is_active());
                    account.set_records(after);
                    expected.extend(applied.commit.map(|_| (account.did.clone(), Kind::Commit)));
                }
                Err(WriteError::Inactive(_)) => assert!(!account.is_active()),
                Err(error) => panic!("{error}"),
            }
        }
        self.expect(expected).await;
        for account in &self.accounts {
            self.check(account).await;
        }
    }

    async fn upload_and_refer(&mut self) {
        let at = self.pick();
        if self.accounts[at].blobs.len() >= BLOBS_MAX || !self.accounts[at].is_active() {
            return;
        }
        self.note(format!("a blob for {}", self.accounts[at].handle));
        let size = 1 + self.random.below(20_000);
        let bytes = self.random.bytes(size);
        let account = self.stored(at).await;
        let body = stream::iter([Ok::<_, std::io::Error>(bytes.clone().into())]);
        let mime = Some("application/octet-stream");
        let blob = self.app.blobs.upload(account.id, mime, Some(size as u64), body).await.unwrap();
        let blob_cid = cid::for_raw(&bytes);
        let (name, key) = (COLLECTIONS[0], format!("b{}", self.random.between(0, KEYS)));
        let reference = json!({ "$type": "blob", "ref": { "$link": blob_cid.to_string() }, "mimeType": blob.mime_type, "size": size });
        let value = json!({ "$type": name, "blob": reference });
        let write = Write::Put {
            collection: Nsid::parse(name).unwrap(),
            rkey: RecordKey::parse(&key).unwrap(),
            record: json::from_json(&value).unwrap(),
            swap_record: Swap::Any,
        };
        let request = WriteRequest { writes: vec![write], validation: Validation::Skip, swap_commit: None };
        self.app.repos.apply_writes(&account.did, request).await.unwrap();
        let mut after = self.accounts[at].records.clone();
        after.insert(format!("{name}/{key}"), encode(&value));
        self.accounts[at].blobs.insert(blob_cid, bytes);
        self.accounts[at].set_records(after);
        self.expect(vec![(account.did, Kind::Commit)]).await;
        self.check(&self.accounts[at]).await;
    }

    async fn import(&mut self) {
        let at = self.pick();
        let mut after = self.accounts[at].records.clone();
        after.retain(|_, _| !self.random.one_in(3));
        for _ in 0..self.random.below(10) {
            let (name, key) = (*self.random.pick(&COLLECTIONS), format!("k{}", self.random.between(0, KEYS)));
            let value = self.record(name);
            after.insert(format!("{name}/{key}"), encode(&value));
        }
        self.note(format!("{} imports {} records", self.accounts[at].handle, after.len()));
        let key = SigningKey::from_bytes(Curve::P256, &[3; 32]).unwrap();
        // Of any time, also one that has not come yet.
        let at_micros = u64::try_from(self.now() + self.random.between(-1000, 48) * HOUR).unwrap();
        let car = car_of(self.accounts[at].did.as_str(), Tid::from_parts(at_micros, 5), &after, &key);
        let options = ImportOptions { bytes_max: 10_000_000, known_key: None, progress: Box::new(|_| ()) };
        let account = self.stored(at).await;
        let mut expected = Vec::new();
        match self.app.repos.import(&account, Cursor::new(car), options).await {
            Ok(_) => {
                assert!(!self.accounts[at].is_taken_down);
                self.accounts[at].set_records(after);
                if self.accounts[at].is_active() {
                    expected.push((account.did, Kind::Sync));
                }
            }
            Err(ImportError::Takendown) => assert!(self.accounts[at].is_taken_down),
            Err(error) => panic!("{error}"),
        }
        self.expect(expected).await;
        self.check(&self.accounts[at]).await;
    }

    async fn sign_up(&mut self) {
        if self.accounts.len() >= ACCOUNTS_MAX {
            return;
        }
        // Few names: a DID that was deleted comes back.
        let name = format!("user{}.test", self.random.below(ACCOUNTS_MAX + 2));
        if self.accounts.iter().any(|account| account.handle == name) {
            return;
        }
        self.note(format!("sign up {name}"));
        let sign_up = SignUp {
            handle: Handle::parse(&name).unwrap(),
            email: None,
            password: None,
            invite_code: None,
            recovery_key: None,
            asker: Asker::Operator,
        };
        let account = self.app.accounts.sign_up_hosted(sign_up).await.unwrap().account;
        let did = account.did;
        let key = self.app.keys.signing_key(&did).await.unwrap().public_key();
        self.accounts.push(Account {
            did: did.clone(),
            handle: name,
            key,
            records: Records::new(),
            blobs: Default::default(),
            is_deactivated: false,
            delete_after: None,
            is_taken_down: false,
        });
        let said = [Kind::Identity, ACTIVE, Kind::Commit, Kind::Sync];
        self.expect(said.map(|kind| (did.clone(), kind)).to_vec()).await;
        self.check(self.accounts.last().unwrap()).await;
    }

    async fn delete(&mut self) {
        let at = self.pick();
        self.note(format!("delete {}", self.accounts[at].handle));
        let did = self.accounts[at].did.clone();
        self.app.accounts.delete(&did).await.unwrap();
        self.gone(vec![did]).await;
    }

    /// Accounts have been deleted: only that is left of what was said of them.
    async fn gone(&mut self, dids: Vec<Did>) {
        self.expect(dids.iter().map(|did| (did.clone(), INACTIVE)).collect()).await;
        for did in dids {
            self.log.doom(did.as_str());
            self.accounts.retain(|account| account.did != did);
            assert!(self.app.accounts.find(&did).await.unwrap().is_none());
        }
    }

    async fn purge(&mut self) {
        self.note("purge".into());
        self.app.accounts.purge_deleted().await.unwrap();
        self.log.purge();
        self.log.check(self.stored_log().await);
    }

    async fn take_down_or_let_up(&mut self) {
        let at = self.pick();
        let account = &mut self.accounts[at];
        account.is_taken_down = !account.is_taken_down;
        let (did, active) = (account.did.clone(), account.is_active());
        let takedown_ref = account.is_taken_down.then(|| "test".to_owned());
        let step = format!("{} takedown: {takedown_ref:?}", account.handle);
        self.note(step);
        self.app.accounts.set_takedown(&did, takedown_ref).await.unwrap();
        self.expect(vec![(did, Kind::Account { active })]).await;
    }

    async fn deactivate(&mut self) {
        let at = self.pick();
        let due = self.random.one_in(2).then(|| self.now() + self.random.between(0, 30) * HOUR);
        let step = format!("deactivate {} until {due:?}", self.accounts[at].handle);
        self.note(step);
        let did = self.accounts[at].did.clone();
        self.app.accounts.deactivate(&did, due).await.unwrap();
        self.accounts[at].is_deactivated = true;
        self.accounts[at].delete_after = due;
        self.expect(vec![(did, INACTIVE)]).await;
    }

    async fn activate(&mut self) {
        let at = self.pick();
        let step = format!("activate {}", self.accounts[at].handle);
        self.note(step);
        let did = self.accounts[at].did.clone();
        let expected = match self.app.accounts.activate(&did).await {
            Ok(_) => {
                assert!(!self.accounts[at].is_taken_down);
                self.accounts[at].is_deactivated = false;
                self.accounts[at].delete_after = None;
                [ACTIVE, Kind::Identity, Kind::Sync].map(|kind| (did.clone(), kind)).to_vec()
            }
            Err(StatusError::NoAccount) => {
                assert!(self.accounts[at].is_taken_down);
                Vec::new()
            }
            Err(error) => panic!("{error}"),
        };
        self.expect(expected).await;
        self.check(&self.accounts[at]).await;
    }

    async fn delete_due(&mut self) {
        self.note("delete accounts that are due".into());
        let now = self.now();
        let is_due =
            |account: &&Account| !account.is_taken_down && account.delete_after.is_some_and(|due| due <= now);
        let due: Vec<Did> = self.accounts.iter().filter(is_due).map(|account| account.did.clone()).collect();
        assert_eq!(self.app.accounts.delete_due().await.unwrap(), due.len());
        self.gone(due).await;
    }

    async fn move_clock(&mut self) {
        let by = match self.random.below(10) {
            0..5 => self.random.between(0, 5 * MINUTE),
            5..7 => self.random.between(0, 8 * HOUR),
            7 => self.random.between(20 * HOUR, 40 * HOUR),
            8 => -self.random.between(0, 10 * SECOND),
            _ => -self.random.between(0, 60 * HOUR),
        };
        self.now.fetch_add(by, Ordering::Relaxed);
        self.note(format!("the clock moves by {} s", by / SECOND));
    }

    async fn prune(&mut self) {
        self.note("prune".into());
        let (at_least, at_most) = self.log.prune(self.now());
        let pruned = self.app.firehose.prune().await.unwrap();
        assert!((at_least..=at_most).contains(&pruned), "{pruned} pruned, not {at_least} to {at_most}");
        self.log.check(self.stored_log().await);
    }

    async fn come_or_go(&mut self) {
        if self.readers.len() == READERS_MAX || (self.random.one_in(3) && !self.readers.is_empty()) {
            let at = self.random.below(self.readers.len());
            let reader = self.readers.swap_remove(at);
            self.cursors.push(reader.cursor);
            return;
        }
        let last = self.log.last_seq();
        let cursor = match self.random.below(6) {
            0 => None,
            1 => Some(0),
            2 => Some(self.random.between(0, last + 1)),
            3 => Some(last + self.random.between(-5, 3)),
            _ if self.cursors.is_empty() => Some(-1),
            _ => {
                let at = self.random.below(self.cursors.len());
                Some(self.cursors.swap_remove(at))
            }
        };
        self.note(format!("subscribe with {cursor:?}"));
        self.subscribe(cursor).await;
    }

    async fn read(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.random.below(self.readers.len());
        self.note(format!("read after {}", self.readers[at].cursor));
        if let Err(Cut) = self.readers[at].read(&self.log).await {
            let cursor = self.readers.swap_remove(at).cursor;
            self.subscribe(Some(cursor)).await;
        }
    }
}
