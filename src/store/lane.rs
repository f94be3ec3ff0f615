//! Who waits for whom at the readers. Requests of the public have a lane of their own, which is bounded in length and
//! leaves a reader to the others: people who are signed in, and the server itself.
//!
//! The lane belongs to the task that reads, from [`in_lane`] on, and not to each call: which services a request goes
//! through says nothing of whose it is. A task that was put in no lane is the server's own.
//!
//! Not for: who is signed in (`xrpc`).

use std::{cell::Cell, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task_local,
    time::timeout,
};

use super::StoreError;

/// Readers that the public leaves to others.
const RESERVED: usize = 1;
/// Reads of the public that may wait at a time. Each holds a request in memory.
const PUBLIC_WAITING_MAX: usize = 1024;
/// How long one of them waits, in seconds.
const PUBLIC_WAIT_SECS_MAX: u64 = 5;

task_local! {
    static LANE: Cell<Lane>;
}

/// Where a read waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// With everybody else who only reads; refused with [`StoreError::Busy`] when there are too many.
    Public,
    /// With those who are signed in, and the server itself.
    Owner,
}

/// Runs `work` with its reads in `lane`, until it leaves that.
pub async fn in_lane<F: Future>(lane: Lane, work: F) -> F::Output {
    LANE.scope(Cell::new(lane), work).await
}

/// From here on, the task's reads are not the public's: it has shown whose they are.
pub fn leave_public_lane() {
    // Outside of any lane there is nothing to leave.
    let _ = LANE.try_with(|lane| lane.set(Lane::Owner));
}

/// The readers' places.
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    public: Arc<Semaphore>,
    public_waiting: Semaphore,
    public_wait_max: Duration,
}

/// A reader's place, held while it reads: also when nobody waits for what it reads any more.
pub(super) struct Turn {
    _public: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

impl Lanes {
    pub(super) fn new(readers: usize) -> Lanes {
        Lanes {
            all: Arc::new(Semaphore::new(readers)),
            public: Arc::new(Semaphore::new(readers.saturating_sub(RESERVED).max(1))),
            public_waiting: Semaphore::new(PUBLIC_WAITING_MAX),
            public_wait_max: Duration::from_secs(PUBLIC_WAIT_SECS_MAX),
        }
    }

    /// A place for the current task.
    pub(super) async fn enter(&self) -> Result<Turn, StoreError> {
        let lane = LANE.try_with(Cell::get).unwrap_or(Lane::Owner);
        let public = match lane {
            Lane::Owner => None,
            Lane::Public => Some(self.enter_public().await?),
        };
        let place = self.all.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        Ok(Turn { _public: public, _place: place })
    }

    async fn enter_public(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        if let Ok(place) = self.public.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self.public_waiting.try_acquire().map_err(|_| StoreError::Busy)?;
        match timeout(self.public_wait_max, self.public.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn the_public_leaves_a_reader_to_owners() {
        let lanes = Lanes { public_wait_max: Duration::from_millis(1), ..Lanes::new(3) };
        let public = || in_lane(Lane::Public, lanes.enter());
        let _turns = (public().await.unwrap(), public().await.unwrap());
        assert!(matches!(public().await, Err(StoreError::Busy)), "after waiting");
        lanes.enter().await.unwrap();
        in_lane(Lane::Owner, lanes.enter()).await.unwrap();
        let signed_in = async {
            leave_public_lane();
            lanes.enter().await
        };
        in_lane(Lane::Public, signed_in).await.unwrap();
    }

    #[tokio::test]
    async fn the_lane_of_the_public_is_bounded_and_in_order() {
        let lanes = Lanes::new(2);
        let turn = in_lane(Lane::Public, lanes.enter()).await.unwrap();
        let mut waiting: Vec<_> =
            (0..PUBLIC_WAITING_MAX).map(|_| Box::pin(in_lane(Lane::Public, lanes.enter()))).collect();
        for waits in &mut waiting {
            assert!(futures::poll!(waits).is_pending());
        }
        let refused = futures::poll!(std::pin::pin!(in_lane(Lane::Public, lanes.enter())));
        assert!(matches!(refused, std::task::Poll::Ready(Err(StoreError::Busy))), "at once");
        drop(turn);
        assert!(futures::poll!(&mut waiting[1]).is_pending());
        assert!(futures::poll!(&mut waiting[0]).is_ready());
    }

    #[tokio::test]
    async fn one_reader_serves_everybody() {
        let lanes = Lanes::new(1);
        drop(in_lane(Lane::Public, lanes.enter()).await.unwrap());
        drop(in_lane(Lane::Owner, lanes.enter()).await.unwrap());
    }
}
