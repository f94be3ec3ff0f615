//! Everybody reads what the owner writes.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::interval;

use super::program::{Account, Connection, Latencies, Program, writes_during};

/// A load of public reads.
#[derive(Clone, Copy)]
struct Flood {
    connections: usize,
    per_second: usize,
    seconds: usize,
}

/// How a flood was answered.
struct Flooded {
    answered: usize,
    turned_away: usize,
    took: Duration,
    latencies: Latencies,
}

/// What is read: records, pages of records, a picture, in turn.
async fn published(program: &Program, owner: &Account) -> Vec<String> {
    let cid = program.publish_blob(owner, vec![7; 50_000]).await;
    program.fill(owner, 400, 400).await;
    let did = &owner.did;
    let record = |key| {
        format!("/xrpc/com.atproto.repo.getRecord?repo={did}&collection=com.example.page&rkey=page-{key:06}")
    };
    let page = format!("/xrpc/com.atproto.repo.listRecords?repo={did}&collection=com.example.page&limit=10");
    let blob = format!("/xrpc/com.atproto.sync.getBlob?did={did}&cid={cid}");
    let commit = format!("/xrpc/com.atproto.sync.getLatestCommit?did={did}");
    vec![record(1), record(2), record(3), page, record(4), record(5), blob, record(6), record(7), commit]
}

async fn flood(program: &Program, paths: &[String], flood: Flood) -> Flooded {
    let started = Instant::now();
    let worker = |number: usize| {
        let (address, paths) = (program.address(), paths.to_vec());
        let requests = flood.per_second * flood.seconds / flood.connections;
        let every = Duration::from_secs(flood.connections as u64) / flood.per_second as u32;
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut answers = Vec::new();
            let mut ticks = interval(every);
            for path in paths.iter().cycle().skip(number).take(requests) {
                ticks.tick().await;
                let asked_at = Instant::now();
                let answer = connection.get(path).await.expect("an answer");
                answers.push((answer.status, asked_at.elapsed()));
            }
            answers
        })
    };
    let workers = futures::future::join_all((0..flood.connections).map(worker)).await;
    let mut flooded =
        Flooded { answered: 0, turned_away: 0, took: started.elapsed(), latencies: Latencies::default() };
    for (status, latency) in workers.into_iter().flat_map(Result::unwrap) {
        match status {
            200 => flooded.answered += 1,
            429 | 503 => flooded.turned_away += 1,
            status => panic!("{status}"),
        }
        flooded.latencies.add(latency);
    }
    flooded
}

async fn owner_writes_through(load: Flood) -> (Program, Latencies, Flooded) {
    let program = Program::start(&[]);
    let owner = program.sign_up("author").await;
    let paths = published(&program, &owner).await;
    let before = (program.resident_kib(), program.processor_time());
    let (writes, flooded) = writes_during(&program, &owner, flood(&program, &paths, load)).await;
    let used = program.processor_time() - before.1;
    eprintln!(
        "{} reads answered and {} turned away in {:.1?} ({:.0} a second): {}; the owner's writes: {writes}; \
         processor {:.0} % of one; at most {} KiB, {} before",
        flooded.answered,
        flooded.turned_away,
        flooded.took,
        flooded.answered as f64 / flooded.took.as_secs_f64(),
        flooded.latencies,
        used.as_secs_f64() / flooded.took.as_secs_f64() * 100.0,
        program.resident_kib_max(),
        before.0,
    );
    (program, writes, flooded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_writes_on_while_everybody_reads() {
    let load = Flood { connections: 64, per_second: 400, seconds: 5 };
    let (program, writes, flooded) = owner_writes_through(load).await;
    assert!(flooded.answered > 1_000, "{}", flooded.answered);
    assert!(writes.quantile(0.99) < Duration::from_secs(3), "{writes}");
    assert!(program.resident_kib_max() < 160 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: a release build on a calm machine"]
async fn two_thousand_reads_a_second_leave_the_owner_100_ms() {
    let load = Flood { connections: 200, per_second: 2_000, seconds: 15 };
    let (program, writes, flooded) = owner_writes_through(load).await;
    assert!(flooded.answered + flooded.turned_away >= 30_000);
    assert!(flooded.turned_away * 100 < flooded.answered, "{}", flooded.turned_away);
    assert!(writes.quantile(0.99) < Duration::from_millis(100), "{writes}");
    assert!(program.resident_kib_max() < 160 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: a release build on a calm machine"]
async fn more_reads_than_can_be_answered_leave_the_owner_250_ms() {
    let load = Flood { connections: 1_000, per_second: 50_000, seconds: 2 };
    let (program, writes, _) = owner_writes_through(load).await;
    assert!(writes.quantile(0.99) < Duration::from_millis(250), "{writes}");
    assert!(program.resident_kib_max() < 256 * 1024);
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_back() {
    let program = Program::start(&["rate_limits.enabled=true"]);
    let owner = program.sign_up("author").await;
    let path = format!("/xrpc/com.atproto.repo.listRecords?repo={}&collection=com.example.page", owner.did);
    let mut connection = Connection::open(program.address()).await;
    let mut answered = 0;
    let refused = loop {
        let answer = connection.get(&path).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered <= 3_000, "it never ends");
    };
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("\r\nretry-after: "), "{}", refused.head);
    let input = serde_json::json!({ "identifier": "author.test", "password": "right" });
    let sign_in = program.http.post(program.xrpc("com.atproto.server.createSession")).json(&input);
    // The owner comes by another way.
    let sign_in = sign_in.header("x-forwarded-for", "203.0.113.9").send().await.unwrap();
    assert_eq!(sign_in.status(), 200);
    assert!(sign_in.json::<Value>().await.unwrap()["accessJwt"].is_string());
}
