//! The open connections: how many, whose, which of them idle, and which have to go when there are too many.
//!
//! A connection is busy from the head of a request to the end of its answer, and after an upgrade; else it idles, also
//! while a head comes in. Idle ones have to go when they have been so for too long, sooner when the server fills up, and
//! at once, the longest first, when somebody needs a place.
//!
//! Not for: bytes and HTTP ([`super`]).

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::service::client_address::limit_key;

/// Share of all places that one client may have which is no proxy: one in so many.
const CLIENT_SHARE: usize = 8;
/// When three quarters of the places are taken, connections may idle only a part of the time: one in so many.
const CROWDED_IDLE_PART: u32 = 8;

/// The connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    max: usize,
    client_max: usize,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    entries: HashMap<u64, Entry>,
    /// Those that idle and were not told to go, by when that began.
    idle: BTreeSet<(Instant, u64)>,
    /// Told to go, and not gone yet.
    leaving: usize,
    by_client: HashMap<String, usize>,
}

struct Entry {
    busy: usize,
    idle_since: Instant,
    go: CancellationToken,
    client: Option<String>,
}

/// A place among the connections, held as long as the connection is open.
pub(super) struct Place {
    connections: Connections,
    id: u64,
    go: CancellationToken,
}

/// Held while a request is under way. Keeps the place from counting as idle.
pub(super) struct Busy {
    place: Arc<Place>,
    until_closed: bool,
}

/// There is no place, and nobody who could make one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Connections {
    pub(super) fn new(max: usize) -> Connections {
        Connections { open: Arc::default(), max, client_max: max.div_ceil(CLIENT_SHARE) }
    }

    /// A place for a new connection. When all are taken, the one that has idled longest has to go for it.
    ///
    /// `client`: who connects; `None` for a proxy, which speaks for many.
    pub(super) fn place(&self, client: Option<IpAddr>, now: Instant) -> Result<Arc<Place>, Full> {
        let client = client.map(limit_key);
        let mut open = self.lock();
        if client
            .as_ref()
            .and_then(|client| open.by_client.get(client))
            .is_some_and(|n| *n >= self.client_max)
        {
            return Err(Full);
        }
        if open.staying() >= self.max && open.dismiss_oldest(1) == 0 {
            return Err(Full);
        }
        let (id, go) = (open.next_id, CancellationToken::new());
        open.next_id += 1;
        if let Some(client) = &client {
            *open.by_client.entry(client.clone()).or_default() += 1;
        }
        open.entries.insert(id, Entry { busy: 0, idle_since: now, go: go.clone(), client });
        open.idle.insert((now, id));
        Ok(Arc::new(Place { connections: self.clone(), id, go }))
    }

    /// Tells those to go that have idled for too long; returns how many.
    pub(super) fn dismiss_idle(&self, idle_max: Duration, now: Instant) -> usize {
        let mut open = self.lock();
        let crowded = open.staying() * 4 >= self.max * 3;
        let idle_max = if crowded { idle_max / CROWDED_IDLE_PART } else { idle_max };
        let is_due = |(since, _): &&(Instant, u64)| now.duration_since(*since) >= idle_max;
        let due = open.idle.iter().take_while(is_due).count();
        open.dismiss_oldest(due)
    }

    /// Tells the `count` that have idled longest to go; returns how many there were.
    pub(super) fn dismiss_oldest(&self, count: usize) -> usize {
        self.lock().dismiss_oldest(count)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn staying(&self) -> usize {
        self.entries.len() - self.leaving
    }

    fn dismiss_oldest(&mut self, count: usize) -> usize {
        for dismissed in 0..count {
            let Some((_, id)) = self.idle.pop_first() else { return dismissed };
            if let Some(entry) = self.entries.get(&id) {
                entry.go.cancel();
                self.leaving += 1;
            }
        }
        count
    }
}

impl Place {
    /// Cancelled when the connection has to go.
    pub(super) fn go(&self) -> &CancellationToken {
        &self.go
    }

    /// A request begins.
    pub(super) fn busy(self: &Arc<Place>) -> Busy {
        let mut open = self.connections.lock();
        if let Some(entry) = open.entries.get_mut(&self.id) {
            entry.busy += 1;
            let idle = (entry.idle_since, self.id);
            open.idle.remove(&idle);
        }
        Busy { place: self.clone(), until_closed: false }
    }

    /// True while a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.connections.lock().entries.get(&self.id).is_some_and(|entry| entry.busy > 0)
    }
}

impl Busy {
    /// What follows is no request any more: the connection never idles again.
    pub(super) fn until_closed(mut self) {
        self.until_closed = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.until_closed {
            return;
        }
        let mut open = self.place.connections.lock();
        let Some(entry) = open.entries.get_mut(&self.place.id) else { return };
        entry.busy -= 1;
        if entry.busy == 0 && !entry.go.is_cancelled() {
            entry.idle_since = Instant::now();
            let idle = (entry.idle_since, self.place.id);
            open.idle.insert(idle);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let Some(entry) = open.entries.remove(&self.id) else { return };
        open.idle.remove(&(entry.idle_since, self.id));
        open.leaving -= usize::from(entry.go.is_cancelled());
        let Some(client) = entry.client else { return };
        if let Some(count) = open.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn dismissed(places: &[Arc<Place>]) -> Vec<usize> {
        places.iter().enumerate().filter(|(_, place)| place.go().is_cancelled()).map(|(at, _)| at).collect()
    }

    #[test]
    fn who_has_idled_longest_makes_room() {
        let (connections, now) = (Connections::new(3), Instant::now());
        let mut places: Vec<_> = (0..3).map(|n| connections.place(None, now + n * SECOND).unwrap()).collect();
        // The first is at work, so it is the second's turn.
        let busy = places[0].busy();
        places.push(connections.place(None, now + 3 * SECOND).unwrap());
        assert_eq!(dismissed(&places), [1]);
        drop(busy);
        assert_eq!(dismissed(&places), [1], "three stay: nobody else has to go");
        places.push(connections.place(None, now + 4 * SECOND).unwrap());
        assert_eq!(dismissed(&places).len(), 2);
    }

    #[test]
    fn nobody_at_work_has_to_go() {
        let (connections, now) = (Connections::new(2), Instant::now());
        let places: Vec<_> = (0..2).map(|_| connections.place(None, now).unwrap()).collect();
        let busy: Vec<Busy> = places.iter().map(Place::busy).collect();
        assert_eq!(connections.place(None, now).err(), Some(Full));
        assert_eq!(connections.dismiss_idle(SECOND, now + 100 * SECOND), 0);
        drop(busy);
        assert!(connections.place(None, now).is_ok());
    }

    #[test]
    fn who_goes_gives_the_place_back() {
        let (connections, now) = (Connections::new(2), Instant::now());
        let places: Vec<_> = (0..2).map(|_| connections.place(None, now).unwrap()).collect();
        let busy: Vec<Busy> = places.iter().map(Place::busy).collect();
        drop((busy, places));
        let open = connections.lock();
        assert_eq!((open.entries.len(), open.idle.len(), open.leaving, open.by_client.len()), (0, 0, 0, 0));
    }

    #[test]
    fn an_upgraded_connection_never_idles() {
        let (connections, now) = (Connections::new(1), Instant::now());
        let place = connections.place(None, now).unwrap();
        place.busy().until_closed();
        assert_eq!(connections.dismiss_idle(SECOND, now + 100 * SECOND), 0);
        assert_eq!(connections.place(None, now).err(), Some(Full));
        drop(place);
        assert!(connections.place(None, now).is_ok());
    }

    #[test]
    fn idling_is_bounded_and_more_so_when_it_gets_crowded() {
        let (connections, now) = (Connections::new(4), Instant::now());
        let mut places = vec![connections.place(None, now).unwrap()];
        assert_eq!(connections.dismiss_idle(16 * SECOND, now + 15 * SECOND), 0);
        assert_eq!(connections.dismiss_idle(16 * SECOND, now + 16 * SECOND), 1);
        let later = now + 20 * SECOND;
        places.extend((0..3).map(|_| connections.place(None, later).unwrap()));
        assert_eq!(connections.dismiss_idle(16 * SECOND, later + SECOND), 0);
        assert_eq!(connections.dismiss_idle(16 * SECOND, later + 2 * SECOND), 3, "three of four: an eighth");
    }

    #[test]
    fn one_client_has_a_share_and_a_proxy_has_all() {
        let (connections, now) = (Connections::new(16), Instant::now());
        let client = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let connect = |text: &str| connections.place(client(text), now);
        let first = connect("2001:db8::1").unwrap();
        let second = connect("2001:db8::2").unwrap();
        assert_eq!(connect("2001:db8::3").err(), Some(Full), "one network is one client");
        let _other = connect("2001:db8:0:1::1").unwrap();
        drop(first);
        let _third = connect("2001:db8::3").unwrap();
        let _proxied: Vec<_> = (0..13).map(|_| connections.place(None, now).unwrap()).collect();
        assert!(!second.go().is_cancelled());
    }
}
