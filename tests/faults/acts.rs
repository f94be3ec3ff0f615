//! What is asked of the server while its disk fails: one act for each way in which something is written.

use atproto::{
    crypto::{Curve, SigningKey},
    syntax::Tid,
};
use serde_json::{Value as Json, json};

use crate::{
    faults::{ERRORS, Lasting},
    server::{Client, Reply},
    whole_repo::{Records, car_of, encode},
};

pub const PASSWORD: &str = "correct horse battery staple";
const NOTE: &str = "com.example.note";

/// A request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    CreateRecord,
    PutRecord,
    DeleteRecord,
    ApplyWrites,
    UploadBlob,
    ReferToBlob,
    ImportRepo,
    CreateAccount,
    UpdateHandle,
    CreateSession,
    RefreshSession,
    DeleteSession,
    CreateAppPassword,
    RevokeAppPassword,
    PutPreferences,
    Deactivate,
    Activate,
    TakeDown,
    GiveBack,
    ReserveSigningKey,
    CreateInviteCode,
    RequestAccountDelete,
    DeleteAccount,
}

impl Act {
    /// All, in an order in which each finds what it needs. Those that leave something to do in the background are last.
    pub const ALL: [Act; 23] = [
        Act::CreateRecord,
        Act::PutRecord,
        Act::DeleteRecord,
        Act::ApplyWrites,
        Act::UploadBlob,
        Act::ReferToBlob,
        Act::ImportRepo,
        Act::PutPreferences,
        Act::CreateAppPassword,
        Act::RevokeAppPassword,
        Act::CreateSession,
        Act::RefreshSession,
        Act::DeleteSession,
        Act::Deactivate,
        Act::Activate,
        Act::TakeDown,
        Act::GiveBack,
        Act::ReserveSigningKey,
        Act::CreateInviteCode,
        Act::RequestAccountDelete,
        Act::UpdateHandle,
        Act::CreateAccount,
        Act::DeleteAccount,
    ];

    /// A table that it changes.
    pub fn table(self) -> &'static str {
        match self {
            Act::CreateRecord | Act::PutRecord | Act::DeleteRecord | Act::ApplyWrites => "record",
            Act::UploadBlob => "blob",
            Act::ReferToBlob => "record_blob",
            Act::ImportRepo => "repo",
            Act::CreateSession | Act::RefreshSession | Act::DeleteSession => "refresh_token",
            Act::CreateAppPassword | Act::RevokeAppPassword => "app_password",
            Act::PutPreferences => "account_pref",
            Act::ReserveSigningKey => "reserved_signing_key",
            Act::CreateInviteCode => "invite_code",
            Act::RequestAccountDelete => "email_token",
            _ => "account",
        }
    }

    /// What its `nth` operation fails with and for how long: everything once, and one until lifted; less when each try
    /// takes long.
    pub fn faults(self, nth: u32) -> Vec<(u32, Lasting)> {
        let mut faults: Vec<_> = ERRORS.map(|error| (error, Lasting::Once)).into();
        faults.rotate_left(nth as usize % ERRORS.len());
        if matches!(self, Act::CreateSession | Act::CreateAccount) {
            faults.truncate(1);
        }
        faults.push((ERRORS[(nth as usize + 1) % ERRORS.len()], Lasting::UntilLifted));
        faults
    }

    /// Others are asked as well: the directory, which is on the same disk here and fails in its own words.
    pub fn asks_directory(self) -> bool {
        matches!(self, Act::CreateAccount | Act::UpdateHandle | Act::Activate)
    }
}

/// Someone who is signed in.
#[derive(Clone, Debug)]
pub struct Party {
    pub did: String,
    pub access: String,
}

impl Party {
    fn of(session: &Json) -> Party {
        let text = |field: &str| session[field].as_str().unwrap().to_owned();
        Party { did: text("did"), access: text("accessJwt") }
    }
}

/// Who acts, and what is there for it.
pub struct Stage {
    client: Client,
    n: usize,
    /// Writes.
    pub alice: Party,
    /// Is deactivated, renamed, taken down.
    pub bob: Party,
    /// Writes between the faults, to see that it goes on.
    pub carol: Party,
    doomed: Option<Party>,
    has_doomed_record: bool,
    has_app_password: bool,
    is_bob_active: bool,
    is_bob_down: bool,
    session: Option<String>,
    blob: Option<Json>,
}

impl Stage {
    pub async fn set(client: Client) -> Stage {
        let alice = sign_up(&client, "alice").await.unwrap();
        let bob = sign_up(&client, "bob").await.unwrap();
        let carol = sign_up(&client, "carol").await.unwrap();
        let (doomed, session, blob) = (None, None, None);
        let (has_doomed_record, has_app_password) = (false, false);
        let (is_bob_active, is_bob_down) = (true, false);
        Stage {
            client,
            n: 0,
            alice,
            bob,
            carol,
            doomed,
            has_doomed_record,
            has_app_password,
            is_bob_active,
            is_bob_down,
            session,
            blob,
        }
    }

    /// Sees to it that `act` finds what it needs. The disk works.
    pub async fn prepare(&mut self, act: Act) {
        self.n += 1;
        self.bring_bob(act).await;
        match act {
            Act::DeleteRecord if !self.has_doomed_record => {
                self.put_record(&self.alice, "doomed").await.json();
                self.has_doomed_record = true;
            }
            Act::ReferToBlob if self.blob.is_none() => {
                self.blob = Some(self.upload_blob().await.json()["blob"].clone());
            }
            Act::RefreshSession | Act::DeleteSession if self.session.is_none() => {
                let session = self.create_session().await.json();
                self.session = Some(session["refreshJwt"].as_str().unwrap().to_owned());
            }
            Act::RevokeAppPassword if !self.has_app_password => {
                self.app_password("create", "doomed").await.json();
                self.has_app_password = true;
            }
            Act::DeleteAccount if self.doomed.is_none() => {
                self.doomed = Some(sign_up(&self.client, &format!("doomed{}", self.n)).await.unwrap());
            }
            _ => {}
        }
    }

    /// Into the state in which `act` changes something.
    async fn bring_bob(&mut self, act: Act) {
        if self.is_bob_down != (act == Act::GiveBack) {
            let back = if self.is_bob_down { Act::GiveBack } else { Act::TakeDown };
            self.act(back).await.bytes();
        }
        if self.is_bob_active != (act != Act::Activate) {
            let back = if self.is_bob_active { Act::Deactivate } else { Act::Activate };
            self.act(back).await.bytes();
        }
    }

    /// Asks for it once.
    pub async fn act(&mut self, act: Act) -> Reply {
        let reply = self.ask(act).await;
        if reply.status != 200 {
            return reply;
        }
        match act {
            Act::DeleteRecord => self.has_doomed_record = false,
            Act::ReferToBlob => self.blob = None,
            Act::RefreshSession => {
                let session: Json = serde_json::from_slice(&reply.bytes).unwrap();
                self.session = Some(session["refreshJwt"].as_str().unwrap().to_owned());
            }
            Act::DeleteSession => self.session = None,
            Act::RevokeAppPassword => self.has_app_password = false,
            Act::DeleteAccount => self.doomed = None,
            Act::Deactivate | Act::Activate => self.is_bob_active = act == Act::Activate,
            Act::TakeDown | Act::GiveBack => self.is_bob_down = act == Act::TakeDown,
            _ => {}
        }
        reply
    }

    /// A write that has nothing to do with the faults.
    pub async fn write_as_carol(&mut self) -> Reply {
        self.n += 1;
        self.put_record(&self.carol, "self").await
    }

    /// The head of a repository, as everybody sees it.
    pub async fn head(&self, party: &Party) -> Reply {
        let query = format!("did={}", party.did);
        self.client.get("com.atproto.sync.getLatestCommit", &query, None).await.unwrap()
    }

    async fn ask(&self, act: Act) -> Reply {
        let (n, alice, bob, client) = (self.n, &self.alice, &self.bob, &self.client);
        let nsid = match act {
            Act::CreateRecord => {
                let input = json!({ "repo": alice.did, "collection": NOTE, "record": self.note() });
                return self.post("com.atproto.repo.createRecord", &input, &alice.access).await;
            }
            Act::PutRecord => return self.put_record(alice, "self").await,
            Act::DeleteRecord => {
                let input = json!({ "repo": alice.did, "collection": NOTE, "rkey": "doomed" });
                return self.post("com.atproto.repo.deleteRecord", &input, &alice.access).await;
            }
            Act::ApplyWrites => return self.apply_writes().await,
            Act::UploadBlob => return self.upload_blob().await,
            Act::ReferToBlob => {
                let record = json!({ "$type": NOTE, "text": "see", "blob": self.blob.as_ref().unwrap() });
                let input = json!({ "repo": alice.did, "collection": NOTE, "record": record });
                return self.post("com.atproto.repo.createRecord", &input, &alice.access).await;
            }
            Act::ImportRepo => return self.import().await,
            Act::CreateAccount => {
                let input = sign_up_input(&format!("new{n}"));
                return client.post("com.atproto.server.createAccount", &input, None).await.unwrap();
            }
            Act::UpdateHandle => {
                let input = json!({ "handle": format!("bob{n}.test") });
                return self.post("com.atproto.identity.updateHandle", &input, &bob.access).await;
            }
            Act::CreateSession => return self.create_session().await,
            Act::RefreshSession => "com.atproto.server.refreshSession",
            Act::DeleteSession => "com.atproto.server.deleteSession",
            Act::CreateAppPassword => return self.app_password("create", &format!("app{n}")).await,
            Act::RevokeAppPassword => return self.app_password("revoke", "doomed").await,
            Act::PutPreferences => {
                let preference =
                    json!({ "$type": "app.bsky.actor.defs#adultContentPref", "enabled": n % 2 == 0, "n": n });
                let input = json!({ "preferences": [preference] });
                return self.post("app.bsky.actor.putPreferences", &input, &alice.access).await;
            }
            Act::Deactivate => {
                return self.post("com.atproto.server.deactivateAccount", &json!({}), &bob.access).await;
            }
            Act::Activate => {
                return self.post("com.atproto.server.activateAccount", &Json::Null, &bob.access).await;
            }
            Act::TakeDown | Act::GiveBack => {
                let takedown = json!({ "applied": act == Act::TakeDown });
                let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": bob.did });
                let input = json!({ "subject": subject, "takedown": takedown });
                return self.admin("com.atproto.admin.updateSubjectStatus", &input).await;
            }
            Act::ReserveSigningKey => {
                let nsid = "com.atproto.server.reserveSigningKey";
                return client.post(nsid, &json!({}), None).await.unwrap();
            }
            Act::CreateInviteCode => {
                return self.admin("com.atproto.server.createInviteCode", &json!({ "useCount": 1 })).await;
            }
            Act::RequestAccountDelete => {
                let nsid = "com.atproto.server.requestAccountDelete";
                return self.post(nsid, &Json::Null, &alice.access).await;
            }
            Act::DeleteAccount => {
                let input = json!({ "did": self.doomed.as_ref().unwrap().did });
                return self.admin("com.atproto.admin.deleteAccount", &input).await;
            }
        };
        self.post(nsid, &Json::Null, self.session.as_ref().unwrap()).await
    }

    async fn post(&self, nsid: &str, input: &Json, token: &str) -> Reply {
        self.client.post(nsid, input, Some(token)).await.unwrap()
    }

    async fn admin(&self, nsid: &str, input: &Json) -> Reply {
        self.client.post_as_admin(nsid, input).await.unwrap()
    }

    fn note(&self) -> Json {
        json!({ "$type": NOTE, "text": format!("note {}", self.n) })
    }

    async fn put_record(&self, party: &Party, rkey: &str) -> Reply {
        let input = json!({ "repo": party.did, "collection": NOTE, "rkey": rkey, "record": self.note() });
        self.post("com.atproto.repo.putRecord", &input, &party.access).await
    }

    async fn apply_writes(&self) -> Reply {
        let kind = |kind: &str| format!("com.atproto.repo.applyWrites#{kind}");
        let create = |at: usize| {
            let rkey = format!("n{}-{at}", self.n);
            json!({ "$type": kind("create"), "collection": NOTE, "rkey": rkey, "value": self.note() })
        };
        let writes: Vec<Json> = (0..4).map(create).collect();
        let input = json!({ "repo": self.alice.did, "writes": writes });
        self.post("com.atproto.repo.applyWrites", &input, &self.alice.access).await
    }

    async fn upload_blob(&self) -> Reply {
        let bytes = format!("blob {} ", self.n).repeat(1000).into_bytes();
        let nsid = "com.atproto.repo.uploadBlob";
        self.client.upload(nsid, "application/octet-stream", bytes, &self.alice.access).await.unwrap()
    }

    async fn import(&self) -> Reply {
        let path = |at: usize| format!("{NOTE}/k{}-{at}", self.n);
        let records: Records = (0..20).map(|at| (path(at), encode(&self.note()))).collect();
        let key = SigningKey::from_bytes(Curve::P256, &[3; 32]).unwrap();
        let car = car_of(&self.alice.did, Tid::from_parts(1_600_000_000_000_000, 3), &records, &key);
        let (nsid, mime) = ("com.atproto.repo.importRepo", "application/vnd.ipld.car");
        self.client.upload(nsid, mime, car, &self.alice.access).await.unwrap()
    }

    async fn create_session(&self) -> Reply {
        let input = json!({ "identifier": self.alice.did, "password": PASSWORD });
        self.client.post("com.atproto.server.createSession", &input, None).await.unwrap()
    }

    async fn app_password(&self, verb: &str, name: &str) -> Reply {
        let nsid = format!("com.atproto.server.{verb}AppPassword");
        self.post(&nsid, &json!({ "name": name }), &self.alice.access).await
    }
}

fn sign_up_input(name: &str) -> Json {
    json!({ "handle": format!("{name}.test"), "email": format!("{name}@example.com"), "password": PASSWORD })
}

async fn sign_up(client: &Client, name: &str) -> Option<Party> {
    let reply = client.post("com.atproto.server.createAccount", &sign_up_input(name), None).await.ok()?;
    Some(Party::of(&reply.json()))
}
