//! The program under test, its accounts, and what it costs.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A running `rookery dev`.
pub struct Program {
    child: Child,
    pub url: String,
    pub http: reqwest::Client,
}

/// Somebody who has signed up.
pub struct Account {
    pub did: String,
    token: String,
}

impl Program {
    /// Starts it with settings such as `server.idle_secs=2`. `$ROOKERY` names another build of it.
    pub fn start(settings: &[&str]) -> Program {
        let sets = settings.iter().flat_map(|setting| ["--set", setting]);
        let built = || env!("CARGO_BIN_EXE_rookery").into();
        let mut child = Command::new(std::env::var_os("ROOKERY").unwrap_or_else(built))
            .env_clear()
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(sets)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only(std::iter::empty()).build().unwrap();
        let mut program = Program { child, url: String::new(), http };
        let ready = lines.map(Result::unwrap).find(|line| line.contains("ready")).expect("it gets ready");
        program.url = ready.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        program
    }

    pub fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub fn xrpc(&self, nsid: &str) -> String {
        format!("{}/xrpc/{nsid}", self.url)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it holds now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most memory that it has held so far, in KiB.
    pub fn resident_kib_max(&self) -> u64 {
        self.status("VmHWM")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    pub async fn sign_up(&self, name: &str) -> Account {
        let input = json!({
            "handle": format!("{name}.test"), "email": format!("{name}@example.com"), "password": "right"
        });
        let answer =
            self.http.post(self.xrpc("com.atproto.server.createAccount")).json(&input).send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{answer}");
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Account { did: text("did"), token: text("accessJwt") }
    }

    /// One write of the owner; how long it took.
    pub async fn create_record(&self, account: &Account) -> Duration {
        let input = json!({
            "repo": account.did, "collection": "com.example.note",
            "record": { "$type": "com.example.note", "text": "written while everybody reads" }
        });
        let request = self.http.post(self.xrpc("com.atproto.repo.createRecord")).json(&input);
        let started = Instant::now();
        let answer = request.bearer_auth(&account.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.bytes().await.unwrap();
        started.elapsed()
    }

    /// Writes `count` records of `bytes` each, in batches.
    pub async fn fill(&self, account: &Account, count: usize, bytes: usize) {
        let keys: Vec<usize> = (0..count).collect();
        for keys in keys.chunks((800_000 / bytes).min(200)) {
            let create = |key: &usize| {
                json!({
                    "$type": "com.atproto.repo.applyWrites#create",
                    "collection": "com.example.page", "rkey": format!("page-{key:06}"),
                    "value": { "$type": "com.example.page", "text": format!("{key:08}").repeat(bytes / 8) }
                })
            };
            let writes: Vec<Value> = keys.iter().map(create).collect();
            let input = json!({ "repo": account.did, "writes": writes });
            let request = self.http.post(self.xrpc("com.atproto.repo.applyWrites")).json(&input);
            let answer = request.bearer_auth(&account.token).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        }
    }

    /// Uploads a blob and puts it into a record; its CID.
    pub async fn publish_blob(&self, account: &Account, bytes: Vec<u8>) -> String {
        let request = self.http.post(self.xrpc("com.atproto.repo.uploadBlob")).body(bytes);
        let request = request.header("content-type", "application/octet-stream").bearer_auth(&account.token);
        let blob = request.send().await.unwrap().json::<Value>().await.unwrap()["blob"].take();
        let cid = blob["ref"]["$link"].as_str().unwrap().to_owned();
        let record = json!({ "$type": "com.example.file", "file": blob });
        let input = json!({ "repo": account.did, "collection": "com.example.file", "record": record });
        let request = self.http.post(self.xrpc("com.atproto.repo.createRecord")).json(&input);
        assert_eq!(request.bearer_auth(&account.token).send().await.unwrap().status(), 200);
        cid
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Account {
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// A connection that speaks HTTP/1 by hand: cheap enough for thousands, and as rude as it has to be.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a request was answered with.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body_bytes: usize,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Connection {
        Connection { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// GETs and waits for the end of the answer, which has a `Content-Length`. `None`: the connection was closed first.
    pub async fn get(&mut self, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.answer().await
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Option<Answer> {
        let end_of_head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end_of_head).collect()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body_bytes: usize = length.expect("a content-length").trim().parse().unwrap();
        while self.buffer.len() < body_bytes {
            self.read_more().await?;
        }
        self.buffer.drain(..body_bytes);
        Some(Answer { status, head, body_bytes })
    }

    async fn read_more(&mut self) -> Option<()> {
        let n_read = self.stream.read_buf(&mut self.buffer).await.ok()?;
        (n_read > 0).then_some(())
    }

    /// Waits until the server closes the connection, whatever it says before; how long that took.
    pub async fn closed(&mut self) -> Duration {
        let started = Instant::now();
        while self.read_more().await.is_some() {}
        started.elapsed()
    }
}

/// Latencies, and what is said of them.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn quantile(&self, quantile: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| self.quantile(quantile));
        write!(f, "{} times, p50 {p50:.1?}, p99 {p99:.1?}, longest {max:.1?}", self.count())
    }
}

/// Writes of the owner, one after the other, for as long as `load` lasts; and what came of the load.
pub async fn writes_during<T>(
    program: &Program,
    owner: &Account,
    load: impl Future<Output = T>,
) -> (Latencies, T) {
    let mut load = std::pin::pin!(load);
    let mut latencies = Latencies::default();
    loop {
        let mut write = std::pin::pin!(program.create_record(owner));
        tokio::select! {
            biased;
            latency = write.as_mut() => latencies.add(latency),
            outcome = load.as_mut() => {
                latencies.add(write.await);
                return (latencies, outcome);
            }
        }
    }
}
