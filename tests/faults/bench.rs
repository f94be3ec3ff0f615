//! The program on its disk, and what must hold after each fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atproto::{event::Frame, identity::DidDocument};

use crate::{
    acts::{Act, PINGS_MAX, Party, Stage},
    faults::{CHANGES, EIO, ENOSPC, Fault, Faults, Lasting},
    follower::Follower,
    random::Random,
    server::{Client, Life, Program, Reply},
    state::{Database, State, changed},
    whole_repo,
};

/// The program, its disk, and whoever follows it.
pub struct Bench {
    pub program: Program,
    pub faults: Faults,
    pub life: Option<Life>,
    pub client: Client,
    pub stage: Stage,
    pub follower: Follower,
    /// Answers that left open what would come of it.
    pub n_uncertain: usize,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// `None` where the shim cannot be compiled.
    pub async fn new() -> Option<Bench> {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let mut program =
            Program::new(&mut Random::from_seed(u64::try_from(seed & u128::from(u64::MAX)).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::compile(dir.path(), &program.path("data"))?;
        program.environment = faults.environment();
        // Mails of the sandbox, for the codes in them.
        program.log_level = "warn,rookery::service::mail=info";
        // It is written now and then, whatever is asked for; here the n-th operation has to be the same each time.
        program.settings.push(format!("firehose.mark_file={}", dir.path().join("mark").display()));
        let life = program.start().await;
        let client = Client::new(program.url());
        let follower = Follower::start(program.url().trim_start_matches("http://"));
        let stage = Stage::set(client.clone(), program.path("stderr.log")).await;
        let (life, n_uncertain) = (Some(life), 0);
        Some(Bench { program, faults, life, client, stage, follower, n_uncertain, _dir: dir })
    }

    pub fn database(&self) -> Database {
        Database::open(&self.program.path("data"))
    }

    pub fn state(&self) -> State {
        self.database().state()
    }

    /// How many operations `act` takes.
    pub async fn count(&mut self, act: Act) -> u32 {
        self.stage.prepare(act).await;
        self.faults.arm(Fault { nth: 1, error: EIO, kinds: CHANGES, lasting: Lasting::Count });
        let reply = self.stage.act(act).await;
        let happened = self.faults.lift();
        assert_eq!(reply.status, 200, "{act:?} without a fault: {}", String::from_utf8_lossy(&reply.bytes));
        happened.count
    }

    /// `act` with a fault. What is refused changes nothing; what is answered is there. False when the act was over before.
    pub async fn try_act(&mut self, act: Act, fault: Fault) -> bool {
        self.stage.prepare(act).await;
        let before = self.state();
        let heads = self.heads().await;
        self.faults.arm(fault);
        let reply = self.stage.act(act).await;
        let happened = self.faults.lift();
        let what = format!("{act:?}, {fault:?}, {}: {}", happened.what, told(&reply));
        check_answer(act, fault, &reply, &what);
        let changed = changed(&before, &self.state());
        if reply.status == 200 {
            assert!(changed.iter().any(|table| table == act.table()), "{what}: only {changed:?} changed");
        } else {
            assert!(happened.failed > 0, "{what}: nothing had failed");
            assert!(changed.is_empty(), "{what}: {changed:?} changed");
            assert_eq!(self.heads().await, heads, "{what}");
        }
        self.works(&what).await;
        happened.failed > 0
    }

    /// What everybody sees of the two.
    async fn heads(&self) -> [Vec<u8>; 2] {
        [self.stage.head(&self.stage.alice).await.bytes, self.stage.head(&self.stage.bob).await.bytes]
    }

    /// The next write is accepted: nothing has to be done after a fault.
    pub async fn works(&mut self, what: &str) {
        let reply = self.stage.write_as_carol().await;
        assert_eq!(reply.status, 200, "{what}; and then: {}", told(&reply));
    }

    /// `act` with a fault, and then SIGKILL while the disk still fails. Returns false when the act was over before.
    pub async fn try_act_and_kill(&mut self, act: Act, fault: Fault) -> bool {
        self.stage.prepare(act).await;
        let before = self.state();
        self.faults.arm(fault);
        let reply = self.stage.act(act).await;
        self.n_uncertain += usize::from(is_uncertain(&reply));
        // Nothing else may have the database open: the next start has to read the write-ahead log.
        self.life.take().unwrap().kill();
        let happened = self.faults.lift();
        let what = format!("{act:?}, {fault:?}, {}: {}, and killed", happened.what, told(&reply));
        self.start().await;
        check_answer(act, fault, &reply, &what);
        let changed = changed(&before, &self.state());
        let is_there = changed.iter().any(|table| table == act.table());
        match (reply.status.as_u16(), is_uncertain(&reply)) {
            (200, _) => assert!(is_there, "{what}: only {changed:?} changed"),
            (_, true) => assert!(is_there || changed.is_empty(), "{what}: {changed:?} changed"),
            (_, false) => assert!(changed.is_empty(), "{what}: {changed:?} changed"),
        }
        self.works(&what).await;
        happened.failed > 0
    }

    /// A blob without a row, an import cut short, an account half removed. The disk fails in the end.
    pub async fn leave_something_behind(&mut self) {
        for act in [Act::UploadBlob, Act::ImportRepo] {
            // Twice, as something else may be cleared away meanwhile.
            let nth = self.count(act).await.min(self.count(act).await) / 2;
            self.stage.prepare(act).await;
            self.faults.arm(Fault { nth, error: EIO, kinds: CHANGES, lasting: Lasting::UntilLifted });
            let reply = self.stage.act(act).await;
            self.faults.lift();
            assert_ne!(reply.status, 200, "{act:?}");
        }
        self.stage.prepare(Act::DeleteAccount).await;
        self.stage.act(Act::DeleteAccount).await.bytes();
        self.faults.arm(Fault { nth: 1, error: EIO, kinds: CHANGES, lasting: Lasting::UntilLifted });
    }

    pub async fn start(&mut self) {
        self.life = Some(self.program.start().await);
        self.follower.connect();
    }

    /// Everything fits together: the log and what was sent, the files, the trees.
    pub async fn check(&mut self) -> usize {
        let log = self.database().events_after(0);
        self.follower.compare(&log).await;
        let n_events = self.follower.check();
        self.database().check();
        self.database().check_blob_files(&self.program.path("data"));
        for party in [&self.stage.alice, &self.stage.bob, &self.stage.carol] {
            self.check_party(party).await;
        }
        n_events
    }

    /// The DID names the handle and the key that the account goes by.
    async fn check_party(&self, party: &Party) {
        let query = format!("did={}", party.did);
        let repo = format!("repo={}", party.did);
        let described = self.client.get("com.atproto.repo.describeRepo", &repo, None).await.unwrap().json();
        assert_eq!(described["handleIsCorrect"], true, "{described}");
        let document = DidDocument::from_json(described["didDoc"].clone()).unwrap();
        assert_eq!(document.handle().unwrap().as_str(), described["handle"]);
        let key = document.signing_key().unwrap().unwrap();
        let car = self.client.get("com.atproto.sync.getRepo", &query, None).await.unwrap().bytes();
        whole_repo::open_whole(&car, &party.did, &key);
    }

    /// `act` with a fault, and a start after it. Directory and account agree then, and whoever follows has been told to
    /// look. False when the act was over before.
    pub async fn try_change_of_identity(&mut self, act: Act, fault: Fault) -> bool {
        self.stage.prepare(act).await;
        let bob = self.stage.bob.clone();
        let (last_seq, before) = (self.database().last_seq(), self.database().operations(&bob.did));
        self.faults.arm(fault);
        let reply = self.stage.act(act).await;
        let happened = self.faults.lift();
        let what = format!("{act:?}, {fault:?}, {}: {}", happened.what, told(&reply));
        check_answer(act, fault, &reply, &what);
        assert!(reply.status == 200 || happened.failed > 0, "{what}: nothing had failed");
        if act == Act::UpdateSigningKey && reply.status != 200 {
            // The operator is told to ask again.
            self.stage.act(act).await.bytes();
        }
        self.life.take().unwrap().stop();
        self.start().await;
        // A handle that the directory did not take stays taken for a minute: it may take it yet.
        let may_wait = act == Act::UpdateHandle && self.database().operations(&bob.did) == before;
        let mut n_pending = self.database().n_pending();
        for _ in 0..PINGS_MAX {
            if n_pending == 0 || may_wait {
                break;
            }
            self.client.get("_health", "", None).await.unwrap().bytes();
            n_pending = self.database().n_pending();
        }
        assert!(n_pending == 0 || may_wait, "{what}: not finished");
        self.stage.forget_operation();
        self.check_party(&bob).await;
        let (n_operations, operation) = self.database().operations(&bob.did);
        let is_about_bob =
            |frame: Frame| matches!(frame, Frame::Identity(about) if about.did.as_str() == bob.did);
        let events = self.database().events_after(last_seq);
        let is_announced = events.into_iter().any(|(_, frame)| is_about_bob(Frame::decode(&frame).unwrap()));
        let is_submitted = act == Act::SubmitOperation && n_operations > before.0;
        assert!(is_announced || (operation == before.1 && !is_submitted), "{what}: nobody was told");
        assert!(reply.status != 200 || is_announced, "{what}: nobody was told");
        self.works(&what).await;
        happened.failed > 0
    }
}

pub fn told(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.bytes[..reply.bytes.len().min(300)]))
}

fn is_uncertain(reply: &Reply) -> bool {
    String::from_utf8_lossy(&reply.bytes).contains("not certain")
}

/// An answer is 200, or says in the right words that the disk failed.
fn check_answer(act: Act, fault: Fault, reply: &Reply, what: &str) {
    let name = reply.error().unwrap_or_default();
    match (reply.status.as_u16(), name.as_str()) {
        (200, _) | (500, "StorageFailure") => {}
        (503, "InsufficientStorage") if fault.error == ENOSPC => {}
        (502, "UpstreamFailure") if act.asks_directory() => {}
        _ => panic!("{what}"),
    }
    let text = String::from_utf8_lossy(&reply.bytes);
    assert!(!text.contains('/') || reply.status == 200, "{what} shows a path");
}
