//! Many sign-ins at once: the server stays small, answers all, and serves others meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;

use super::program::{Program, writes_during};

/// A small machine has 512 MiB in all. Two Argon2 hashes take 38, and an idle server in a debug build takes about 30.
const RESIDENT_KIB_MAX: u64 = 160 * 1024;
/// Sign-ins at the same moment: more than may wait for a hash.
const SIGN_INS: usize = 400;
/// How long others may have to wait while they go on.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a write of the owner may take at the 99th of a hundred while they go on.
const WRITE_P99_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_sign_ins_neither_fills_the_memory_nor_keeps_others_waiting() {
    let program = Program::start(&[]);
    let owner = program.sign_up("storm").await;
    let (http, xrpc) = (&program.http, |nsid: &str| program.xrpc(nsid));

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
    let storm_and_others = async { tokio::join!(storm, others) };
    let (writes, (statuses, slowest)) = writes_during(&program, &owner, storm_and_others).await;

    let refused = statuses.iter().filter(|status| **status == 401).count();
    let turned_away = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(refused + turned_away, SIGN_INS, "{statuses:?}");
    assert!(refused > 0 && turned_away > 0, "{refused} refused, {turned_away} turned away");
    assert!(slowest < OTHERS_WAIT_MAX, "{slowest:?}");
    let resident = program.resident_kib_max();
    eprintln!(
        "{refused} refused, {turned_away} turned away, others waited {slowest:?}, at most {resident} KiB; \
         the owner's writes: {writes}"
    );
    assert!(writes.quantile(0.99) < WRITE_P99_MAX, "{writes}");
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");

    // And the owner gets in again.
    let input = json!({ "identifier": "storm.test", "password": "right" });
    let signed_in = http.post(xrpc("com.atproto.server.createSession")).json(&input).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
}
