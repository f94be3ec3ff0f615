//! Asking relays what they think of us now and then, saying so in the log when it changes, and doing what can be done
//! from here: numbers jump ahead when a relay has seen more than we have.
//!
//! Not for: the command line's look at the same ([`super::check`] serves both).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Relays,
    check::{Report, Sample},
    verdict::{Finding, Level, Matter},
};
use crate::{
    service::sequence::{Sequence, Shown},
    store::{Store, StoreError},
    time::Clock,
};

/// From the start to the first look: a relay needs a moment to come back.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// From one look to the next.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Accounts that each relay is asked about.
const ACCOUNTS_MAX: u32 = 10;

/// The looks at the relays, and what the last one saw.
pub struct Watch {
    relays: Relays,
    sequence: Sequence,
    store: Store,
    clock: Clock,
    seen: BTreeMap<String, BTreeSet<Matter>>,
    /// Relays on whose word the numbers jumped ahead in the life of this process. Each is believed once: one that is ahead
    /// every time would have every account announced every hour.
    believed: BTreeSet<String>,
}

/// What to say in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something is the matter now that was not before.
    Worse {
        /// What; of several accounts, one.
        finding: Finding,
        /// How many accounts it is about; 0: it is about the host.
        n_accounts: usize,
    },
    /// Nothing is the matter any more.
    Well,
}

impl Watch {
    /// Looks at `relays` in the name of `store`.
    pub fn new(relays: Relays, sequence: Sequence, store: Store, clock: Clock) -> Watch {
        Watch { relays, sequence, store, clock, seen: BTreeMap::new(), believed: BTreeSet::new() }
    }

    /// Looks until it is dropped.
    pub async fn run(mut self) {
        if self.relays.iter().next().is_none() {
            return;
        }
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "relays could not be looked after; tried again in an hour");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// One look: repairs what can be repaired, and logs what has changed; returns what was logged, by relay.
    pub async fn look(&mut self) -> Result<Vec<(String, Notice)>, StoreError> {
        let reports = self.relays.check(&self.store, &self.clock, Sample::Newest(ACCOUNTS_MAX)).await?;
        let mut notices = Vec::new();
        for report in &reports {
            self.follow(report).await?;
            notices.extend(self.notices(report).into_iter().map(|notice| (report.relay.clone(), notice)));
        }
        for (relay, notice) in &notices {
            match notice {
                Notice::Worse { finding, n_accounts } => {
                    let did = finding.did.as_ref().map(|did| did.as_str());
                    let advice = finding.advice.as_deref().unwrap_or_default();
                    tracing::warn!(relay, accounts = n_accounts, did, advice, "relay: it {}", finding.text);
                }
                Notice::Well => tracing::info!(relay, "relay: all is well again"),
            }
        }
        Ok(notices)
    }

    /// Jumps beyond what the relay has seen, and asks it to come back.
    async fn follow(&mut self, report: &Report) -> Result<(), StoreError> {
        let ahead = report.findings.iter().any(|finding| finding.matter == Matter::AheadOfUs);
        let Some(seq) = report.host.as_ref().and_then(|host| host.seq).filter(|_| ahead) else {
            return Ok(());
        };
        if !self.believed.insert(report.relay.clone()) {
            return Ok(());
        }
        self.sequence.repair(&Shown { seq, witness: report.relay.clone() }).await?;
        for (relay, told) in self.relays.request_crawls().await {
            if let Err(error) = told {
                tracing::warn!(relay, %error, "a relay could not be asked to come back");
            }
        }
        Ok(())
    }

    /// What is new since the last look, one for each matter.
    fn notices(&mut self, report: &Report) -> Vec<Notice> {
        let mut matters: BTreeMap<Matter, (&Finding, usize)> = BTreeMap::new();
        for finding in report.findings.iter().filter(|finding| finding.level != Level::Well) {
            matters.entry(finding.matter).or_insert((finding, 0)).1 += usize::from(finding.did.is_some());
        }
        let now: BTreeSet<Matter> = matters.keys().copied().collect();
        let before = self.seen.insert(report.relay.clone(), now.clone()).unwrap_or_default();
        if now.is_empty() && !before.is_empty() {
            return vec![Notice::Well];
        }
        let new = matters.into_iter().filter(|(matter, _)| !before.contains(matter));
        new.map(|(_, (finding, n_accounts))| Notice::Worse { finding: finding.clone(), n_accounts }).collect()
    }
}
