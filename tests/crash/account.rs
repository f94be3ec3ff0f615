//! Accounts as their writer knows them, and whether the server still agrees after it was killed.

use std::collections::BTreeMap;

use atproto::{
    crypto::PublicKey,
    data::{Cid, Value, cbor, cid},
    identity::DidDocument,
    syntax::{Did, Tid},
};
use serde_json::{Value as Json, json};

use crate::{
    consumer::{Audit, Watching},
    server::{Client, Gone},
    whole_repo::{Records, open_whole},
};

pub const PASSWORD: &str = "correct horse battery staple";

/// One account: what was acknowledged, and what was asked for last without an answer.
pub struct Account {
    pub did: String,
    pub token: String,
    pub key: PublicKey,
    pub is_active: bool,
    pub records: Records,
    /// Bytes of the blobs that records refer to.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Commits acknowledged since the last look.
    pub acknowledged: Vec<(Tid, Cid)>,
    pub unanswered: Option<Unanswered>,
}

/// What the state is if a request that got no answer was carried out. It is that, or as if nothing had been asked.
pub enum Unanswered {
    Records(Records),
    /// A new record whose key the server chooses.
    Record {
        collection: &'static str,
        block: Vec<u8>,
    },
    Active(bool),
}

impl Account {
    /// The account that signed up, from the answer.
    pub async fn of(client: &Client, session: &Json) -> Result<Account, Gone> {
        let text = |field: &str| session[field].as_str().unwrap().to_owned();
        let (did, token) = (text("did"), text("accessJwt"));
        let described =
            client.get("com.atproto.repo.describeRepo", &format!("repo={did}"), None).await?.json();
        let document = DidDocument::from_json(described["didDoc"].clone()).unwrap();
        let key = document.signing_key().unwrap().unwrap();
        let (records, blobs) = (Records::new(), BTreeMap::new());
        let (acknowledged, unanswered) = (Vec::new(), None);
        Ok(Account { did, token, key, is_active: true, records, blobs, acknowledged, unanswered })
    }

    /// Notes what was answered: the records now and the commit that made them.
    pub fn answered(&mut self, records: Records, commit: &Json) {
        let rev = Tid::parse(commit["rev"].as_str().unwrap()).unwrap();
        self.acknowledged.push((rev, commit["cid"].as_str().unwrap().parse().unwrap()));
        self.set_records(records);
    }

    /// Blobs that no record refers to any more are nobody's.
    pub fn set_records(&mut self, records: Records) {
        self.records = records;
        let referred = referred_blobs(&self.records);
        self.blobs.retain(|cid, _| referred.contains(cid));
    }

    /// Compares with a server that has just started. Nothing else writes, and the audit has followed all events.
    pub async fn check(&mut self, client: &Client, watching: &Watching) {
        self.check_status(client, watching).await;
        let did = &self.did.clone();
        let query = format!("did={did}");
        let car = client.get("com.atproto.sync.getRepo", &query, Some(&self.token)).await.unwrap().bytes();
        let (head, records) = open_whole(&car, did, &self.key);

        match self.unanswered.take() {
            Some(Unanswered::Records(after)) if records == after => self.set_records(after),
            Some(Unanswered::Record { collection, block }) if records.len() > self.records.len() => {
                let is_new = |path: &&String| !self.records.contains_key(*path);
                let new: Vec<&String> = records.keys().filter(is_new).collect();
                let [path] = new[..] else { panic!("{did}: {new:?} are new") };
                assert!(path.starts_with(&format!("{collection}/")), "{did}: {path}");
                assert!(records[path] == block, "{did}: {path} holds something else");
                self.records.insert(path.clone(), block);
            }
            _ => {}
        }
        // An upload whose record did not come to be is nobody's.
        let settled = std::mem::take(&mut self.records);
        self.set_records(settled);
        let paths = |records: &Records| records.keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            paths(&records),
            paths(&self.records),
            "{did}: records that are there, and that should be"
        );
        assert!(records == self.records, "{did}: a record is not what was written");

        self.check_events(&mut watching.audit.lock().unwrap(), (head.rev, head.commit));
        self.check_blobs(client).await;
    }

    async fn check_status(&mut self, client: &Client, watching: &Watching) {
        let query = format!("did={}", self.did);
        let status = client.get("com.atproto.sync.getRepoStatus", &query, None).await.unwrap().json();
        let is_active = status["active"].as_bool().unwrap();
        match self.unanswered {
            Some(Unanswered::Active(wanted)) => {
                self.unanswered = None;
                assert!(is_active == wanted || is_active == self.is_active);
                self.is_active = is_active;
            }
            _ => assert_eq!(is_active, self.is_active, "{}: its status", self.did),
        }
        let told = watching.audit.lock().unwrap().active.get(&self.did).copied();
        assert_eq!(told, Some(is_active), "{}: what events say of its status", self.did);
    }

    /// Events have told exactly this state, and each acknowledged commit.
    fn check_events(&mut self, audit: &mut Audit, head: (Tid, Cid)) {
        let did = &self.did;
        for commit in audit.unchecked.remove(did).unwrap_or_default() {
            atproto::repo::verify_commit_event(&commit, Some(&self.key)).unwrap();
        }
        for (rev, commit) in self.acknowledged.drain(..) {
            assert!(
                audit.announced.contains(&(did.clone(), rev, commit)),
                "{did}: {rev} was acknowledged and not announced"
            );
        }
        audit.announced.retain(|(whose, _, _)| whose != did);
        let replica = audit.replicas.get_mut(did).unwrap();
        // What is imported while the account is at rest is announced when it is activated.
        if !self.is_active && replica.rev < head.0 {
            return;
        }
        assert_eq!((replica.rev, replica.commit), head, "{did}: the last event and the head");
        let cids: BTreeMap<String, Cid> =
            self.records.iter().map(|(path, block)| (path.clone(), cid::for_cbor(block))).collect();
        match &replica.records {
            Some(records) => assert_eq!(records, &cids, "{did}: what events add up to"),
            None => replica.records = Some(cids),
        }
    }

    async fn check_blobs(&self, client: &Client) {
        let did = &self.did;
        assert_eq!(referred_blobs(&self.records), self.blobs.keys().cloned().collect::<Vec<_>>());
        for (cid, bytes) in &self.blobs {
            let query = format!("did={did}&cid={cid}");
            let found =
                client.get("com.atproto.sync.getBlob", &query, Some(&self.token)).await.unwrap().bytes();
            assert!(&found == bytes, "{did}: blob {cid} has other bytes");
        }
        let missing =
            client.get("com.atproto.repo.listMissingBlobs", "", Some(&self.token)).await.unwrap().json();
        assert_eq!(missing["blobs"], json!([]), "{did}");
    }
}

/// CIDs of the blobs that records refer to, in order.
pub fn referred_blobs(records: &Records) -> Vec<String> {
    let blob_of = |block: &Vec<u8>| {
        let record = cbor::decode(block).unwrap();
        record.get("blob")?.get("ref").and_then(Value::as_link).map(Cid::to_string)
    };
    let mut cids: Vec<String> = records.values().filter_map(blob_of).collect();
    cids.sort();
    cids
}

/// A sign-up without an answer: the account is whole, or there is nothing of it. Returns it when it is there.
pub async fn check_sign_up(client: &Client, watching: &Watching, handle: &str) -> Option<Account> {
    let input = json!({ "identifier": handle, "password": PASSWORD });
    let reply = client.post("com.atproto.server.createSession", &input, None).await.unwrap();
    if reply.status == 401 {
        let audit = watching.audit.lock().unwrap();
        assert!(!audit.handles.contains_key(handle), "{handle} was announced and is not here");
        return None;
    }
    let account = Account::of(client, &reply.json()).await.unwrap();
    assert!(Did::parse(&account.did).is_ok());
    assert_eq!(watching.audit.lock().unwrap().handles.get(handle), Some(&account.did), "{handle}");
    Some(account)
}
