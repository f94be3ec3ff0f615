//! Invite codes: those that the operator makes, and those that accounts earn with time.
//!
//! An account earns a code for each whole interval of its life after the epoch, and holds [`UNUSED_MAX`] that are not
//! used up at most. Codes that the operator gave it do not count. The count and the new codes are one transaction, so
//! that asking ten times at once earns no more than asking once.

use atproto::syntax::Did;

use super::Accounts;
use crate::{
    service::settings::InviteSchedule,
    store::{
        StoreError,
        account::{self, Account},
        invite_code::{self, EarnedCount, InviteCode, InviteOrder, NewInviteCode},
    },
    time::{Entropy, Micros},
};

/// Owner of codes that nobody in particular may give away.
pub const OPERATOR: &str = "admin";
/// Accounts that one code can be made good for.
pub const USES_MAX: i64 = 100_000;
/// Codes made by one call.
pub const CODES_MAX: usize = 1_000;
/// Codes of one account that are listed, the newest.
pub const OF_ACCOUNT_MAX: usize = 1_000;

/// Earned codes that an account can hold without using them.
const UNUSED_MAX: usize = 5;

/// Why no codes were made or disabled.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Good for nobody, or for too many.
    #[error("useCount must be between 1 and {USES_MAX}")]
    Uses,
    /// None, or too many.
    #[error(
        "codeCount must be at least 1, and one call makes at most {CODES_MAX} codes for all accounts together"
    )]
    Codes,
    /// All of the operator's codes at once.
    #[error("cannot disable admin invite codes")]
    Operators,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Codes of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountCodes {
    /// Its DID, or [`OPERATOR`].
    pub account: String,
    /// The codes.
    pub codes: Vec<String>,
}

/// Whether an account's list of codes is brought up to date first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earning {
    /// Codes that it has earned and does not have yet are made.
    Collected,
    /// The list is as it is.
    LeftAlone,
}

/// Whether an account's earned codes are good for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteRight {
    /// They are.
    Granted,
    /// They are made for the books, and disabled.
    Withdrawn,
}

impl Accounts {
    /// Makes an invite code of the operator's, good for `uses` accounts.
    pub async fn create_invite(&self, uses: u32) -> Result<String, InviteError> {
        let made = self.create_invites(vec![OPERATOR.to_owned()], 1, i64::from(uses)).await?;
        made.into_iter().flat_map(|made| made.codes).next().ok_or(InviteError::Codes)
    }

    /// Makes `codes_each` codes for each of `accounts` (DIDs, which need no account here, or [`OPERATOR`]), each good
    /// for `uses` accounts.
    pub async fn create_invites(
        &self,
        accounts: Vec<String>,
        codes_each: i64,
        uses: i64,
    ) -> Result<Vec<AccountCodes>, InviteError> {
        if !(1..=USES_MAX).contains(&uses) {
            return Err(InviteError::Uses);
        }
        let codes_each = usize::try_from(codes_each).map_err(|_| InviteError::Codes)?;
        if codes_each == 0 || codes_each.saturating_mul(accounts.len()) > CODES_MAX {
            return Err(InviteError::Codes);
        }
        let made: Vec<_> = accounts
            .into_iter()
            .map(|account| AccountCodes {
                account,
                codes: (0..codes_each).map(|_| self.draw_code()).collect(),
            })
            .collect();
        let rows: Vec<_> = made
            .iter()
            .flat_map(|made| made.codes.iter().map(|code| operators(code.clone(), &made.account, uses)))
            .collect();
        self.inner
            .store
            .write(move |tx| rows.iter().try_for_each(|row| invite_code::insert(tx, row, tx.now())))
            .await
            .map_err(|error: StoreError| InviteError::from(error))?;
        Ok(made)
    }

    /// The codes of an account, oldest first, the newest [`OF_ACCOUNT_MAX`] of them; disabled ones too.
    pub async fn invites_of(
        &self,
        account: &Account,
        earning: Earning,
    ) -> Result<Vec<InviteCode>, StoreError> {
        let parts = &self.inner;
        let schedule = parts.settings.invite_schedule.filter(|_| parts.settings.invite_required);
        if let Some(schedule) = schedule.filter(|_| earning == Earning::Collected) {
            self.collect(account, schedule).await?;
        }
        let did = account.did.clone();
        parts.store.read(move |db| invite_code::list_of_account(db, did.as_str(), OF_ACCOUNT_MAX)).await
    }

    /// Makes the codes that the account has earned. Looks before it writes: most calls find nothing to do.
    async fn collect(&self, account: &Account, schedule: InviteSchedule) -> Result<(), StoreError> {
        let parts = &self.inner;
        let (did, created_at, now) = (account.did.clone(), account.created_at, parts.clock.now());
        let missing = parts
            .store
            .read(move |db| {
                let earned = invite_code::count_earned(db, did.as_str(), schedule.epoch)?;
                Ok::<_, StoreError>(n_missing(schedule, created_at, now, earned))
            })
            .await?;
        if missing == 0 {
            return Ok(());
        }
        let did = account.did.clone();
        let drawn: Vec<_> = (0..UNUSED_MAX).map(|_| self.draw_code()).collect();
        parts
            .store
            .write(move |tx| {
                let Some(account) = account::get_by_did(tx, &did)? else { return Ok(()) };
                let earned = invite_code::count_earned(tx, did.as_str(), schedule.epoch)?;
                let missing = n_missing(schedule, account.created_at, tx.now(), earned);
                drawn.into_iter().take(missing).try_for_each(|code| {
                    let row = NewInviteCode {
                        code,
                        available_uses: 1,
                        disabled: account.invites_disabled,
                        for_account: did.to_string(),
                        created_by: did.to_string(),
                    };
                    invite_code::insert(tx, &row, tx.now())
                })
            })
            .await
    }

    /// All codes, `n_max` at most, after the time or number of uses, and the code, of the last one of the page before.
    pub async fn list_invites(
        &self,
        order: InviteOrder,
        after: Option<(i64, String)>,
        n_max: usize,
    ) -> Result<Vec<InviteCode>, StoreError> {
        let list = move |db: &_| {
            let after = after.as_ref().map(|(number, code)| (*number, code.as_str()));
            invite_code::list(db, order, after, n_max)
        };
        self.inner.store.read(list).await
    }

    /// Makes `codes` useless, and all codes of `accounts`.
    pub async fn disable_invites(
        &self,
        codes: Vec<String>,
        accounts: Vec<String>,
    ) -> Result<(), InviteError> {
        if accounts.iter().any(|account| account == OPERATOR) {
            return Err(InviteError::Operators);
        }
        self.inner
            .store
            .write(move |tx| {
                codes.iter().try_for_each(|code| invite_code::disable(tx, code))?;
                Ok(accounts.iter().try_for_each(|account| invite_code::disable_of_account(tx, account))?)
            })
            .await
    }

    /// Lets an account earn codes, or not. Codes that it has stay as they are; an unknown DID is passed over.
    pub async fn set_invite_right(&self, did: Did, right: InviteRight) -> Result<(), StoreError> {
        let disabled = right == InviteRight::Withdrawn;
        self.inner.store.write(move |tx| account::set_invites_disabled(tx, &did, disabled)).await
    }

    fn draw_code(&self) -> String {
        code(&self.inner.settings.hostname, &self.inner.entropy)
    }
}

/// `<host name>-xxxxx-xxxxx`; with dashes for dots, so that nothing takes it for a link.
fn code(hostname: &str, entropy: &Entropy) -> String {
    format!("{}-{}-{}", hostname.replace('.', "-"), entropy.base32::<5>(), entropy.base32::<5>())
}

fn operators(code: String, for_account: &str, available_uses: i64) -> NewInviteCode {
    NewInviteCode {
        code,
        available_uses,
        disabled: false,
        for_account: for_account.to_owned(),
        created_by: OPERATOR.to_owned(),
    }
}

/// How many codes an account has earned and does not have yet.
///
/// Intervals run from the account's beginning, so one that the epoch falls into counts as after it.
fn n_missing(schedule: InviteSchedule, created_at: Micros, now: Micros, earned: EarnedCount) -> usize {
    let interval = i64::try_from(schedule.interval.as_micros()).unwrap_or(i64::MAX).max(1);
    let intervals_until = |moment: Micros| moment.saturating_sub(created_at).max(0) / interval;
    let due = intervals_until(now) - intervals_until(schedule.epoch.min(now)) - earned.after;
    let room = i64::try_from(UNUSED_MAX).unwrap_or(0) - earned.unused;
    usize::try_from(due.min(room)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::SECOND;

    const DAY: Micros = 24 * 60 * 60 * SECOND;

    fn weekly(epoch: Micros) -> InviteSchedule {
        InviteSchedule { interval: Duration::from_secs(7 * 24 * 60 * 60), epoch }
    }

    fn earned(after: i64, unused: i64) -> EarnedCount {
        EarnedCount { after, unused }
    }

    #[test]
    fn an_account_earns_one_code_for_each_whole_interval() {
        for (days, expected) in [(0, 0), (6, 0), (7, 1), (13, 1), (14, 2), (28, 4)] {
            assert_eq!(n_missing(weekly(0), 100 * DAY, (100 + days) * DAY, earned(0, 0)), expected, "{days}");
        }
    }

    #[test]
    fn it_holds_five_unused_codes_at_most_and_what_it_has_is_not_earned_again() {
        let now = 1_000 * DAY;
        assert_eq!(n_missing(weekly(0), 100 * DAY, now, earned(0, 0)), 5);
        assert_eq!(n_missing(weekly(0), 100 * DAY, now, earned(5, 5)), 0);
        assert_eq!(n_missing(weekly(0), 100 * DAY, now, earned(5, 2)), 3);
        assert_eq!(n_missing(weekly(0), 100 * DAY, 128 * DAY, earned(3, 0)), 1);
        assert_eq!(n_missing(weekly(0), 100 * DAY, 128 * DAY, earned(4, 0)), 0);
        assert_eq!(n_missing(weekly(0), 100 * DAY, 128 * DAY, earned(9, 9)), 0);
    }

    #[test]
    fn intervals_before_the_epoch_do_not_count() {
        // Made on day 100, 10 days and one interval before the epoch.
        let epoch = 110 * DAY;
        for (day, expected) in [(110, 0), (113, 0), (114, 1), (121, 2), (107, 0)] {
            assert_eq!(n_missing(weekly(epoch), 100 * DAY, day * DAY, earned(0, 0)), expected, "day {day}");
        }
        // Made after the epoch: only its own life counts.
        assert_eq!(n_missing(weekly(epoch), 120 * DAY, 127 * DAY, earned(0, 0)), 1);
        // Holding codes from before the epoch leaves less room, but does not use up what is earned after it.
        assert_eq!(n_missing(weekly(epoch), 100 * DAY, 150 * DAY, earned(0, 4)), 1);
    }

    #[test]
    fn clocks_that_go_backwards_earn_nothing() {
        assert_eq!(n_missing(weekly(0), 100 * DAY, 50 * DAY, earned(0, 0)), 0);
        assert_eq!(n_missing(weekly(i64::MAX), i64::MIN, i64::MAX, earned(0, 0)), 0);
        let instant = InviteSchedule { interval: Duration::ZERO, epoch: 0 };
        assert_eq!(n_missing(instant, 0, DAY, earned(0, 0)), 5);
    }

    #[test]
    fn a_code_names_the_server_without_being_a_link() {
        let made = code("pds.example.com", &Entropy::system());
        let random = made.strip_prefix("pds-example-com-").map(str::as_bytes).unwrap_or_default();
        assert_eq!((random.len(), random.get(5)), (11, Some(&b'-')), "{made}");
    }
}
