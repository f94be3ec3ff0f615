//! Numbers of events grow, also when the database is put back to what it was (invariant 2).
//!
//! A subscriber remembers one number. A database restored from a backup would give out numbers again that subscribers have
//! seen: they would be refused as coming from the future, and then skip what is new to them. So before serving, the
//! newest number of the database is held against two witnesses: the mark ([`crate::store::sequence_mark`]) and the relays. When
//! either has seen more, the numbers up to there are left out for good, and every account is announced again.
//!
//! docs/decisions/0010-numbers-grow-across-a-restore.md says why it is done like this.
//!
//! Not for: giving out numbers (the writer does).

use std::time::Duration;

use tokio::sync::watch;

use super::{
    account::Accounts,
    relays::{Relays, ask::HostAnswer},
};
use crate::{
    store::{Store, StoreError, repo_seq, seq_repair},
    task,
};

/// The greatest number that a relay is believed to have seen: half of the 2^53 that a number may reach. A relay that
/// lies, as often as it likes, gets us no further; from there on the numbers last for 14,000 years of 10,000 events a second.
pub const BELIEVED_MAX: i64 = 1 << 52;
/// The greatest number that the mark is believed about; it may be above [`BELIEVED_MAX`] by what came after a jump.
const MARK_MAX: i64 = (1 << 53) - 1 - (1 << 40);
/// How far a jump goes beyond what was seen. Both witnesses trail what subscribers were shown: the mark by a second, or by half
/// a minute when the machine died with it; a relay by the few seconds in which it saves its place. Far more than the writer can
/// number in that time.
pub const MARGIN: i64 = 1_000_000;
/// How long the start waits for the answers of relays, all together.
pub const START_PATIENCE: Duration = Duration::from_secs(2);
/// How often the mark is written while there are new events.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Every so many times it is also brought to the disk.
const MARK_DURABLE_EVERY: u32 = 10;

/// Keeps numbers growing. Cheap to clone.
#[derive(Clone)]
pub struct Sequence {
    store: Store,
    accounts: Accounts,
    relays: Relays,
}

/// A number that subscribers were shown, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The number.
    pub seq: i64,
    /// The path of the mark, or the URL of a relay.
    pub witness: String,
}

impl Sequence {
    /// The numbers of `store`, whose `accounts` are announced and whose `relays` are asked.
    pub fn new(store: Store, accounts: Accounts, relays: Relays) -> Sequence {
        Sequence { store, accounts, relays }
    }

    /// Compares, repairs, and finishes a repair that was cut short. Call it before anything is served. Relays that do not
    /// answer within [`START_PATIENCE`] are left out; they are asked again while the server runs ([`super::relays::watch`]).
    pub async fn start(&self) -> Result<(), StoreError> {
        let mark = self.read_mark().await;
        let answers = self.relays.host_statuses(START_PATIENCE).await;
        let claims: Vec<(String, HostAnswer)> =
            answers.into_iter().map(|(relay, answer)| (relay.url().to_owned(), answer)).collect();
        let last_seq = self.store.read(repo_seq::last_seq).await?;
        let path = self.store.sequence_mark().path().display().to_string();
        let shown = most_shown(mark.map(|seq| Shown { seq, witness: path }), &claims);
        match shown.filter(|shown| shown.seq > last_seq) {
            Some(shown) => self.jump_beyond(&shown, last_seq).await?,
            None => self.finish().await?,
        }
        self.write_mark_durably().await;
        Ok(())
    }

    /// Leaves out the numbers up to `shown` and [`MARGIN`] more, and announces every account again. Does nothing when the
    /// numbers here are above `shown` already, or when it is not believed.
    pub async fn repair(&self, shown: &Shown) -> Result<(), StoreError> {
        let last_seq = self.store.read(repo_seq::last_seq).await?;
        if shown.seq > last_seq && shown.seq <= BELIEVED_MAX {
            self.jump_beyond(shown, last_seq).await?;
        }
        Ok(())
    }

    async fn jump_beyond(&self, shown: &Shown, last_seq: i64) -> Result<(), StoreError> {
        tracing::warn!(
            newest_here = last_seq,
            seen = shown.seq,
            witness = shown.witness,
            "this database is older than what subscribers have seen of it (was it restored from a backup?): \
             numbers of events go on above that, and every account is announced again"
        );
        let target = shown.seq.saturating_add(MARGIN);
        let jump = self.store.write(move |tx| {
            tx.skip_seq_to(target)?;
            seq_repair::begin(tx)
        });
        jump.await?;
        self.finish().await
    }

    /// Announces the accounts that a repair has not come to yet.
    async fn finish(&self) -> Result<(), StoreError> {
        let n_announced = self.accounts.announce_again().await?;
        if n_announced > 0 {
            tracing::info!(accounts = n_announced, "accounts were announced again");
        }
        Ok(())
    }

    /// Follows the newest number with the mark, a second behind, until the sender of `last_seq` has gone.
    pub async fn keep_mark(&self, mut last_seq: watch::Receiver<i64>) {
        let (mut n_written, mut failing) = (0_u32, false);
        while last_seq.changed().await.is_ok() {
            let (seq, mark) = (*last_seq.borrow_and_update(), self.store.sequence_mark());
            let durably = n_written.is_multiple_of(MARK_DURABLE_EVERY);
            n_written = n_written.wrapping_add(1);
            let written =
                off_thread(move || if durably { mark.write_durably(seq) } else { mark.write(seq) }).await;
            match &written {
                Err(error) if !failing => mark_failed(error),
                _ => {}
            }
            failing = written.is_err();
            tokio::time::sleep(MARK_EVERY).await;
        }
    }

    /// Writes the newest number into the mark, and waits for the disk. Call it when nothing is written any more.
    pub async fn write_mark_durably(&self) {
        let mark = self.store.sequence_mark();
        let written = match self.store.read(repo_seq::last_seq).await {
            Ok(seq) => off_thread(move || mark.write_durably(seq)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            mark_failed(&error);
        }
    }

    /// What the mark says, if it can be believed.
    async fn read_mark(&self) -> Option<i64> {
        let mark = self.store.sequence_mark();
        match off_thread(move || mark.read()).await {
            Ok(Some(seq)) if seq > MARK_MAX => {
                tracing::error!(seq, "the mark holds a number that no server gets to, and is not believed");
                None
            }
            Ok(seq) => seq,
            Err(error) => {
                tracing::error!(%error, "the mark cannot be read: only relays can say what subscribers have seen");
                None
            }
        }
    }
}

fn mark_failed(error: &StoreError) {
    tracing::error!(%error, "what subscribers have seen cannot be written down: after a restore from a backup, relays \
                    alone could tell. Set firehose.mark_file to a place that can be written");
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}

/// The greatest number of the mark and of the relays that can be believed.
fn most_shown(mark: Option<Shown>, claims: &[(String, HostAnswer)]) -> Option<Shown> {
    let claims = claims.iter().filter_map(|(relay, answer)| match answer {
        HostAnswer::Known(status) => Some(Shown { seq: status.seq?, witness: relay.clone() }),
        _ => None,
    });
    // The mark wins a tie: it is our own.
    claims.filter(|shown| shown.seq <= BELIEVED_MAX).chain(mark).max_by_key(|shown| shown.seq)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::service::relays::ask::HostStatus;

    #[test]
    fn the_greatest_number_that_can_be_believed_counts() {
        let says = |relay: &str, seq| {
            let status = HostStatus { status: None, seq, account_count: None };
            (relay.to_owned(), HostAnswer::Known(status))
        };
        let mark = |seq| Some(Shown { seq, witness: "mark".to_owned() });
        let silent = || ("silent".to_owned(), HostAnswer::Failed("no answer".into()));
        for (mark, claims, expected) in [
            (None, vec![], None),
            (None, vec![silent(), ("new".into(), HostAnswer::NeverHeard)], None),
            (mark(7), vec![silent()], Some((7, "mark"))),
            (mark(7), vec![says("a", Some(9)), says("b", Some(8)), silent()], Some((9, "a"))),
            (mark(7), vec![says("a", Some(7)), says("b", None)], Some((7, "mark"))),
            (None, vec![says("a", Some(-1)), says("b", Some(3))], Some((3, "b"))),
            (mark(7), vec![says("a", Some(BELIEVED_MAX))], Some((BELIEVED_MAX, "a"))),
            (mark(7), vec![says("a", Some(BELIEVED_MAX + 1)), says("b", Some(i64::MAX))], Some((7, "mark"))),
        ] {
            let shown = most_shown(mark, &claims);
            assert_eq!(
                shown.as_ref().map(|shown| (shown.seq, shown.witness.as_str())),
                expected,
                "{claims:?}"
            );
        }
    }

    #[test]
    fn no_witness_can_use_up_the_numbers() {
        let most = MARK_MAX.max(BELIEVED_MAX) + MARGIN;
        assert!((1_i64 << 53) - most > 1 << 39, "there are numbers left after the greatest jump");
    }
}
