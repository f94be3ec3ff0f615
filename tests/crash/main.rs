//! The program is killed at random moments while it is written to, and after each start everything is compared with what
//! clients were told: no acknowledged write is missing, one without an answer is whole or absent, no event is missing,
//! doubled, renumbered or changed for whoever comes back with a cursor, every repository verifies, every blob is there.
//!
//! What the seed draws is what is asked for and when it is killed; how requests of different writers fall is the
//! machine's. The system still has what a killed program has written: this shows that nothing is answered or sent before
//! it is written, not that the disk was told to flush.
//!
//! `ROOKERY_LONG=1` kills 500 times instead of 30. `ROOKERY_SEED=…` repeats what a failed run drew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod consumer;
mod load;
#[path = "../support/random.rs"]
mod random;
mod server;
#[path = "../support/whole_repo.rs"]
mod whole_repo;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use self::{
    account::{Account, check_sign_up},
    consumer::{Manner, Watching, newest_seq, replay, subscribe, wait_until},
    load::{Writer, sign_up},
    random::{Random, Seed, is_long_run},
    server::{Client, Program},
};

const KILLS: usize = 30;
const KILLS_LONG: usize = 500;
const WRITERS: usize = 6;
/// Of these, each writer's newest are written to; all are looked at in the end.
const ACCOUNTS_PER_WRITER: usize = 2;
/// Answers that a life lasts for, at most.
const ANSWERS_MAX: usize = 70;
/// How far back a replay begins at most, in events.
const REPLAY_MAX: i64 = 300;

/// One run.
struct Run {
    random: Random,
    program: Program,
    watching: Arc<Watching>,
    subscribers: JoinSet<i64>,
    /// The accounts of each writer.
    accounts: Vec<Vec<Account>>,
    n_signed_up: usize,
    n_answers: u64,
    n_unanswered: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_no_event_is_when_the_program_is_killed_rp_16_ev_7() {
    let seed = Seed::of_this_run();
    let kills = if is_long_run() { KILLS_LONG } else { KILLS };
    let began = Instant::now();
    let mut run = Run::new(&seed).await;
    let mut n_kills = 0;
    while n_kills < kills {
        if run.random.one_in(8) {
            run.kill_at_start().await;
        } else {
            run.live_and_die().await;
        }
        n_kills += 1;
    }
    let n_events = run.end().await;
    println!(
        "killed {n_kills} times in {:.0?}: {} requests answered, {} not; {n_events} events, {} accounts",
        began.elapsed(),
        run.n_answers,
        run.n_unanswered,
        run.accounts.iter().map(Vec::len).sum::<usize>(),
    );
    drop(seed);
}

impl Run {
    async fn new(seed: &Seed) -> Run {
        let mut random = Random::from_seed(seed.0);
        let program = Program::new(&mut random);
        let watching = Arc::new(Watching {
            address: program.url().trim_start_matches("http://").to_owned(),
            log: Default::default(),
            audit: Default::default(),
            followed: watch::Sender::new(0),
            life: watch::Sender::new(0),
            goal: watch::Sender::new(None),
        });
        let mut subscribers = JoinSet::new();
        for manner in [Manner::Live, Manner::Slow, Manner::Restless] {
            subscribers.spawn(subscribe(watching.clone(), manner, random.fork()));
        }
        let life = program.start().await;
        let client = Client::new(program.url());
        let mut accounts = Vec::new();
        for n in 0..WRITERS {
            accounts.push(vec![sign_up(&client, &format!("writer{n}.test")).await.unwrap()]);
        }
        life.stop();
        let (n_signed_up, n_answers, n_unanswered) = (0, 0, 0);
        Run { random, program, watching, subscribers, accounts, n_signed_up, n_answers, n_unanswered }
    }

    /// Kills it before or just after it is ready.
    async fn kill_at_start(&mut self) {
        let life = self.program.spawn();
        tokio::time::sleep(Duration::from_micros(self.random.next() % 80_000)).await;
        life.kill();
    }

    /// Starts it, compares, and kills it under load.
    async fn live_and_die(&mut self) {
        let life = self.program.start().await;
        let client = Client::new(self.program.url());
        self.watching.life.send_modify(|life| *life += 1);
        self.check(&client, ACCOUNTS_PER_WRITER).await;

        let n_answers = watch::Sender::new(0);
        let mut writers = JoinSet::new();
        for (n, accounts) in self.accounts.iter_mut().enumerate() {
            let newest = accounts.split_off(accounts.len().saturating_sub(ACCOUNTS_PER_WRITER));
            let (client, n_answers) = (client.clone(), n_answers.clone());
            let writer = Writer { client, accounts: newest, random: self.random.fork(), n_answers };
            writers.spawn(async move { (n, writer.run().await) });
        }
        let handle = format!("new{}.test", self.n_signed_up);
        let (signing_up, asked_for) = (client.clone(), handle.clone());
        let signing_up = tokio::spawn(async move { sign_up(&signing_up, &asked_for).await });

        let lasts_for = self.random.below(ANSWERS_MAX) as u64;
        let then = Duration::from_micros(self.random.next() % 8_000);
        let mut answers = n_answers.subscribe();
        tokio::select! {
            answered = answers.wait_for(|n| *n >= lasts_for) => drop(answered.unwrap()),
            ended = self.subscribers.join_next() => panic!("a subscriber ended: {ended:?}"),
            ended = writers.join_next() => panic!("a writer ended: {:?}\n{}", ended.map(|end| end.err()), self.program.log()),
        }
        tokio::time::sleep(then).await;
        life.kill();

        self.n_answers += *n_answers.borrow();
        while let Some(ended) = writers.join_next().await {
            let (n, accounts) = ended.unwrap();
            self.n_unanswered += accounts.iter().filter(|account| account.unanswered.is_some()).count();
            self.accounts[n].extend(accounts);
        }
        self.n_signed_up += 1;
        let signed_up = signing_up.await.unwrap();
        // A new one is written to from the next life on.
        let account = match signed_up {
            Ok(account) => Some(account),
            Err(_) => self.look_for(&handle).await,
        };
        if let Some(account) = account {
            self.accounts[self.n_signed_up % WRITERS].push(account);
        }
    }

    /// Starts it once more to see what became of a sign-up without an answer, and kills it.
    async fn look_for(&mut self, handle: &str) -> Option<Account> {
        self.n_unanswered += 1;
        let life = self.program.start().await;
        self.watching.life.send_modify(|life| *life += 1);
        let client = Client::new(self.program.url());
        self.catch_up().await;
        let account = check_sign_up(&client, &self.watching, handle).await;
        life.kill();
        account
    }

    /// Waits until the live subscriber has all events that there are; returns the number of the last.
    async fn catch_up(&self) -> i64 {
        let newest = newest_seq(&self.watching).await;
        wait_until(&self.watching, &format!("event {newest}"), |audit| audit.last_seq >= newest).await;
        newest
    }

    /// Compares the newest `n` accounts of each writer with what clients were told.
    async fn check(&mut self, client: &Client, n: usize) {
        let last = self.catch_up().await;
        for accounts in &mut self.accounts {
            let older = accounts.len().saturating_sub(n);
            for account in &mut accounts[older..] {
                account.check(client, &self.watching).await;
            }
        }
        let back = self.random.between(0, REPLAY_MAX);
        replay(&self.watching, (last - back).max(0), last).await;
        if let Some(ended) = self.subscribers.try_join_next() {
            panic!("a subscriber ended: {ended:?}");
        }
    }

    /// A last life, in which everything is looked at. Returns how many events there were.
    async fn end(&mut self) -> i64 {
        let life = self.program.start().await;
        let client = Client::new(self.program.url());
        self.watching.life.send_modify(|life| *life += 1);
        self.check(&client, usize::MAX).await;
        self.check_accounts(&client).await;
        let last = self.watching.audit.lock().unwrap().last_seq;
        self.watching.goal.send_replace(Some(last));
        while let Some(ended) = self.subscribers.join_next().await {
            assert_eq!(ended.unwrap(), last);
        }
        replay(&self.watching, 0, last).await;
        life.stop();
        last
    }

    /// The accounts that are here are those that were signed up for, and no other.
    async fn check_accounts(&self, client: &Client) {
        let known: HashSet<&str> =
            self.accounts.iter().flatten().map(|account| account.did.as_str()).collect();
        let (mut found, mut cursor) = (HashSet::new(), String::new());
        loop {
            let query = format!("limit=500{cursor}");
            let page = client.get("com.atproto.sync.listRepos", &query, None).await.unwrap().json();
            found.extend(
                page["repos"].as_array().unwrap().iter().map(|repo| repo["did"].as_str().unwrap().to_owned()),
            );
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found.iter().map(String::as_str).collect::<HashSet<_>>(), known);
    }
}
