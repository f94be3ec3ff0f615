//! Many connections that do nothing.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;

use super::program::{Connection, Program};

const HEALTH: &str = "/xrpc/_health";
/// What one idle connection may cost, in KiB. Measured: 23 in a debug build.
const IDLE_KIB_MAX: u64 = 40;
/// How long a client may wait that comes when all places are taken.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// Lets this process have `count` connections; false when the system does not.
fn may_open(count: usize) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = count as u64 + 256;
    if limit.current.is_none_or(|current| current >= wanted) {
        return true;
    }
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit).is_ok()
}

/// Connects `count` times; each connection has been served once.
async fn served(program: &Program, count: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(program.address()).await;
        assert_eq!(connection.get(HEALTH).await.expect("served").status, 200);
        connections.push(connection);
    }
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_connections_stay_open_cost_little_and_keep_nobody_out() {
    const IDLE: usize = 5_000;
    if !may_open(IDLE) {
        eprintln!("skipped: this process may not open {IDLE} connections (ulimit -n)");
        return;
    }
    let program = Program::start(&[]);
    let before = program.resident_kib();
    let mut idle = served(&program, IDLE).await;
    let each = (program.resident_kib() - before) as f64 / IDLE as f64;
    let started = Instant::now();
    let mut last = Connection::open(program.address()).await;
    assert_eq!(last.get(HEALTH).await.unwrap().status, 200);
    let waited = started.elapsed();
    eprintln!("{IDLE} idle connections: {each:.1} KiB each; the next one was served in {waited:?}");
    assert!(each < IDLE_KIB_MAX as f64, "{each}");
    assert!(waited < SERVED_WITHIN, "{waited:?}");
    // None of them was closed for it.
    for connection in [0, 1, IDLE / 2, IDLE - 1] {
        assert_eq!(idle[connection].get(HEALTH).await.expect("still open").status, 200);
    }
}

#[tokio::test]
async fn when_all_places_are_taken_who_has_idled_longest_makes_room() {
    let program = Program::start(&["server.connections_max=64"]);
    let mut all = served(&program, 64).await;
    // The first one is heard of again, so it is the second that has idled longest.
    assert!(all[0].get(HEALTH).await.is_some());
    let started = Instant::now();
    let mut newest = Connection::open(program.address()).await;
    assert_eq!(newest.get(HEALTH).await.unwrap().status, 200);
    assert!(started.elapsed() < SERVED_WITHIN);
    all[1].closed().await;
    assert!(all[0].get(HEALTH).await.is_some());
    // However many come, each is served.
    for _ in 0..200 {
        let mut connection = Connection::open(program.address()).await;
        assert_eq!(connection.get(HEALTH).await.unwrap().status, 200);
        all.push(connection);
    }
    assert!(newest.get(HEALTH).await.is_none(), "64 others came after it");
}

#[tokio::test]
async fn when_everybody_is_at_work_a_new_client_is_told_when_to_come_back() {
    let program = Program::start(&["server.connections_max=16"]);
    let mut at_work = Vec::new();
    for _ in 0..16 {
        let mut connection = Connection::open(program.address()).await;
        let head = "POST /xrpc/com.atproto.server.createSession HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\ncontent-length: 99\r\nexpect: 100-continue\r\n\r\n";
        connection.stream.write_all(head.as_bytes()).await.unwrap();
        // 100 Continue: it waits for the body.
        let mut go_on = [0; 25];
        tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut go_on).await.unwrap();
        at_work.push(connection);
    }
    let mut turned_away = Connection::open(program.address()).await;
    let answer = turned_away.get(HEALTH).await.expect("an answer, not a reset");
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    drop(at_work.pop());
    // Its place is free once the server has seen the end of the connection.
    let mut status = 503;
    for _ in 0..1_000 {
        let mut next = Connection::open(program.address()).await;
        status = next.get(HEALTH).await.map_or(503, |answer| answer.status);
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_address_that_is_no_proxy_has_a_share() {
    let program = Program::start(&["server.connections_max=64", "server.trusted_proxies=10.0.0.0/8"]);
    let mut ours = Vec::new();
    for _ in 0..7 {
        let mut connection = Connection::open(program.address()).await;
        assert_eq!(connection.get(HEALTH).await.unwrap().status, 200);
        ours.push(connection);
    }
    // The eighth is the last; the sandbox's directory is asked on another port.
    ours.extend(served(&program, 1).await);
    let mut beyond = Connection::open(program.address()).await;
    assert_eq!(beyond.get(HEALTH).await.expect("an answer").status, 503);
    assert!(ours[0].get(HEALTH).await.is_some(), "nobody had to go for it");
}

#[tokio::test]
async fn a_connection_that_never_says_anything_is_closed() {
    let program = Program::start(&["server.idle_secs=1"]);
    let mut silent = Connection::open(program.address()).await;
    // As far as HTTP/1 and HTTP/2 begin alike.
    let mut undecided = Connection::open(program.address()).await;
    undecided.stream.write_all(b"PRI * HTTP/2").await.unwrap();
    let mut idle = served(&program, 1).await;
    for connection in [&mut silent, &mut undecided, &mut idle[0]] {
        let closed = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await;
        closed.expect("it is closed");
    }
}
