//! A large repository that everybody fetches.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::program::{Account, Connection, Latencies, Program, writes_during};

/// Exports asked for at the same moment.
const EXPORTS: usize = 50;
/// What they may take of the memory together, in KiB: eight at a time, and a page cache, chunks and a socket for each.
const EXPORTS_KIB_MAX: u64 = 64 * 1024;
/// How long a write of the owner may take meanwhile, at the 99th of a hundred.
const WRITE_P99_MAX: Duration = Duration::from_secs(3);

fn get_repo(program: &Program, account: &Account) -> String {
    format!("{}?did={}", program.xrpc("com.atproto.sync.getRepo"), account.did)
}

/// Asks for all at once. How many were answered whole and how many were told to come back; how the owner's writes went.
async fn fetch_at_once(program: &Program, account: &Account) -> (usize, usize, Latencies) {
    let url = get_repo(program, account);
    let fetch = || async {
        let answer = program.http.get(&url).send().await.unwrap();
        match answer.status().as_u16() {
            200 => {
                let mut car = atproto::repo::car::Decoder::new(1 << 20);
                let mut blocks = 0;
                let mut answer = answer;
                while let Some(chunk) = answer.chunk().await.expect("a whole answer") {
                    car.push(&chunk);
                    while car.next_item().unwrap().is_some() {
                        blocks += 1;
                    }
                }
                car.finish().unwrap();
                Some(blocks)
            }
            503 => {
                assert!(answer.headers().contains_key("retry-after"));
                None
            }
            status => panic!("{status}"),
        }
    };
    let (writes, outcomes) =
        writes_during(program, account, futures::future::join_all((0..EXPORTS).map(|_| fetch()))).await;
    let whole = outcomes.iter().flatten().count();
    (whole, EXPORTS - whole, writes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_exports_at_once_are_whole_or_come_back_later_and_memory_stays() {
    let program = Program::start(&[]);
    let account = program.sign_up("berta").await;
    program.fill(&account, 2_000, 4_000).await;
    let before = program.resident_kib();
    let started = Instant::now();
    let (whole, later, writes) = fetch_at_once(&program, &account).await;
    let grown = program.resident_kib_max().saturating_sub(before);
    eprintln!(
        "{whole} whole, {later} later, in {:?}, {grown} KiB more; the owner's writes: {writes}",
        started.elapsed()
    );
    assert!(whole >= 8, "{whole}");
    assert!(grown < EXPORTS_KIB_MAX, "{grown} KiB");
    assert!(writes.quantile(0.99) < WRITE_P99_MAX, "{writes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_give_way_to_those_who_wait_for_an_export() {
    let program = Program::start(&[]);
    let account = program.sign_up("anna").await;
    // More than the system buffers for a connection.
    program.fill(&account, 4_000, 4_000).await;
    let path = get_repo(&program, &account).replace(&program.url, "");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(program.address()).await;
        connection.stream.write_all(request.as_bytes()).await.unwrap();
        // It has its place once the answer begins.
        connection.stream.read_exact(&mut [0; 512]).await.unwrap();
        slow.push(connection);
    }
    let started = Instant::now();
    let fetch = async { program.http.get(get_repo(&program, &account)).send().await.unwrap() };
    let answer = timeout(Duration::from_secs(30), fetch).await.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", started.elapsed());
    eprintln!("a place after {:?}", started.elapsed());
    answer.bytes().await.unwrap();
    // One gave way, and was not left to believe that it has all; the others go on.
    let mut whole = 0;
    for mut connection in slow {
        let mut taken = Vec::new();
        connection
            .stream
            .write_all(b"GET /xrpc/_health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .ok();
        let _ = connection.stream.read_to_end(&mut taken).await;
        whole += usize::from(taken.windows(5).any(|window| window == b"0\r\n\r\n"));
    }
    assert!(whole < 8, "{whole} of 8 went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: a release build on a calm machine"]
async fn fifty_exports_of_a_large_repo_leave_the_owner_100_ms() {
    let program = Program::start(&[]);
    let account = program.sign_up("berta").await;
    program.fill(&account, 20_000, 1_000).await;
    let before = program.resident_kib();
    let (whole, later, writes) = fetch_at_once(&program, &account).await;
    let grown = program.resident_kib_max().saturating_sub(before);
    eprintln!("{whole} whole, {later} later, {grown} KiB more; the owner's writes: {writes}");
    assert!(writes.quantile(0.99) < Duration::from_millis(100), "{writes}");
}
