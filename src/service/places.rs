//! Places for work that is long or dear and so is done for a few at a time: exports, uploads.
//!
//! Nobody gets more than half of the places, so that one who asks for much leaves some to others; those who wait are
//! bounded in number and time; and who is done work for knows whether others wait ([`Place::is_wanted`]), so that a peer
//! who is slow can be made to give way.
//!
//! Not for: what the work is.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Those who may wait, for each place.
const WAITING_PER_PLACE_MAX: usize = 8;
/// Two who are to give way follow each other no sooner: the first one's place may be enough.
const GIVE_WAY_EVERY: Duration = Duration::from_secs(1);

/// A number of places. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    places: Arc<Semaphore>,
    each_max: usize,
    of_each: Mutex<HashMap<String, Weak<Semaphore>>>,
    waiting: Semaphore,
    /// Waiting for a place that somebody else has.
    wanted: AtomicUsize,
    gave_way_at: Mutex<Option<Instant>>,
}

/// A place, held until it is dropped.
pub struct Place {
    shared: Arc<Shared>,
    _own: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

/// No place came free in time, or too many wait already.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Places {
    /// `max` places.
    pub fn new(max: usize) -> Places {
        Places(Arc::new(Shared {
            places: Arc::new(Semaphore::new(max)),
            each_max: max.div_ceil(2),
            of_each: Mutex::default(),
            waiting: Semaphore::new(max * WAITING_PER_PLACE_MAX),
            wanted: AtomicUsize::new(0),
            gave_way_at: Mutex::new(None),
        }))
    }

    /// A place for `who`, waited for until `wait_max` has passed. `None` is nobody in particular, who has no share.
    pub async fn take(&self, who: Option<&str>, wait_max: Duration) -> Result<Place, Full> {
        let shared = &self.0;
        let _waiting = shared.waiting.try_acquire().map_err(|_| Full)?;
        let until = Instant::now() + wait_max;
        let own = match who.map(|who| shared.places_of(who)) {
            Some(own) => Some(in_time(until, own).await?),
            None => None,
        };
        let place = match shared.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _wanted = Wanted::new(&shared.wanted);
                in_time(until, shared.places.clone()).await?
            }
        };
        Ok(Place { shared: shared.clone(), _own: own, _place: place })
    }
}

async fn in_time(until: Instant, places: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Full> {
    match timeout_at(until, places.acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Full),
    }
}

impl Shared {
    fn places_of(&self, who: &str) -> Arc<Semaphore> {
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = of_each.get(who).and_then(Weak::upgrade) {
            return places;
        }
        // As many are left as hold places or wait for one.
        of_each.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.each_max));
        of_each.insert(who.to_owned(), Arc::downgrade(&places));
        places
    }
}

impl Place {
    /// True when others wait, and the one who asks is the one to give way now.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted_at(Instant::now())
    }

    fn is_wanted_at(&self, now: Instant) -> bool {
        if self.shared.wanted.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut gave_way_at = self.shared.gave_way_at.lock().unwrap_or_else(PoisonError::into_inner);
        if gave_way_at.is_some_and(|at| now.duration_since(at) < GIVE_WAY_EVERY) {
            return false;
        }
        *gave_way_at = Some(now);
        true
    }
}

/// Counts for as long as it lives.
struct Wanted<'a>(&'a AtomicUsize);

impl Wanted<'_> {
    fn new(count: &AtomicUsize) -> Wanted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Wanted(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Long enough to be waited for, short enough to wait for it.
    const WAIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn nobody_takes_more_than_half() {
        let places = Places::new(4);
        let first = places.take(Some("greedy"), WAIT).await.unwrap();
        let _second = places.take(Some("greedy"), WAIT).await.unwrap();
        assert_eq!(places.take(Some("greedy"), WAIT).await.err(), Some(Full));
        let _other = places.take(Some("other"), WAIT).await.unwrap();
        assert!(!first.is_wanted(), "whoever waits for the own share wants nobody's place");
        drop(first);
        let _third = places.take(Some("greedy"), WAIT).await.unwrap();
        let _fourth = places.take(None, WAIT).await.unwrap();
        assert_eq!(places.take(None, WAIT).await.err(), Some(Full));
    }

    #[tokio::test]
    async fn one_after_the_other_gives_way_while_others_wait() {
        let places = Places::new(2);
        let held = [places.take(None, WAIT).await.unwrap(), places.take(None, WAIT).await.unwrap()];
        assert!(!held[0].is_wanted());
        let mut waits = std::pin::pin!(places.take(None, WAIT));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        assert!(held[0].is_wanted());
        assert!(!held[1].is_wanted(), "one place may be enough");
        assert!(held[1].is_wanted_at(Instant::now() + GIVE_WAY_EVERY));
        drop(held);
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn those_who_wait_are_bounded_in_number() {
        let places = Places::new(1);
        let held = places.take(None, WAIT).await.unwrap();
        let mut waiting: Vec<_> =
            (0..WAITING_PER_PLACE_MAX).map(|_| Box::pin(places.take(None, WAIT))).collect();
        for waits in &mut waiting {
            assert!(futures::poll!(waits).is_pending());
        }
        let refused = futures::poll!(std::pin::pin!(places.take(None, WAIT)));
        assert!(matches!(refused, std::task::Poll::Ready(Err(Full))), "at once");
        drop(held);
        waiting.swap_remove(0).await.unwrap();
    }

    #[tokio::test]
    async fn shares_that_nobody_holds_are_forgotten() {
        let places = Places::new(2);
        for number in 0..100 {
            places.take(Some(&number.to_string()), WAIT).await.unwrap();
        }
        assert_eq!(places.0.of_each.lock().unwrap().len(), 1);
    }
}
