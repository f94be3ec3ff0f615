//! The machine that it is measured on, and the one number that bounds every durable write: how long its disk takes to flush.

use std::{fmt, fs, io::Write as _, path::Path, time::Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Writes that are flushed, one by one, as a log grows.
const FLUSHES: u32 = 500;
/// About what a small commit adds to the write-ahead log: a few pages.
const WRITE_BYTES: usize = 16 * 1024;

/// The slowest flush that is told apart.
const FLUSH_MICROS_MAX: u64 = 60_000_000;

/// What numbers depend on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Of the processor.
    pub model: String,
    /// Threads that can run at the same time.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// The load of the last minute.
    pub load: String,
    /// A write of 16 KiB to the end of a file, and fdatasync: median, in milliseconds.
    pub flush_p50_ms: f64,
    /// The slowest of a hundred.
    pub flush_p99_ms: f64,
    /// When this was.
    pub at_secs: u64,
}

impl Machine {
    /// Looks around, and flushes a file in `dir`.
    pub fn look(dir: &Path) -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        let mut histogram = Histogram::<u64>::new_with_bounds(1, FLUSH_MICROS_MAX, 3)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        let page = vec![1; WRITE_BYTES];
        for _ in 0..FLUSHES {
            let started = Instant::now();
            file.write_all(&page)?;
            file.as_file().sync_data()?;
            histogram.saturating_record(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        Ok(Machine {
            model: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            flush_p50_ms: histogram.value_at_quantile(0.5) as f64 / 1000.0,
            flush_p99_ms: histogram.value_at_quantile(0.99) as f64 / 1000.0,
            at_secs: crate::xrpc::now_secs(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {:.1} GiB, {}; a flush takes {:.2} ms (p99 {:.2} ms); load {}",
            self.model,
            self.cores,
            self.memory_mib as f64 / 1024.0,
            self.kernel,
            self.flush_p50_ms,
            self.flush_p99_ms,
            self.load
        )
    }
}

/// A thousand subscribers are a thousand open files.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
