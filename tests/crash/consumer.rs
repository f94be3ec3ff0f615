//! Subscribers, and what they must have seen: the log of frames, byte for byte, and what a consumer makes of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use atproto::{
    data::Cid,
    event::{self, Frame},
    repo::{Action, Commit, car, verify_commit_event},
    syntax::Tid,
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{net::TcpSocket, sync::watch};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::random::Random;

/// How long a subscriber waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Receive buffer of the subscriber that hardly reads, in bytes.
const SMALL_BUFFER_BYTES: u32 = 4 * 1024;

/// All frames that any subscriber ever got.
#[derive(Default)]
pub struct Log(BTreeMap<i64, Bytes>);

impl Log {
    /// Enters what `who`, that had come to `cursor`, got next. Nothing here removes events, so the next number is the
    /// cursor's successor, and a number stands for the same bytes for ever.
    fn saw(&mut self, who: &str, cursor: i64, bytes: &Bytes) -> (i64, Frame) {
        let frame = Frame::decode(bytes).unwrap();
        let seq = seq(&frame).unwrap_or_else(|| panic!("{who}, cursor {cursor}: got {frame:?}"));
        assert_eq!(seq, cursor + 1, "{who} missed events or got some twice");
        match self.0.get(&seq) {
            Some(known) => {
                assert!(known == bytes, "{who}: event {seq} is not what it was before:\n{frame:?}")
            }
            None => drop(self.0.insert(seq, bytes.clone())),
        }
        (seq, frame)
    }
}

fn seq(frame: &Frame) -> Option<i64> {
    match frame {
        Frame::Commit(commit) => Some(commit.seq),
        Frame::Sync(sync) => Some(sync.seq),
        Frame::Identity(identity) => Some(identity.seq),
        Frame::Account(account) => Some(account.seq),
        _ => None,
    }
}

/// A repository as events tell of it.
#[derive(Clone, Debug)]
pub struct Replica {
    pub rev: Tid,
    pub commit: Cid,
    pub data: Cid,
    /// Path and CID of each record; `None` after a `#sync`, until the repository has been fetched.
    pub records: Option<BTreeMap<String, Cid>>,
}

/// What a consumer knows that follows all events and fetches repositories when it is told to.
#[derive(Default)]
pub struct Audit {
    /// The event followed last.
    pub last_seq: i64,
    pub replicas: HashMap<String, Replica>,
    /// Whether `#account` said last that it is active.
    pub active: HashMap<String, bool>,
    /// Handles that `#identity` has named, with their DIDs.
    pub handles: HashMap<String, String>,
    /// Commits since the last look, by DID: signatures are checked when the key is known.
    pub unchecked: HashMap<String, Vec<event::Commit>>,
    /// Revisions and commits that events have announced since the last look.
    pub announced: HashSet<(String, Tid, Cid)>,
}

impl Audit {
    fn follow(&mut self, seq: i64, frame: Frame) {
        self.last_seq = seq;
        match frame {
            Frame::Commit(commit) => self.follow_commit(commit),
            Frame::Sync(sync) => {
                let (roots, blocks) = car::decode(&sync.blocks).unwrap();
                let commit = Commit::decode(&blocks[&roots[0]]).unwrap();
                let did = sync.did.as_str().to_owned();
                assert_eq!((commit.rev, commit.did), (sync.rev, sync.did));
                let before = self.replicas.remove(&did);
                assert!(before.as_ref().is_none_or(|before| before.rev <= commit.rev), "{did} went back");
                // Activation announces the head that was there: nothing to fetch then.
                let records =
                    before.filter(|before| before.data == commit.data).and_then(|before| before.records);
                self.announced.insert((did.clone(), commit.rev, roots[0]));
                let replica = Replica { rev: commit.rev, commit: roots[0], data: commit.data, records };
                self.replicas.insert(did, replica);
            }
            Frame::Identity(identity) => {
                let handle = identity.handle.map(|handle| handle.to_string()).unwrap_or_default();
                self.handles.insert(handle, identity.did.as_str().to_owned());
            }
            Frame::Account(account) => {
                self.active.insert(account.did.as_str().to_owned(), account.active);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Each commit can be undone, and follows the one before it.
    fn follow_commit(&mut self, commit: event::Commit) {
        let did = commit.repo.as_str().to_owned();
        verify_commit_event(&commit, None)
            .unwrap_or_else(|error| panic!("{did}: event {}: {error}", commit.seq));
        let before = self.replicas.get(&did);
        let expected = before.map(|before| (before.rev, before.data));
        assert_eq!(
            commit.since.zip(commit.prev_data),
            expected,
            "{did}: event {} follows another",
            commit.seq
        );
        assert!(before.is_none_or(|before| before.rev < commit.rev), "{did}: event {}", commit.seq);
        let (_, blocks) = car::decode(&commit.blocks).unwrap();
        let data = Commit::decode(&blocks[&commit.commit]).unwrap().data;
        let mut records = before.map_or_else(|| Some(BTreeMap::new()), |before| before.records.clone());
        if let Some(records) = &mut records {
            for op in &commit.ops {
                let path = op.path.as_str().to_owned();
                let held = match op.cid {
                    Some(cid) => records.insert(path, cid),
                    None => records.remove(&path),
                };
                assert_eq!(
                    (held, op.action != Action::Create),
                    (op.prev, op.prev.is_some()),
                    "{did}: {op:?}"
                );
            }
        }
        self.announced.insert((did.clone(), commit.rev, commit.commit));
        self.replicas.insert(did.clone(), Replica { rev: commit.rev, commit: commit.commit, data, records });
        self.unchecked.entry(did).or_default().push(commit);
    }
}

/// How a subscriber behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Reads what there is, and tells the audit.
    Live,
    /// Reads a little in each life of the server and then holds its connection without reading.
    Slow,
    /// Goes away after a few frames and comes back with its cursor, again and again.
    Restless,
}

/// What subscribers share.
pub struct Watching {
    pub address: String,
    pub log: Mutex<Log>,
    pub audit: Mutex<Audit>,
    /// Counts what the audit has followed.
    pub followed: watch::Sender<u64>,
    /// The life of the server that can be connected to.
    pub life: watch::Sender<u64>,
    /// Read up to here, without holding back, and end.
    pub goal: watch::Sender<Option<i64>>,
}

/// Why a connection is left.
enum Left {
    /// The goal is reached.
    Done,
    /// It comes back with its cursor, in this life of the server or, when the connection broke, in a later one.
    Again,
    Broken,
}

/// Subscribes through all lives of the server until the goal is reached; returns the cursor.
pub async fn subscribe(watching: Arc<Watching>, manner: Manner, mut random: Random) -> i64 {
    let (mut life, mut cursor, mut tried) = (watching.life.subscribe(), 0, 0);
    loop {
        let current = *life.wait_for(|life| *life > tried).await.unwrap();
        match read(&watching, manner, &mut random, &mut cursor).await {
            Left::Done => return cursor,
            Left::Again => {}
            Left::Broken => tried = current,
        }
    }
}

async fn read(watching: &Watching, manner: Manner, random: &mut Random, cursor: &mut i64) -> Left {
    let buffer_bytes = (manner == Manner::Slow).then_some(SMALL_BUFFER_BYTES);
    let Some(mut socket) = connect(&watching.address, *cursor, buffer_bytes).await else {
        return Left::Broken;
    };
    let (mut goal, mut life) = (watching.goal.subscribe(), watching.life.subscribe());
    life.borrow_and_update();
    let mut left_to_read = match manner {
        Manner::Live => usize::MAX,
        Manner::Slow => 5 + random.below(30),
        Manner::Restless => 1 + random.below(20),
    };
    loop {
        let goal_now = *goal.borrow_and_update();
        if goal_now.is_some_and(|goal| *cursor >= goal) {
            return Left::Done;
        }
        if left_to_read == 0 && goal_now.is_none() {
            if manner == Manner::Slow {
                // Holds the connection without reading from it.
                tokio::select! {
                    _ = life.changed() => {}
                    _ = goal.changed() => {}
                }
            }
            return Left::Again;
        }
        left_to_read = left_to_read.saturating_sub(1);
        let message = tokio::select! {
            message = socket.next() => message,
            _ = goal.changed() => continue,
        };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_))) => continue,
            _ => return Left::Broken,
        };
        let (seq, frame) = watching.log.lock().unwrap().saw(&format!("{manner:?}"), *cursor, &bytes);
        *cursor = seq;
        if manner == Manner::Live {
            watching.audit.lock().unwrap().follow(seq, frame);
            watching.followed.send_modify(|n| *n += 1);
        }
    }
}

/// Reads from `cursor` to `last` over a connection of its own and compares with what was seen before.
pub async fn replay(watching: &Watching, mut cursor: i64, last: i64) {
    let mut socket = connect(&watching.address, cursor, None).await.expect("the server is running");
    while cursor < last {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an event of the log");
        match message.expect("the log goes on").unwrap() {
            Message::Binary(bytes) => cursor = watching.log.lock().unwrap().saw("replay", cursor, &bytes).0,
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The number of the newest event, which the server names when it refuses a cursor from the future.
pub async fn newest_seq(watching: &Watching) -> i64 {
    let mut socket = connect(&watching.address, 1 << 52, None).await.expect("the server is running");
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer").unwrap().unwrap();
    let Frame::Error(error) = Frame::decode(&message.into_data()).unwrap() else { panic!("no error frame") };
    assert_eq!(error.error, "FutureCursor");
    error.message.unwrap().split_whitespace().next_back().unwrap().parse().unwrap()
}

type Socket = WebSocketStream<tokio::net::TcpStream>;

async fn connect(address: &str, cursor: i64, buffer_bytes: Option<u32>) -> Option<Socket> {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = buffer_bytes {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    let stream = socket.connect(address.parse().unwrap()).await.ok()?;
    let url = format!("ws://{address}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}");
    Some(client_async(url, stream).await.ok()?.0)
}

/// Waits until the audit has followed what makes `is_there` true; `what` that is.
pub async fn wait_until(watching: &Watching, what: &str, is_there: impl Fn(&Audit) -> bool) {
    let mut followed = watching.followed.subscribe();
    let waiting = followed.wait_for(|_| is_there(&watching.audit.lock().unwrap()));
    let waited = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
    assert!(waited, "{what} did not come after event {}", watching.audit.lock().unwrap().last_seq);
}
