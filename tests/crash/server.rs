//! The real program on a data directory, and requests to it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value as Json;

use crate::random::Random;

pub const ADMIN_PASSWORD: &str = "operator:secret";

/// `rookery dev` on one data directory and one port, over many lives.
pub struct Program {
    dir: tempfile::TempDir,
    port: u16,
    /// What it logs, as `--log` takes it.
    pub log_level: &'static str,
    /// More settings, as `--set` takes them.
    pub settings: Vec<String>,
    /// All that it finds in its environment.
    pub environment: Vec<(String, String)>,
}

/// One life.
pub struct Life {
    child: Child,
}

impl Program {
    pub fn new(random: &mut Random) -> Program {
        // Below the ports that systems give to outgoing connections: between two lives nobody may take it. The sandbox's
        // directory listens on the next one.
        let is_free = |port: &u16| {
            [*port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) == [true; 2]
        };
        let ports = (0..1000).map(|_| u16::try_from(random.between(12_000, 32_000)).unwrap());
        let port = { ports }.find(is_free).expect("a free port");
        let (settings, environment) = (Vec::new(), Vec::new());
        Program { dir: tempfile::tempdir().unwrap(), port, log_level: "warn", settings, environment }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it and returns at once.
    pub fn spawn(&self) -> Life {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("stderr.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .env_clear()
            .envs(self.environment.iter().cloned())
            .args(["dev", "--log", self.log_level, "--admin-password", ADMIN_PASSWORD])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--data-dir")
            .arg(self.path("data"))
            .args(self.settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        Life { child }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) -> Life {
        let life = self.try_start().await;
        life.unwrap_or_else(|| panic!("the server ended before it was ready:\n{}", self.log()))
    }

    /// Starts it and waits until it answers, or has ended before.
    pub async fn try_start(&self) -> Option<Life> {
        let mut life = self.spawn();
        let stdout = BufReader::new(life.child.stdout.take().unwrap());
        let is_ready = |line: &String| line.contains("rookery is ready");
        let waiting = move || stdout.lines().map_while(Result::ok).any(|line| is_ready(&line));
        let ready = tokio::task::spawn_blocking(waiting).await.unwrap();
        ready.then_some(life)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("stderr.log")).unwrap_or_default()
    }
}

impl Life {
    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // For tests that fail half way; a killed one is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server is gone: whether what was asked for happened is not known.
#[derive(Debug)]
pub struct Gone;

/// A client of one life. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    url: String,
    http: reqwest::Client,
}

/// What came back, whole.
pub struct Reply {
    what: String,
    pub status: StatusCode,
    pub bytes: Vec<u8>,
}

impl Client {
    pub fn new(url: String) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only(std::iter::empty()).build().unwrap();
        Client { url, http }
    }

    pub async fn get(&self, nsid: &str, query: &str, token: Option<&str>) -> Result<Reply, Gone> {
        self.send(nsid, self.http.get(format!("{}/xrpc/{nsid}?{query}", self.url)), token).await
    }

    pub async fn post(&self, nsid: &str, input: &Json, token: Option<&str>) -> Result<Reply, Gone> {
        let request = self.http.post(format!("{}/xrpc/{nsid}", self.url));
        self.send(nsid, if input.is_null() { request } else { request.json(input) }, token).await
    }

    /// As the operator.
    pub async fn post_as_admin(&self, nsid: &str, input: &Json) -> Result<Reply, Gone> {
        let request = self.http.post(format!("{}/xrpc/{nsid}", self.url)).json(input);
        self.send(nsid, request.basic_auth("admin", Some(ADMIN_PASSWORD)), None).await
    }

    pub async fn upload(&self, nsid: &str, mime: &str, body: Vec<u8>, token: &str) -> Result<Reply, Gone> {
        let request = self.http.post(format!("{}/xrpc/{nsid}", self.url));
        self.send(nsid, request.header("content-type", mime).body(body), Some(token)).await
    }

    async fn send(
        &self,
        what: &str,
        mut request: RequestBuilder,
        token: Option<&str>,
    ) -> Result<Reply, Gone> {
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|_| Gone)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|_| Gone)?.to_vec();
        Ok(Reply { what: what.to_owned(), status, bytes })
    }
}

impl Reply {
    /// The body of a 200.
    #[track_caller]
    pub fn bytes(self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{}: {}", self.what, String::from_utf8_lossy(&self.bytes));
        self.bytes
    }

    /// The JSON of a 200.
    #[track_caller]
    pub fn json(self) -> Json {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    /// The name of the error.
    pub fn error(&self) -> Option<String> {
        let json: Json = serde_json::from_slice(&self.bytes).ok()?;
        Some(json["error"].as_str()?.to_owned())
    }
}
