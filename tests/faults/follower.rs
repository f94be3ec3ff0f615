//! A subscriber through all lives of the program, and what it must have seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use atproto::{event::Frame, repo::verify_commit_event};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{net::TcpStream, sync::watch};
use tokio_tungstenite::{client_async, tungstenite::Message};

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// All frames so far, by their numbers.
pub struct Follower {
    address: String,
    seen: Arc<Mutex<Vec<(i64, Bytes)>>>,
    last_seq: watch::Receiver<i64>,
    connect: watch::Sender<()>,
}

impl Follower {
    /// Connects now, and again after each [`Follower::connect`] when the connection has been lost.
    pub fn start(address: &str) -> Follower {
        let (seen, (told, last_seq)) = (Arc::default(), watch::channel(0));
        let (connect, mut again) = watch::channel(());
        let follower = Follower { address: address.to_owned(), seen, last_seq, connect };
        let (address, seen) = (follower.address.clone(), follower.seen.clone());
        tokio::spawn(async move {
            loop {
                again.borrow_and_update();
                let cursor = *told.borrow();
                read(&address, cursor, &seen, &told).await;
                if again.changed().await.is_err() {
                    return;
                }
            }
        });
        follower
    }

    /// The server can be connected to.
    pub fn connect(&self) {
        self.connect.send_replace(());
    }

    /// Waits until everything has come that the log has; holds it against the log, byte for byte. `log`: the events in
    /// the database; those of deleted accounts may have gone from it.
    pub async fn compare(&mut self, log: &[(i64, Bytes)]) {
        let newest = log.last().map_or(0, |(seq, _)| *seq);
        let waiting = tokio::time::timeout(PATIENCE, self.last_seq.wait_for(|seq| *seq >= newest));
        waiting.await.unwrap_or_else(|_| panic!("event {newest} did not come")).unwrap();
        let seen: HashMap<i64, Bytes> = self.seen.lock().unwrap().iter().cloned().collect();
        for (seq, frame) in log {
            assert_eq!(seen.get(seq), Some(frame), "event {seq} is not what was sent, or was not sent");
        }
    }

    /// Numbers grow, and each commit follows the one before it.
    pub fn check(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        assert!(seen.is_sorted_by_key(|(seq, _)| *seq), "numbers grow");
        let mut heads = HashMap::new();
        for (seq, bytes) in &*seen {
            match Frame::decode(bytes).unwrap() {
                Frame::Commit(commit) => {
                    verify_commit_event(&commit, None).unwrap_or_else(|error| panic!("event {seq}: {error}"));
                    let data = verify_data(&commit);
                    let before = heads.insert(commit.repo.clone(), (commit.rev, data));
                    let expected = before.map(|(rev, data)| (rev, data.expect("a commit block")));
                    if expected.is_some() {
                        assert_eq!(
                            commit.since.zip(commit.prev_data),
                            expected,
                            "event {seq} follows another"
                        );
                    }
                }
                // An import, or an account that begins anew.
                Frame::Sync(sync) => drop(heads.remove(&sync.did)),
                _ => {}
            }
        }
        seen.len()
    }
}

/// The root of the tree that a commit is over.
fn verify_data(commit: &atproto::event::Commit) -> Option<atproto::data::Cid> {
    let (_, blocks) = atproto::repo::car::decode(&commit.blocks).ok()?;
    Some(atproto::repo::Commit::decode(blocks.get(&commit.commit)?).ok()?.data)
}

/// Until the connection ends.
async fn read(
    address: &str,
    cursor: i64,
    seen: &Mutex<Vec<(i64, Bytes)>>,
    told: &watch::Sender<i64>,
) -> Option<()> {
    let stream = TcpStream::connect(address).await.ok()?;
    let url = format!("ws://{address}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}");
    let (mut socket, _) = client_async(url, stream).await.ok()?;
    loop {
        let Message::Binary(bytes) = socket.next().await?.ok()? else { continue };
        let seq = match Frame::decode(&bytes).unwrap() {
            Frame::Commit(commit) => commit.seq,
            Frame::Sync(sync) => sync.seq,
            Frame::Identity(identity) => identity.seq,
            Frame::Account(account) => account.seq,
            _ => return None,
        };
        let mut seen = seen.lock().unwrap();
        assert!(seen.last().is_none_or(|(last, _)| *last < seq), "event {seq} came twice or late");
        seen.push((seq, bytes));
        drop(seen);
        told.send_replace(seq);
    }
}
