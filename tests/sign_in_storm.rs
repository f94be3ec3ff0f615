//! Many sign-ins at once, against the real program: it stays small, answers all, and serves others meanwhile.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

/// A small machine has 512 MiB in all. Two Argon2 hashes take 38, and an idle server in a debug build takes about 30.
const RESIDENT_KIB_MAX: u64 = 160 * 1024;
/// Sign-ins at the same moment: more than may wait for a hash.
const SIGN_INS: usize = 400;
/// How long others may have to wait while they go on.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(10);

/// A running `rookery dev`.
struct Sandbox {
    child: Child,
    url: String,
}

impl Sandbox {
    fn start() -> Sandbox {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .env_clear()
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut sandbox = Sandbox { child, url: String::new() };
        let ready = lines.map(Result::unwrap).find(|line| line.contains("ready")).expect("it gets ready");
        sandbox.url = ready.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        sandbox
    }

    /// The most memory that it has held so far, in KiB.
    fn resident_kib_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_sign_ins_neither_fills_the_memory_nor_keeps_others_waiting() {
    let sandbox = Sandbox::start();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only(std::iter::empty()).build().unwrap();
    let xrpc = |nsid: &str| format!("{}/xrpc/{nsid}", sandbox.url);
    let input = json!({ "handle": "storm.test", "email": "storm@example.com", "password": "right" });
    let signed_up = http.post(xrpc("com.atproto.server.createAccount")).json(&input).send().await.unwrap();
    assert_eq!(signed_up.status(), 200, "{}", signed_up.text().await.unwrap());

    let sign_in = |number: usize| {
        // Known and unknown in turn: they have to cost the same, and they have to be bounded together.
        let identifier =
            if number.is_multiple_of(2) { "storm.test".to_owned() } else { format!("nobody{number}.test") };
        let input = json!({ "identifier": identifier, "password": "wrong" });
        let request = http.post(xrpc("com.atproto.server.createSession")).json(&input);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let storm = futures::future::join_all((0..SIGN_INS).map(sign_in));
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            let asked = http.get(xrpc("com.atproto.server.describeServer")).send().await.unwrap();
            assert_eq!(asked.status(), 200);
            slowest = slowest.max(started.elapsed());
        }
        slowest
    };
    let (statuses, slowest) = tokio::join!(storm, others);

    let refused = statuses.iter().filter(|status| **status == 401).count();
    let turned_away = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(refused + turned_away, SIGN_INS, "{statuses:?}");
    assert!(refused > 0 && turned_away > 0, "{refused} refused, {turned_away} turned away");
    assert!(slowest < OTHERS_WAIT_MAX, "{slowest:?}");
    let resident = sandbox.resident_kib_max();
    eprintln!(
        "{refused} refused, {turned_away} turned away, others waited {slowest:?}, at most {resident} KiB"
    );
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");

    // And the owner gets in again.
    let input = json!({ "identifier": "storm.test", "password": "right" });
    let signed_in = http.post(xrpc("com.atproto.server.createSession")).json(&input).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
}
