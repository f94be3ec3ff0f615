//! The firehose: how fast what has happened can be had again, and how soon what happens reaches everyone. Every message of
//! every subscriber is counted.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use atproto::event::Frame;
use tokio::{task::JoinSet, time::timeout};

use super::{Context, create_records};
use crate::{
    http::Body,
    measure::{Bounds, Measured, Meter, Samples, drive},
    websocket::{Payloads, Subscription},
    xrpc::{CREATE_RECORD, JSON, create_record_input, rev_of},
};

/// Events that are read from cursor 0. Each server gets as many before.
const BACKFILL_EVENTS: u64 = 5000;
/// A log whose end is reached gives nothing for so long, in seconds.
const SILENCE_SECS: u64 = 3;
/// Writing the events that are missing may take so long, in seconds.
const PREPARE_SECS_MAX: u64 = 300;
/// After the last write, subscribers get so long for what is under way, in seconds.
const DRAIN_SECS_MAX: u64 = 60;
const POLL: Duration = Duration::from_millis(5);
/// Records that are written until every subscriber has seen one.
const PROBES_MAX: u32 = 50;
const READ_BYTES: usize = 256 * 1024;
const CONNECTIONS: usize = 16;
const ACCOUNTS: usize = 8;

/// Reads events from cursor 0 until there are `n_max`; fewer when the log ends before.
async fn read_events(authority: &str, n_max: u64) -> Result<u64> {
    let buffer = RefCell::new(vec![0; READ_BYTES]);
    let mut subscription = Subscription::open(authority, Some(0), Payloads::Skip).await?;
    let mut n = 0;
    while n < n_max {
        match timeout(Duration::from_secs(SILENCE_SECS), subscription.read(&buffer, |_| n += 1)).await {
            Ok(read) => read?,
            Err(_) => break,
        }
    }
    Ok(n.min(n_max))
}

/// The first events of the log, again and again: one subscriber that starts at cursor 0.
pub async fn backfill(name: &str, context: &mut Context) -> Result<Measured> {
    let n_events = context.scaled(BACKFILL_EVENTS);
    let authority = context.server.authority.clone();
    let there = read_events(&authority, n_events).await?;
    if there < n_events {
        let accounts = context.server.accounts("writer", ACCOUNTS).await?;
        let connections = context.server.connections(CONNECTIONS).await?;
        let mut workers: Vec<_> = connections.into_iter().zip(accounts.iter().cycle()).collect();
        let bounds = Bounds {
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(PREPARE_SECS_MAX),
            operations_max: n_events - there,
            per_second_max: None,
        };
        create_records(&mut workers, bounds, context.process).await?;
    }
    let mut samples = Samples::new()?;
    ensure!(read_events(&authority, n_events).await? == n_events, "the log has fewer than {n_events} events");
    let meter = Meter::start(context.process);
    while meter.elapsed().as_secs_f64() < context.seconds {
        let started = Instant::now();
        let n_read = read_events(&authority, n_events).await?;
        ensure!(n_read == n_events, "only {n_read} of {n_events} events came");
        samples.add(started.elapsed(), n_read);
    }
    Ok(meter.end(name, "events", &samples).with("events", n_events as f64))
}

/// What the subscribers have seen. `Rc`: all of it is on one thread.
struct Seen {
    /// Messages of each subscriber.
    counts: Vec<Cell<u64>>,
    /// What they had when measuring began. From there on the nth message is the same for all.
    bases: RefCell<Vec<u64>>,
    /// How many have the nth message, and when the last of them got it.
    arrivals: RefCell<Vec<(usize, Instant)>>,
    /// The messages themselves, as the first subscriber got them.
    payloads: RefCell<Vec<Vec<u8>>>,
    /// When anybody got anything last.
    last: Cell<Instant>,
}

impl Seen {
    fn new(n_subscribers: usize) -> Seen {
        Seen {
            counts: vec![Cell::new(0); n_subscribers],
            bases: RefCell::default(),
            arrivals: RefCell::default(),
            payloads: RefCell::default(),
            last: Cell::new(Instant::now()),
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(Cell::get).sum()
    }

    fn least(&self) -> u64 {
        self.counts.iter().map(Cell::get).min().unwrap_or(0)
    }

    fn message(&self, subscriber: usize, payload: Vec<u8>, now: Instant) {
        let Some(count) = self.counts.get(subscriber) else { return };
        let position = count.replace(count.get() + 1);
        let bases = self.bases.borrow();
        let Some(base) = bases.get(subscriber) else { return };
        let (mut arrivals, nth) =
            (self.arrivals.borrow_mut(), usize::try_from(position - base).unwrap_or(usize::MAX));
        match arrivals.get_mut(nth) {
            Some(arrival) => *arrival = (arrival.0 + 1, now),
            None => arrivals.push((1, now)),
        }
        if subscriber == 0 {
            self.payloads.borrow_mut().push(payload);
        }
        self.last.set(now);
    }

    /// From now on it counts.
    fn begin(&self) {
        self.arrivals.borrow_mut().clear();
        self.payloads.borrow_mut().clear();
        *self.bases.borrow_mut() = self.counts.iter().map(Cell::get).collect();
    }

    /// Waits for `total` messages, all subscribers together; false when they do not come in time.
    async fn wait_for(&self, total: u64, patience: Duration) -> bool {
        let started = Instant::now();
        while self.total() < total {
            if started.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }
}

/// Subscribers that read until they are dropped.
struct Audience {
    seen: Rc<Seen>,
    tasks: JoinSet<Result<()>>,
}

impl Audience {
    async fn open(context: &Context, n_subscribers: usize) -> Result<Audience> {
        let seen = Rc::new(Seen::new(n_subscribers));
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        let mut tasks = JoinSet::new();
        for subscriber in 0..n_subscribers {
            let payloads = if subscriber == 0 { Payloads::Keep } else { Payloads::Skip };
            let mut subscription = Subscription::open(&context.server.authority, None, payloads).await?;
            let (seen, buffer) = (seen.clone(), buffer.clone());
            tasks.spawn_local(async move {
                loop {
                    let mut now = None;
                    let message =
                        |payload| seen.message(subscriber, payload, *now.get_or_insert_with(Instant::now));
                    subscription.read(&buffer, message).await?;
                }
            });
        }
        Ok(Audience { seen, tasks })
    }

    /// Subscriptions that ended, and why the first of them did.
    fn ended(&mut self) -> (usize, Option<String>) {
        let (mut n, mut reason) = (0, None);
        while let Some(ended) = self.tasks.try_join_next() {
            n += 1;
            if let Ok(Err(error)) = ended {
                reason.get_or_insert_with(|| format!("{error:#}"));
            }
        }
        (n, reason)
    }
}

/// `n_subscribers` listen while records are written, at most `per_second_max` a second. Latencies are from the answer to a
/// write until the last subscriber has its event.
pub async fn live(
    name: &str,
    context: &mut Context,
    n_subscribers: u64,
    per_second_max: Option<u32>,
) -> Result<Measured> {
    let n_subscribers = usize::try_from(context.scaled(n_subscribers))?;
    let accounts = context.server.accounts("writer", ACCOUNTS).await?;
    let connections = context.server.connections(CONNECTIONS).await?;
    let mut writers: Vec<_> = connections.into_iter().zip(accounts.iter().cycle()).collect();
    let mut audience = Audience::open(context, n_subscribers).await?;
    let seen = audience.seen.clone();

    let once =
        Bounds { warm_up: Duration::ZERO, measured: Duration::MAX, operations_max: 1, per_second_max: None };
    for probe in 0.. {
        ensure!(
            probe < PROBES_MAX,
            "after {PROBES_MAX} writes not every subscriber had an event: {:?}",
            audience.ended()
        );
        if seen.least() > 0 {
            break;
        }
        create_records(writers.get_mut(..1).unwrap_or_default(), once, context.process).await?;
        seen.wait_for(seen.total() + n_subscribers as u64, Duration::from_millis(200)).await;
    }
    // All of them listen now. What comes until here is whole when nothing more comes.
    let mut total = u64::MAX;
    while total != seen.total() {
        total = seen.total();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let bounds = Bounds { warm_up: Duration::ZERO, per_second_max, ..context.bounds() };
    let warm_up = Bounds { measured: context.bounds().warm_up, ..bounds };
    let (warmed_up, _) = create_records(&mut writers, warm_up, context.process).await?;
    total += (warmed_up.latency.len() + warmed_up.failed) * n_subscribers as u64;
    seen.wait_for(total, Duration::from_secs(DRAIN_SECS_MAX)).await;
    ensure!(
        seen.total() == total,
        "{} of {total} messages came while warming up: {:?}",
        seen.total(),
        audience.ended()
    );

    seen.begin();
    let acknowledged = RefCell::new(HashMap::new());
    let (written, meter) = drive(&mut writers, bounds, context.process, async |(connection, account), n| {
        let input = create_record_input(&account.did, n);
        let call = connection.call(CREATE_RECORD, Some(&account.token), Body::Bytes(JSON, &input)).await?;
        if call.status == 200 {
            let rev = rev_of(&call).context("createRecord answers without a rev")?;
            acknowledged.borrow_mut().insert((account.did.clone(), rev), Instant::now());
        }
        Ok((call, 1))
    })
    .await?;
    let writing_secs = meter.elapsed().as_secs_f64();
    let expected = written.latency.len() * n_subscribers as u64;
    let whole = seen.wait_for(total + expected, Duration::from_secs(DRAIN_SECS_MAX)).await;
    let delivered = seen.total() - total;
    let samples = latencies(&seen, n_subscribers, &acknowledged.borrow())?;
    let (ended, reason) = audience.ended();
    if let Some(reason) = reason.filter(|_| !whole) {
        eprintln!("{name}: {ended} subscriptions ended; the first: {reason}");
    }
    let mut measured = measured(name, &meter, &samples, &seen);
    measured.operations = delivered;
    measured.units = delivered;
    measured.failed = written.failed;
    Ok(measured
        .with("subscribers", n_subscribers as f64)
        .with("commits", written.latency.len() as f64)
        .with("commits_per_second", written.latency.len() as f64 / writing_secs)
        .with("write_p99_ms", written.latency.value_at_quantile(0.99) as f64 / 1000.0)
        .with("missing", expected.saturating_sub(delivered) as f64)
        .with("unexpected", delivered.saturating_sub(expected) as f64)
        .with("ended", ended as f64))
}

/// Over when the last message came.
fn measured(name: &str, meter: &Meter, samples: &Samples, seen: &Seen) -> Measured {
    let since_last = seen.last.get().elapsed();
    meter.end_after(name, "frames", samples, meter.elapsed().saturating_sub(since_last))
}

/// From the answer to a write to the last subscriber who got its event, of events that all got.
fn latencies(
    seen: &Seen,
    n_subscribers: usize,
    acknowledged: &HashMap<(String, String), Instant>,
) -> Result<Samples> {
    let mut samples = Samples::new()?;
    for (payload, (n_arrived, last)) in seen.payloads.borrow().iter().zip(&*seen.arrivals.borrow()) {
        let Ok(Frame::Commit(commit)) = Frame::decode(payload) else { continue };
        let key = (commit.repo.to_string(), commit.rev.to_string());
        if let Some(answered) = acknowledged.get(&key)
            && *n_arrived == n_subscribers
        {
            samples.add(last.saturating_duration_since(*answered), 1);
        }
    }
    Ok(samples)
}
