//! Clients that are slow on purpose: they may not hold anything for long.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{interval, timeout},
};

use super::program::{Account, Connection, Program};

/// How long slow clients are waited for in these tests, in seconds.
const PATIENCE: &[&str] = &["server.idle_secs=2", "server.slow_client_secs=2"];
/// By when they have to be cut off.
const CUT_WITHIN: Duration = Duration::from_secs(20);

/// Sends a byte now and then until the server closes the connection; what it said.
async fn drip(mut connection: Connection, byte: u8) -> String {
    let (mut read, mut write) = connection.stream.split();
    let dripping = async {
        let mut pause = interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            if write.write_all(&[byte]).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut said = Vec::new();
    let reading = async {
        // A reset is an end as well.
        let _ = read.read_to_end(&mut said).await;
    };
    tokio::select! {
        () = dripping => {}
        () = reading => {}
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn upload_head(account: &Account, nsid: &str, content_type: &str) -> String {
    format!(
        "POST /xrpc/{nsid} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: {content_type}\r\ncontent-length: 100000\r\n\r\n",
        account.token()
    )
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off() {
    let program = Program::start(PATIENCE);
    let started = Instant::now();
    let mut dripping = Vec::new();
    for start in ["", "GET / HTTP/1.1\r\nx: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut connection = Connection::open(program.address()).await;
        connection.stream.write_all(start.as_bytes()).await.unwrap();
        dripping.push(timeout(CUT_WITHIN, drip(connection, b'a')));
    }
    for said in futures::future::join_all(dripping).await {
        let said = said.expect("cut off");
        assert!(!said.contains("200 OK"), "{said}");
    }
    assert!(started.elapsed() >= Duration::from_secs(1), "not at once");
}

#[tokio::test]
async fn a_body_that_drips_in_is_answered_408() {
    let program = Program::start(PATIENCE);
    let account = program.sign_up("slow").await;
    for (nsid, content_type) in [
        ("com.atproto.repo.uploadBlob", "image/png"),
        ("com.atproto.repo.createRecord", "application/json"),
        ("com.atproto.repo.importRepo", "application/vnd.ipld.car"),
    ] {
        let mut connection = Connection::open(program.address()).await;
        let head = upload_head(&account, nsid, content_type);
        connection.stream.write_all(head.as_bytes()).await.unwrap();
        let said = timeout(CUT_WITHIN, drip(connection, b' ')).await.expect("cut off");
        assert!(said.starts_with("HTTP/1.1 408"), "{nsid}: {said}");
        assert!(said.contains("RequestTimeout"), "{nsid}: {said}");
    }
}

#[tokio::test]
async fn an_upload_that_is_slow_but_keeps_the_pace_arrives() {
    let program = Program::start(PATIENCE);
    let account = program.sign_up("steady").await;
    let mut connection = Connection::open(program.address()).await;
    let head = upload_head(&account, "com.atproto.repo.uploadBlob", "text/plain");
    connection.stream.write_all(head.as_bytes()).await.unwrap();
    // 100000 bytes in 5 seconds: longer than anybody is waited for who stalls.
    let mut pause = interval(Duration::from_millis(250));
    for _ in 0..20 {
        pause.tick().await;
        connection.stream.write_all(&[b'x'; 5_000]).await.unwrap();
    }
    assert_eq!(connection.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    let program = Program::start(PATIENCE);
    let account = program.sign_up("bystander").await;
    // More than the system buffers for a connection.
    let cid = program.publish_blob(&account, vec![7; 16 << 20]).await;
    let blob = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", account.did);
    let request = format!("GET {blob} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let before = program.resident_kib();
    let mut readers = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(program.address()).await;
        connection.stream.write_all(request.as_bytes()).await.unwrap();
        // The answer has begun.
        connection.stream.read_exact(&mut [0; 512]).await.unwrap();
        readers.push(connection);
    }
    // The end comes while they do not read: what they find then is a part, and no more follows.
    let given_up = async {
        let mut looks = interval(Duration::from_millis(200));
        while open_blobs(&program) > 0 {
            looks.tick().await;
        }
    };
    timeout(CUT_WITHIN, given_up).await.expect("given up");
    let held = program.resident_kib_max() - before;
    eprintln!("50 clients that did not take 16 MiB each: {held} KiB more");
    assert!(held < 50 * 1024, "{held} KiB");
    let mut taken = Vec::new();
    let _ = readers.swap_remove(0).stream.read_to_end(&mut taken).await;
    assert!(taken.len() < 16 << 20, "{}", taken.len());
}

/// Blob files that the server has open.
fn open_blobs(program: &Program) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    names.filter(|name| name.components().any(|part| part.as_os_str() == "blobs")).count()
}
