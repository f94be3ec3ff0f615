//! Asking relays about this host and some of its accounts, and judging what they answer.
//!
//! Not for: what comes of it (`cli::relay` prints it, [`super::watch`] acts on it).

use atproto::syntax::Did;
use futures::{StreamExt as _, future::join_all, stream};

use super::{
    Relay, Relays,
    ask::{HostAnswer, HostStatus, RepoAnswer},
    verdict::{Finding, Level, Matter, OurAccount, OurHost, judge_account, judge_host},
};
use crate::{
    store::{Store, StoreError, account, repo, repo_seq},
    time::Clock,
};

/// Events that a relay has not taken are counted up to this.
pub const WAITING_COUNTED_MAX: u32 = 10_000;
/// Questions about accounts that one relay gets at a time.
const QUESTIONS_AT_ONCE: usize = 4;

/// Which accounts relays are asked about.
#[derive(Clone, Debug)]
pub enum Sample {
    /// So many of those made last: a relay's limit of accounts strikes these first.
    Newest(u32),
    /// This one.
    One(Did),
}

/// What one relay thinks.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its base URL.
    pub relay: String,
    /// What it said about the host, if it knows it.
    pub host: Option<HostStatus>,
    /// The number of the newest event here, read after the relay had answered.
    pub last_seq: i64,
    /// Accounts that it was asked about.
    pub n_accounts: usize,
    /// First about the host, then about accounts.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of it.
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Well)
    }
}

impl Relays {
    /// Asks every relay at once; reports in the order of the settings.
    pub async fn check(
        &self,
        store: &Store,
        clock: &Clock,
        sample: Sample,
    ) -> Result<Vec<Report>, StoreError> {
        let dids = match sample {
            Sample::One(did) => vec![did],
            Sample::Newest(n_max) => store.read(move |db| account::list_newest(db, n_max)).await?,
        };
        let reports = self.iter().map(|relay| self.check_one(relay, store, clock, &dids));
        join_all(reports).await.into_iter().collect()
    }

    async fn check_one(
        &self,
        relay: &Relay,
        store: &Store,
        clock: &Clock,
        dids: &[Did],
    ) -> Result<Report, StoreError> {
        let answer = self.host_status(relay).await;
        // After the answer: what the relay has seen by then is here, so that it cannot seem to be ahead.
        let ours = our_host(self.hostname(), &answer, store, clock).await?;
        let finding = judge_host(&answer, &ours);
        let host = match answer {
            HostAnswer::Known(status) => Some(status),
            _ => None,
        };
        // While nothing gets through, accounts have nothing to add.
        let ask_on = host.is_some() && finding.matter != Matter::Banned;
        let mut report = Report {
            relay: relay.url().to_owned(),
            host,
            last_seq: ours.last_seq,
            n_accounts: 0,
            findings: vec![finding],
        };
        if !ask_on {
            return Ok(report);
        }
        let mut answers = Vec::with_capacity(dids.len());
        let mut questions = stream::iter(dids.to_vec())
            .map(|did| async move {
                let answer = self.repo_status(relay, &did).await;
                (did, answer)
            })
            .buffered(QUESTIONS_AT_ONCE);
        while let Some((did, answer)) = questions.next().await {
            let last = matches!(answer, RepoAnswer::Failed(_) | RepoAnswer::NotImplemented);
            answers.push((did, answer));
            if last {
                break;
            }
        }
        drop(questions);
        report.n_accounts = answers.len();
        let accounts = our_accounts(answers.iter().map(|(did, _)| did.clone()).collect(), store).await?;
        let judged = answers.iter().zip(accounts);
        let judged =
            judged.filter_map(|((_, answer), ours)| Some(judge_account(answer, &ours?, clock.now())));
        report.findings.extend(judged);
        Ok(report)
    }
}

async fn our_host(
    hostname: &str,
    answer: &HostAnswer,
    store: &Store,
    clock: &Clock,
) -> Result<OurHost, StoreError> {
    let cursor = match answer {
        HostAnswer::Known(status) => status.seq.unwrap_or(0).max(0),
        _ => 0,
    };
    let (hostname, now) = (hostname.to_owned(), clock.now());
    let read = store.read(move |db| {
        Ok::<_, StoreError>(OurHost {
            hostname,
            last_seq: repo_seq::last_seq(db)?,
            n_waiting: repo_seq::count_after(db, cursor, WAITING_COUNTED_MAX)?,
            waiting_since: repo_seq::first_after(db, cursor)?.map(|(_, created_at)| created_at),
            now,
        })
    });
    read.await
}

/// What these accounts are here; `None` for one that has gone.
async fn our_accounts(dids: Vec<Did>, store: &Store) -> Result<Vec<Option<OurAccount>>, StoreError> {
    let read = store.read(move |db| {
        let account = |did: Did| {
            let Some(account) = account::get_by_did(db, &did)? else { return Ok(None) };
            let head = account.repo_id.map(|repo_id| repo::get_head(db, repo_id)).transpose()?.flatten();
            Ok::<_, StoreError>(Some(OurAccount {
                did,
                status: account.status(),
                rev: head.map(|head| head.rev),
            }))
        };
        dids.into_iter().map(account).collect()
    });
    read.await
}
