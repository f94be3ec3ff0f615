//! What is asked of the server while its disk fails: one act for each way in which something is written.

use std::path::PathBuf;

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
/// Takedowns go by the URI.
const ANY_CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
/// Questions asked until a mail has come, or what is left has gone.
pub const PINGS_MAX: usize = 3_000;

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
    UpdateEmail,
    ConfirmEmail,
    ResetPassword,
    UpdateAccountEmail,
    UpdateAccountPassword,
    TurnInvites,
    DisableInviteCode,
    TakeDownRecord,
    TakeDownBlob,
    SignOperation,
    SubmitOperation,
    UpdateSigningKey,
}

impl Act {
    /// All, in an order in which each finds what it needs. Those that leave something to do in the background are last.
    pub const ALL: [Act; 33] = [
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
        Act::UpdateEmail,
        Act::ConfirmEmail,
        Act::ResetPassword,
        Act::UpdateAccountEmail,
        Act::UpdateAccountPassword,
        Act::TurnInvites,
        Act::DisableInviteCode,
        Act::TakeDownRecord,
        Act::TakeDownBlob,
        Act::SignOperation,
        Act::UpdateHandle,
        Act::CreateAccount,
        Act::DeleteAccount,
    ];

    /// Those after which the directory may be ahead of the account: what they began is finished later.
    pub const OF_IDENTITY: [Act; 3] = [Act::UpdateHandle, Act::SubmitOperation, Act::UpdateSigningKey];

    /// A table that it changes.
    pub fn table(self) -> &'static str {
        match self {
            Act::CreateRecord | Act::PutRecord | Act::DeleteRecord | Act::ApplyWrites => "record",
            Act::TakeDownRecord => "record",
            Act::UploadBlob | Act::TakeDownBlob => "blob",
            Act::ReferToBlob => "record_blob",
            Act::ImportRepo => "repo",
            Act::CreateSession | Act::RefreshSession | Act::DeleteSession => "refresh_token",
            Act::CreateAppPassword | Act::RevokeAppPassword => "app_password",
            Act::PutPreferences => "account_pref",
            Act::ReserveSigningKey => "reserved_signing_key",
            Act::CreateInviteCode | Act::DisableInviteCode => "invite_code",
            Act::RequestAccountDelete | Act::SignOperation => "email_token",
            Act::SubmitOperation => "repo_seq",
            Act::UpdateSigningKey => "signing_key",
            _ => "account",
        }
    }

    /// What its `nth` operation fails with and for how long: everything once, and one until lifted; less when each try
    /// takes long.
    pub fn faults(self, nth: u32) -> Vec<(u32, Lasting)> {
        let mut faults: Vec<_> = ERRORS.map(|error| (error, Lasting::Once)).into();
        faults.rotate_left(nth as usize % ERRORS.len());
        let hashes = [Act::CreateSession, Act::CreateAccount, Act::ResetPassword, Act::UpdateAccountPassword];
        if hashes.contains(&self) {
            faults.truncate(1);
        }
        faults.push((ERRORS[(nth as usize + 1) % ERRORS.len()], Lasting::UntilLifted));
        faults
    }

    /// Others are asked as well: the directory, which is on the same disk here and fails in its own words.
    pub fn asks_directory(self) -> bool {
        matches!(self, Act::CreateAccount | Act::Activate | Act::SignOperation)
            || Act::OF_IDENTITY.contains(&self)
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
    /// Forgets her password.
    pub dora: Party,
    log: PathBuf,
    /// Of the last mail that asks for one, until it is used up.
    code: Option<(Act, String)>,
    address: String,
    has_invites: bool,
    invite_code: Option<String>,
    is_record_down: bool,
    is_blob_down: bool,
    kept_blob: Option<Json>,
    signed: Option<Json>,
    reserved_key: Option<String>,
    doomed: Option<Party>,
    has_doomed_record: bool,
    has_app_password: bool,
    is_bob_active: bool,
    is_bob_down: bool,
    session: Option<String>,
    blob: Option<Json>,
}

impl Stage {
    pub async fn set(client: Client, log: PathBuf) -> Stage {
        let alice = sign_up(&client, "alice").await.unwrap();
        let bob = sign_up(&client, "bob").await.unwrap();
        let carol = sign_up(&client, "carol").await.unwrap();
        let dora = sign_up(&client, "dora").await.unwrap();
        let (doomed, session, blob) = (None, None, None);
        let (has_doomed_record, has_app_password) = (false, false);
        let (is_bob_active, is_bob_down) = (true, false);
        Stage {
            client,
            n: 0,
            alice,
            bob,
            carol,
            dora,
            log,
            code: None,
            address: String::new(),
            has_invites: true,
            invite_code: None,
            is_record_down: false,
            is_blob_down: false,
            kept_blob: None,
            signed: None,
            reserved_key: None,
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
            Act::ConfirmEmail | Act::ResetPassword | Act::SignOperation => self.ask_for_code(act).await,
            Act::DisableInviteCode if self.invite_code.is_none() => {
                let code = self.ask(Act::CreateInviteCode).await.json();
                self.invite_code = Some(code["code"].as_str().unwrap().to_owned());
            }
            Act::TakeDownBlob if self.kept_blob.is_none() => {
                let blob = self.upload_blob().await.json()["blob"].clone();
                self.refer_to(&blob).await.bytes();
                self.kept_blob = Some(blob);
            }
            Act::SubmitOperation if self.signed.is_none() => {
                self.ask_for_code(Act::SignOperation).await;
                let signed = self.act(Act::SignOperation).await.json();
                self.signed = Some(signed["operation"].clone());
            }
            Act::UpdateSigningKey if self.reserved_key.is_none() => {
                let nsid = "com.atproto.server.reserveSigningKey";
                let key = self.client.post(nsid, &json!({ "did": self.bob.did }), None).await.unwrap().json();
                self.reserved_key = Some(key["signingKey"].as_str().unwrap().to_owned());
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
            Act::ConfirmEmail | Act::ResetPassword | Act::SignOperation => self.code = None,
            Act::TurnInvites => self.has_invites = !self.has_invites,
            Act::DisableInviteCode => self.invite_code = None,
            Act::TakeDownRecord => self.is_record_down = !self.is_record_down,
            Act::TakeDownBlob => self.is_blob_down = !self.is_blob_down,
            Act::SubmitOperation => self.signed = None,
            Act::UpdateSigningKey => self.reserved_key = None,
            _ => {}
        }
        reply
    }

    /// The operation that was signed may have become one that follows nothing.
    pub fn forget_operation(&mut self) {
        self.signed = None;
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
            Act::ReferToBlob => return self.refer_to(self.blob.as_ref().unwrap()).await,
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
                let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": bob.did });
                return self.take_down(subject, act == Act::TakeDown).await;
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
            Act::UpdateEmail => {
                let input = json!({ "email": format!("alice{n}@example.com") });
                return self.post("com.atproto.server.updateEmail", &input, &alice.access).await;
            }
            Act::ConfirmEmail => {
                let input = json!({ "email": self.address, "token": self.code() });
                return self.post("com.atproto.server.confirmEmail", &input, &self.carol.access).await;
            }
            Act::ResetPassword => {
                let input = json!({ "token": self.code(), "password": PASSWORD });
                return client.post("com.atproto.server.resetPassword", &input, None).await.unwrap();
            }
            Act::UpdateAccountEmail => {
                let input = json!({ "account": bob.did, "email": format!("bob{n}@example.com") });
                return self.admin("com.atproto.admin.updateAccountEmail", &input).await;
            }
            Act::UpdateAccountPassword => {
                let input = json!({ "did": self.dora.did, "password": PASSWORD });
                return self.admin("com.atproto.admin.updateAccountPassword", &input).await;
            }
            Act::TurnInvites => {
                let verb = if self.has_invites { "disable" } else { "enable" };
                let nsid = format!("com.atproto.admin.{verb}AccountInvites");
                return self.admin(&nsid, &json!({ "account": bob.did })).await;
            }
            Act::DisableInviteCode => {
                let input = json!({ "codes": [self.invite_code], "accounts": [] });
                return self.admin("com.atproto.admin.disableInviteCodes", &input).await;
            }
            Act::TakeDownRecord => {
                let uri = format!("at://{}/{NOTE}/self", self.carol.did);
                let subject = json!({ "$type": "com.atproto.repo.strongRef", "uri": uri, "cid": ANY_CID });
                return self.take_down(subject, !self.is_record_down).await;
            }
            Act::TakeDownBlob => {
                let cid = &self.kept_blob.as_ref().unwrap()["ref"]["$link"];
                let subject =
                    json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": alice.did, "cid": cid });
                return self.take_down(subject, !self.is_blob_down).await;
            }
            Act::SignOperation => {
                let input = json!({ "token": self.code() });
                return self.post("com.atproto.identity.signPlcOperation", &input, &bob.access).await;
            }
            Act::SubmitOperation => {
                let input = json!({ "operation": self.signed });
                return self.post("com.atproto.identity.submitPlcOperation", &input, &bob.access).await;
            }
            Act::UpdateSigningKey => {
                let input = json!({ "did": bob.did, "signingKey": self.reserved_key });
                return self.admin("com.atproto.admin.updateAccountSigningKey", &input).await;
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

    async fn take_down(&self, subject: Json, applied: bool) -> Reply {
        let input = json!({ "subject": subject, "takedown": { "applied": applied } });
        self.admin("com.atproto.admin.updateSubjectStatus", &input).await
    }

    /// Has the code mailed that `act` needs, unless there is one that has not been used up.
    async fn ask_for_code(&mut self, act: Act) {
        if self.code.as_ref().is_some_and(|(of, _)| *of == act) {
            return;
        }
        let log = self.log.clone();
        let codes = || mailed_codes(&std::fs::read_to_string(&log).unwrap_or_default());
        let n_before = codes().len();
        let (carol, bob) = (&self.carol, &self.bob);
        match act {
            Act::ConfirmEmail => {
                self.address = format!("carol{}@example.com", self.n);
                let input = json!({ "account": carol.did, "email": self.address });
                self.admin("com.atproto.admin.updateAccountEmail", &input).await.bytes();
                let nsid = "com.atproto.server.requestEmailConfirmation";
                self.post(nsid, &Json::Null, &carol.access).await.bytes();
            }
            Act::ResetPassword => {
                let (nsid, input) =
                    ("com.atproto.server.requestPasswordReset", json!({ "email": "dora@example.com" }));
                self.client.post(nsid, &input, None).await.unwrap().bytes();
            }
            _ => {
                let nsid = "com.atproto.identity.requestPlcOperationSignature";
                self.post(nsid, &Json::Null, &bob.access).await.bytes();
            }
        }
        // The answer may come before the mail.
        for _ in 0..PINGS_MAX {
            let codes = codes();
            if codes.len() > n_before {
                self.code = codes.last().map(|code| (act, code.clone()));
                return;
            }
            self.client.get("_health", "", None).await.unwrap().bytes();
        }
        panic!("{act:?}: no mail came");
    }

    fn code(&self) -> &str {
        &self.code.as_ref().unwrap().1
    }

    fn note(&self) -> Json {
        json!({ "$type": NOTE, "text": format!("note {}", self.n) })
    }

    async fn put_record(&self, party: &Party, rkey: &str) -> Reply {
        let input = json!({ "repo": party.did, "collection": NOTE, "rkey": rkey, "record": self.note() });
        self.post("com.atproto.repo.putRecord", &input, &party.access).await
    }

    async fn refer_to(&self, blob: &Json) -> Reply {
        let record = json!({ "$type": NOTE, "text": "see", "blob": blob });
        let input = json!({ "repo": self.alice.did, "collection": NOTE, "record": record });
        self.post("com.atproto.repo.createRecord", &input, &self.alice.access).await
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

/// All that look like codes in mails, in their order: `ABCDE-23456`.
fn mailed_codes(log: &str) -> Vec<String> {
    let is_of_code = |character: char| character.is_ascii_uppercase() || character.is_ascii_digit();
    let is_code = |word: &&str| {
        word.len() == 11
            && word.split_once('-').is_some_and(|(head, tail)| {
                head.len() == 5 && head.chars().all(is_of_code) && tail.chars().all(is_of_code)
            })
    };
    log.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

fn sign_up_input(name: &str) -> Json {
    json!({ "handle": format!("{name}.test"), "email": format!("{name}@example.com"), "password": PASSWORD })
}

async fn sign_up(client: &Client, name: &str) -> Option<Party> {
    let reply = client.post("com.atproto.server.createAccount", &sign_up_input(name), None).await.ok()?;
    Some(Party::of(&reply.json()))
}
