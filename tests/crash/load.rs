//! The load: each writer has accounts of its own and does one thing after the other, until the server is gone.

use atproto::{
    crypto::{Curve, SigningKey},
    data::cid,
    syntax::Tid,
};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use crate::{
    account::{Account, PASSWORD, Unanswered},
    random::Random,
    server::{Client, Gone, Reply},
    whole_repo::{Records, car_of, encode},
};

/// `-` sorts before `/`: order by path is not order by collection.
const COLLECTIONS: [&str; 3] = ["com.example.note", "com.example.notes", "com.example-x.note"];
const CAR_MIME_TYPE: &str = "application/vnd.ipld.car";
const KEYS: usize = 30;
const BLOBS_MAX: usize = 4;
/// Largest blob, in bytes: several chunks of a request body.
const BLOB_BYTES_MAX: usize = 100_000;

/// Writes to its accounts. `n_answers` counts what all writers were answered.
pub struct Writer {
    pub client: Client,
    pub accounts: Vec<Account>,
    pub random: Random,
    pub n_answers: watch::Sender<u64>,
}

impl Writer {
    /// Writes until the server is gone; returns its accounts.
    pub async fn run(mut self) -> Vec<Account> {
        loop {
            let at = self.random.below(self.accounts.len());
            let mut account = self.accounts.swap_remove(at);
            let done = self.act(&mut account).await;
            self.accounts.push(account);
            match done {
                Ok(()) => self.n_answers.send_modify(|n| *n += 1),
                Err(Gone) => return self.accounts,
            }
        }
    }

    async fn act(&mut self, account: &mut Account) -> Result<(), Gone> {
        if !account.is_active {
            return match self.random.below(3) {
                0 => self.refused_write(account).await,
                1 => self.import(account).await,
                _ => self.set_active(account, true).await,
            };
        }
        let (paths, n) = (account.records.len(), self.random.below(100));
        match n {
            0..40 if paths < KEYS => self.create(account).await,
            0..40 => self.delete(account).await,
            40..50 => self.create_anywhere(account).await,
            50..63 => self.put(account).await,
            63..73 => self.delete(account).await,
            73..84 => self.apply_writes(account).await,
            84..94 => self.upload_and_refer(account).await,
            94..97 => self.import(account).await,
            _ => self.set_active(account, false).await,
        }
    }

    fn record(&mut self, collection: &str) -> Json {
        let text = format!("{:x}", self.random.next());
        json!({ "$type": collection, "text": text.repeat(1 + self.random.below(20)) })
    }

    fn free_path(&mut self, records: &Records) -> (&'static str, String) {
        loop {
            let (collection, rkey) =
                (*self.random.pick(&COLLECTIONS), format!("k{}", self.random.next() % 1000));
            if !records.contains_key(&format!("{collection}/{rkey}")) {
                return (collection, rkey);
            }
        }
    }

    async fn create(&mut self, account: &mut Account) -> Result<(), Gone> {
        let (collection, rkey) = self.free_path(&account.records);
        let record = self.record(collection);
        let mut after = account.records.clone();
        after.insert(format!("{collection}/{rkey}"), encode(&record));
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey, "record": record });
        self.change("com.atproto.repo.createRecord", account, after, &input).await
    }

    async fn create_anywhere(&mut self, account: &mut Account) -> Result<(), Gone> {
        let collection = *self.random.pick(&COLLECTIONS);
        let record = self.record(collection);
        let block = encode(&record);
        let input = json!({ "repo": account.did, "collection": collection, "record": record });
        account.unanswered = Some(Unanswered::Record { collection, block: block.clone() });
        let token = Some(account.token.as_str());
        let output = self.client.post("com.atproto.repo.createRecord", &input, token).await?.json();
        account.unanswered = None;
        let path = output["uri"].as_str().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
        let mut after = account.records.clone();
        after.insert(path, block);
        account.answered(after, &output["commit"]);
        Ok(())
    }

    async fn put(&mut self, account: &mut Account) -> Result<(), Gone> {
        let path = match account.records.keys().nth(self.random.below(KEYS)) {
            Some(path) => path.clone(),
            None => return self.create(account).await,
        };
        let (collection, rkey) = path.split_once('/').unwrap();
        let record = self.record(collection);
        let mut after = account.records.clone();
        after.insert(path.clone(), encode(&record));
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey, "record": record });
        self.change("com.atproto.repo.putRecord", account, after, &input).await
    }

    async fn delete(&mut self, account: &mut Account) -> Result<(), Gone> {
        if account.records.is_empty() {
            return self.create(account).await;
        }
        let path = account.records.keys().nth(self.random.below(account.records.len())).unwrap().clone();
        let (collection, rkey) = path.split_once('/').unwrap();
        let mut after = account.records.clone();
        after.remove(&path);
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey });
        self.change("com.atproto.repo.deleteRecord", account, after, &input).await
    }

    async fn apply_writes(&mut self, account: &mut Account) -> Result<(), Gone> {
        let (mut after, mut writes) = (account.records.clone(), Vec::new());
        for _ in 0..2 + self.random.below(10) {
            let kind = |kind: &str| format!("com.atproto.repo.applyWrites#{kind}");
            if self.random.one_in(2) || account.records.is_empty() {
                let (collection, rkey) = self.free_path(&after);
                let value = self.record(collection);
                after.insert(format!("{collection}/{rkey}"), encode(&value));
                writes.push(json!({ "$type": kind("create"), "collection": collection, "rkey": rkey, "value": value }));
                continue;
            }
            let path = account.records.keys().nth(self.random.below(account.records.len())).unwrap().clone();
            let (collection, rkey) = path.split_once('/').unwrap();
            if !after.contains_key(&path) {
                continue;
            }
            if self.random.one_in(2) {
                after.remove(&path);
                writes.push(json!({ "$type": kind("delete"), "collection": collection, "rkey": rkey }));
            } else {
                let value = self.record(collection);
                after.insert(path.clone(), encode(&value));
                writes.push(json!({ "$type": kind("update"), "collection": collection, "rkey": rkey, "value": value }));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let input = json!({ "repo": account.did, "writes": writes });
        self.change("com.atproto.repo.applyWrites", account, after, &input).await
    }

    async fn upload_and_refer(&mut self, account: &mut Account) -> Result<(), Gone> {
        if account.blobs.len() >= BLOBS_MAX {
            return self.delete(account).await;
        }
        let size = 1 + self.random.below(BLOB_BYTES_MAX);
        let bytes = self.random.bytes(size);
        let mime = "application/octet-stream";
        let reply =
            self.client.upload("com.atproto.repo.uploadBlob", mime, bytes.clone(), &account.token).await?;
        let blob = reply.json()["blob"].clone();
        let (collection, rkey) = self.free_path(&account.records);
        let mut record = self.record(collection);
        record["blob"] = blob.clone();
        let mut after = account.records.clone();
        after.insert(format!("{collection}/{rkey}"), encode(&record));
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey, "record": record });
        // Kept also without an answer: the next look at the records tells whether one refers to it.
        account.blobs.insert(blob["ref"]["$link"].as_str().unwrap().to_owned(), bytes);
        self.change("com.atproto.repo.createRecord", account, after, &input).await
    }

    /// Another server's copy: some records less, some more.
    async fn import(&mut self, account: &mut Account) -> Result<(), Gone> {
        let mut after = account.records.clone();
        after.retain(|_, _| !self.random.one_in(4));
        for _ in 0..self.random.below(8) {
            let (collection, rkey) = self.free_path(&after);
            let record = self.record(collection);
            after.insert(format!("{collection}/{rkey}"), encode(&record));
        }
        let key = SigningKey::from_bytes(Curve::P256, &[3; 32]).unwrap();
        let car = car_of(&account.did, Tid::from_parts(1_600_000_000_000_000, 3), &after, &key);
        account.unanswered = Some(Unanswered::Records(after.clone()));
        let reply =
            self.client.upload("com.atproto.repo.importRepo", CAR_MIME_TYPE, car, &account.token).await?;
        account.unanswered = None;
        if is_busy(&reply) {
            return Ok(());
        }
        reply.bytes();
        account.set_records(after);
        Ok(())
    }

    async fn set_active(&mut self, account: &mut Account, is_active: bool) -> Result<(), Gone> {
        let (nsid, input) = match is_active {
            true => ("com.atproto.server.activateAccount", Json::Null),
            false => ("com.atproto.server.deactivateAccount", json!({})),
        };
        account.unanswered = Some(Unanswered::Active(is_active));
        self.client.post(nsid, &input, Some(&account.token)).await?.bytes();
        account.unanswered = None;
        account.is_active = is_active;
        Ok(())
    }

    async fn refused_write(&mut self, account: &mut Account) -> Result<(), Gone> {
        let record = self.record(COLLECTIONS[0]);
        let input = json!({ "repo": account.did, "collection": COLLECTIONS[0], "record": record });
        let reply = self.client.post("com.atproto.repo.createRecord", &input, Some(&account.token)).await?;
        assert_eq!(reply.error().as_deref(), Some("AccountDeactivated"), "{}", reply.status);
        Ok(())
    }

    /// One write that makes `after` of the records, or is not answered.
    async fn change(
        &mut self,
        nsid: &str,
        account: &mut Account,
        after: Records,
        input: &Json,
    ) -> Result<(), Gone> {
        let is_change = cids(&after) != cids(&account.records);
        account.unanswered = Some(Unanswered::Records(after.clone()));
        let output = self.client.post(nsid, input, Some(&account.token)).await?.json();
        account.unanswered = None;
        assert!(is_change && output["commit"].is_object(), "{nsid} made no commit: {output}");
        account.answered(after, &output["commit"]);
        Ok(())
    }
}

fn cids(records: &Records) -> Vec<(&String, atproto::data::Cid)> {
    records.iter().map(|(path, block)| (path, cid::for_cbor(block))).collect()
}

/// As many imports as the server takes are running.
fn is_busy(reply: &Reply) -> bool {
    reply.status == 503
}

/// Signs up under the handle; the account, or `Err` when the server is gone before the answer.
pub async fn sign_up(client: &Client, handle: &str) -> Result<Account, Gone> {
    let email = format!("{}@example.com", handle.trim_end_matches(".test"));
    let input = json!({ "handle": handle, "email": email, "password": PASSWORD });
    let session = client.post("com.atproto.server.createAccount", &input, None).await?.json();
    Account::of(client, &session).await
}
