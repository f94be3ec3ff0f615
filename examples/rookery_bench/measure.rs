//! Running an operation over many connections, and what is measured meanwhile. Closed loops: each connection sends its next
//! request when the answer to the last has come, or at a pace that all share.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    http::Response,
    process::{Process, Usage},
};

/// The slowest answer that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 1_000_000_000;
/// A run in which one of so many operations fails measures nothing.
const FAILED_SHARE: u64 = 10;

/// What a scenario cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Which scenario.
    pub scenario: String,
    /// What `units` counts: "commits", "bytes".
    pub unit: String,
    /// Operations that succeeded.
    pub operations: u64,
    /// What they moved.
    pub units: u64,
    /// Operations that the server refused.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Latency of an operation, in milliseconds.
    pub p50_ms: f64,
    /// Latency of the slowest of a hundred.
    pub p99_ms: f64,
    /// Latency of the slowest.
    pub max_ms: f64,
    /// Processor time of the server, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// Processor time of the load program, in seconds.
    pub load_cpu_seconds: f64,
    /// Resident memory of the server at the end, in KiB.
    pub resident_kib: Option<u64>,
    /// The most during the scenario, in KiB.
    pub resident_peak_kib: Option<u64>,
    /// What only this scenario knows.
    #[serde(default)]
    pub more: BTreeMap<String, f64>,
}

impl Measured {
    /// Units in a second.
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.units as f64 / self.seconds } else { 0.0 }
    }

    /// Processor time of the server per operation, in milliseconds.
    pub fn cpu_ms_per_operation(&self) -> Option<f64> {
        (self.operations > 0).then_some(self.server_cpu_seconds? * 1000.0 / self.operations as f64)
    }

    /// Notes one more number.
    pub fn with(mut self, name: &str, value: f64) -> Measured {
        self.more.insert(name.to_owned(), value);
        self
    }
}

/// How long and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Before anything is counted.
    pub warm_up: Duration,
    /// What is counted.
    pub measured: Duration,
    /// Operations, warming up left out.
    pub operations_max: u64,
    /// Operations in a second, all connections together.
    pub per_second_max: Option<u32>,
}

/// Begins with counting the server's costs, ends with a [`Measured`].
pub struct Meter {
    server: Process,
    before: Option<Usage>,
    own_before: Option<Usage>,
    started: Instant,
}

impl Meter {
    /// Starts to count.
    pub fn start(server: Process) -> Meter {
        server.reset_peak();
        let own_before = Process::own().usage();
        Meter { server, before: server.usage(), own_before, started: Instant::now() }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it came to.
    pub fn end(self, scenario: &str, unit: &str, samples: &Samples) -> Measured {
        self.end_after(scenario, unit, samples, self.started.elapsed())
    }

    /// The same, when it had ended `elapsed` after the start.
    pub fn end_after(&self, scenario: &str, unit: &str, samples: &Samples, elapsed: Duration) -> Measured {
        let after = self.server.usage();
        let own = Process::own().usage().zip(self.own_before);
        let ms = |micros: u64| micros as f64 / 1000.0;
        Measured {
            scenario: scenario.to_owned(),
            unit: unit.to_owned(),
            operations: samples.latency.len(),
            units: samples.units,
            failed: samples.failed,
            seconds: elapsed.as_secs_f64(),
            p50_ms: ms(samples.latency.value_at_quantile(0.5)),
            p99_ms: ms(samples.latency.value_at_quantile(0.99)),
            max_ms: ms(samples.latency.max()),
            server_cpu_seconds: after
                .zip(self.before)
                .map(|(after, before)| after.cpu_secs - before.cpu_secs),
            load_cpu_seconds: own.map_or(0.0, |(after, before)| after.cpu_secs - before.cpu_secs),
            resident_kib: after.map(|usage| usage.resident_kib),
            resident_peak_kib: after.map(|usage| usage.peak_kib),
            more: BTreeMap::new(),
        }
    }
}

/// Latencies and counts.
pub struct Samples {
    /// In microseconds.
    pub latency: Histogram<u64>,
    /// What the operations moved.
    pub units: u64,
    /// Operations that were refused.
    pub failed: u64,
    /// What the first refusal said.
    first_failure: Option<String>,
}

impl Samples {
    /// None yet.
    pub fn new() -> Result<Samples> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)?;
        Ok(Samples { latency, units: 0, failed: 0, first_failure: None })
    }

    /// One that succeeded.
    pub fn add(&mut self, latency: Duration, units: u64) {
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
        self.units += units;
    }

    fn refuse(&mut self, response: &Response) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
            format!("{}: {text}", response.status)
        });
    }

    /// Refuses to go on with a run in which too much failed.
    pub fn check(&self) -> Result<()> {
        let few = self.failed * FAILED_SHARE <= self.latency.len();
        let said = self.first_failure.as_deref().unwrap_or_default();
        ensure!(
            few,
            "{} of {} operations failed; the first: {said}",
            self.failed,
            self.latency.len() + self.failed
        );
        Ok(())
    }
}

/// Runs `operation` on all `workers`, over and over. It gets the number of the operation, and returns the answer with the
/// units that a success moved. Returns the samples, and a meter that started when the warming up was over.
pub async fn drive<W>(
    workers: &mut [W],
    bounds: Bounds,
    server: Process,
    operation: impl AsyncFn(&mut W, u64) -> Result<(Response, u64)>,
) -> Result<(Samples, Meter)> {
    let first = Cell::new(0);
    if !bounds.warm_up.is_zero() {
        let warm_up = Bounds { measured: bounds.warm_up, ..bounds };
        run(workers, warm_up, &first, &operation).await?.check().context("while warming up")?;
    }
    let meter = Meter::start(server);
    let samples = run(workers, bounds, &first, &operation).await?;
    samples.check()?;
    Ok((samples, meter))
}

async fn run<W>(
    workers: &mut [W],
    bounds: Bounds,
    next: &Cell<u64>,
    operation: &impl AsyncFn(&mut W, u64) -> Result<(Response, u64)>,
) -> Result<Samples> {
    let samples = RefCell::new(Samples::new()?);
    let (started, begun) = (Instant::now(), next.get());
    let loops = workers.iter_mut().map(|worker| async {
        while started.elapsed() < bounds.measured && next.get() - begun < bounds.operations_max {
            let n = next.replace(next.get() + 1);
            if let Some(rate) = bounds.per_second_max {
                let due = started + Duration::from_secs(n - begun) / rate;
                tokio::time::sleep_until(due.into()).await;
            }
            let sent = Instant::now();
            let (response, units) = operation(worker, n).await?;
            let mut samples = samples.borrow_mut();
            match response.status {
                200 => samples.add(sent.elapsed(), units),
                _ => samples.refuse(&response),
            }
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(loops).await?;
    Ok(samples.into_inner())
}
