//! The server under test as its clients see it: methods, accounts, and what they have written. The accounts are kept in a
//! file between runs, so that a large repository is made once. Nothing here knows which PDS it speaks to.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::http::{Body, Connection, Response};

/// What all accounts sign up with.
const PASSWORD: &str = "correct horse battery staple";
/// Access tokens are used for so long, in seconds; servers give them two hours.
const TOKEN_SECS_MAX: u64 = 3600;
/// Sign-ups at the same time.
const SIGN_UPS_MAX: usize = 4;
/// What bodies in JSON are called.
pub const JSON: &str = "application/json";
/// What repositories are called.
pub const CAR: &str = "application/vnd.ipld.car";

/// An account that we made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its DID.
    pub did: String,
    /// Its handle.
    pub handle: String,
    /// Its access token.
    pub token: String,
    /// When the token was given out, in seconds since 1970.
    pub token_secs: u64,
    /// Records that were imported into it.
    pub records: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// A piece of all handles: a server that is measured again has those of the last time.
    prefix: String,
    accounts: BTreeMap<String, Account>,
}

/// The server under test.
pub struct Server {
    /// Address and port.
    pub authority: String,
    handle_domain: String,
    state_file: Option<PathBuf>,
    state: State,
}

/// Seconds since 1970.
pub fn now_secs() -> u64 {
    now_millis() / 1000
}

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The JSON of a 200.
pub fn json_of(response: &Response) -> Result<Json> {
    if response.status != 200 {
        let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
        bail!("the server answered {}: {text}", response.status);
    }
    Ok(serde_json::from_slice(&response.body)?)
}

fn text(json: &Json, field: &str) -> Result<String> {
    Ok(json[field].as_str().with_context(|| format!("an answer without {field}"))?.to_owned())
}

impl Server {
    /// Asks the server at `url` who it is, and remembers what `state_file` knows of it.
    pub async fn open(url: &str, state_file: Option<PathBuf>) -> Result<Server> {
        let authority =
            url.strip_prefix("http://").context("only http:// can be measured, without a proxy")?;
        let authority = authority.trim_end_matches('/').to_owned();
        let answer = Connection::open(&authority)
            .await?
            .call("/xrpc/com.atproto.server.describeServer", None, Body::None)
            .await?;
        let domains = json_of(&answer)?;
        let domain =
            domains["availableUserDomains"][0].as_str().context("a server without handle domains")?;
        let known = state_file.as_ref().and_then(|file| fs::read(file).ok());
        let mut state: State = match known {
            Some(bytes) => serde_json::from_slice(&bytes).context("the state file is damaged; remove it")?,
            None => State::default(),
        };
        if state.prefix.is_empty() {
            state.prefix = format!("b{:x}", now_secs() & 0xff_ffff);
        }
        Ok(Server { authority, handle_domain: domain.to_owned(), state_file, state })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.authority).await
    }

    /// `n` new connections.
    pub async fn connections(&self, n: usize) -> Result<Vec<Connection>> {
        let mut open = Vec::with_capacity(n);
        for _ in 0..n {
            open.push(self.connect().await?);
        }
        Ok(open)
    }

    /// The accounts called `<name>0` and on; those that are missing sign up.
    pub async fn accounts(&mut self, name: &str, n: usize) -> Result<Vec<Account>> {
        let names: Vec<String> = (0..n).map(|idx| format!("{name}{idx}")).collect();
        let missing: Vec<&String> =
            names.iter().filter(|name| !self.state.accounts.contains_key(*name)).collect();
        let mut made = Vec::new();
        for few in missing.chunks(SIGN_UPS_MAX) {
            let sign_ups = few.iter().map(|name| async {
                let account = self.sign_up(&mut self.connect().await?, name).await?;
                anyhow::Ok(((*name).clone(), account))
            });
            made.extend(futures::future::try_join_all(sign_ups).await?);
        }
        self.state.accounts.extend(made);
        let mut accounts = Vec::with_capacity(n);
        for name in &names {
            accounts.push(self.fresh(name).await?);
        }
        self.save()?;
        Ok(accounts)
    }

    /// One account; see [`Server::accounts`].
    pub async fn account(&mut self, name: &str) -> Result<Account> {
        self.accounts(name, 1).await?.pop().context("one account")
    }

    /// Notes what was imported into an account.
    pub fn set_records(&mut self, did: &str, records: u64) -> Result<()> {
        for account in self.state.accounts.values_mut().filter(|account| account.did == did) {
            account.records = records;
        }
        self.save()
    }

    /// A known account, signed in again when its token may have run out.
    async fn fresh(&mut self, name: &str) -> Result<Account> {
        let mut account = self.state.accounts.get(name).context("no such account")?.clone();
        if now_secs().saturating_sub(account.token_secs) > TOKEN_SECS_MAX {
            let input = self.credentials(&account);
            let call = self.connect().await?.call(SESSION, None, Body::Bytes(JSON, &input)).await?;
            account.token = text(&json_of(&call)?, "accessJwt")?;
            account.token_secs = now_secs();
            self.state.accounts.insert(name.to_owned(), account.clone());
        }
        Ok(account)
    }

    /// The input of createSession.
    pub fn credentials(&self, account: &Account) -> Vec<u8> {
        json!({ "identifier": account.handle, "password": PASSWORD }).to_string().into_bytes()
    }

    /// The input of createAccount, for a name of letters and digits.
    pub fn sign_up_input(&self, name: &str) -> Vec<u8> {
        let name = format!("{}{name}", self.state.prefix);
        let handle = format!("{name}{}", self.handle_domain);
        json!({ "handle": handle, "email": format!("{name}@example.com"), "password": PASSWORD })
            .to_string()
            .into_bytes()
    }

    /// Makes an account.
    pub async fn sign_up(&self, connection: &mut Connection, name: &str) -> Result<Account> {
        let input = self.sign_up_input(name);
        let answer = json_of(&connection.call(ACCOUNT, None, Body::Bytes(JSON, &input)).await?);
        let answer = answer.with_context(|| format!("createAccount of {name}"))?;
        Ok(Account {
            did: text(&answer, "did")?,
            handle: text(&answer, "handle")?,
            token: text(&answer, "accessJwt")?,
            token_secs: now_secs(),
            records: 0,
        })
    }

    fn save(&self) -> Result<()> {
        let Some(file) = &self.state_file else { return Ok(()) };
        fs::write(file, serde_json::to_vec(&self.state)?).with_context(|| file.display().to_string())
    }
}

/// Path of createAccount.
pub const ACCOUNT: &str = "/xrpc/com.atproto.server.createAccount";
/// Path of createSession.
pub const SESSION: &str = "/xrpc/com.atproto.server.createSession";
/// Path of createRecord.
pub const CREATE_RECORD: &str = "/xrpc/com.atproto.repo.createRecord";

/// A post as people write them; each differs.
pub fn post(n: u64) -> Json {
    json!({
        "$type": "app.bsky.feed.post",
        "text": format!("Post {n}: about as long as most posts are, which is to say a sentence or two and no more."),
        "langs": ["en"],
        "createdAt": format!("2026-01-02T03:04:{:02}.{:03}Z", n / 1000 % 60, n % 1000),
    })
}

/// The input of createRecord.
pub fn create_record_input(did: &str, n: u64) -> Vec<u8> {
    json!({ "repo": did, "collection": "app.bsky.feed.post", "record": post(n) }).to_string().into_bytes()
}

/// The `rev` in the answer to a write.
pub fn rev_of(response: &Response) -> Option<String> {
    const FIELD: &[u8] = b"\"rev\":\"";
    let start = response.body.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let rest = response.body.get(start..)?;
    let length = rest.iter().position(|byte| *byte == b'"')?;
    String::from_utf8(rest.get(..length)?.to_vec()).ok()
}
