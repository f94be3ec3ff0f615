//! The scenarios by name, in the order in which they run. Each prepares what it needs, measures one thing, and leaves the
//! server running.

mod account;
mod firehose;
mod import;
mod read;
mod write;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    measure::{Bounds, Measured, Meter, Samples},
    process::Process,
    xrpc::Server,
};

pub use import::import_into;
pub use write::create_records;

/// How long an idle server is left alone before its memory is read, in seconds.
const IDLE_SECS: u64 = 3;

/// What all scenarios work with.
pub struct Context {
    /// The server under test.
    pub server: Server,
    /// Its process.
    pub process: Process,
    /// How long one scenario measures.
    pub seconds: f64,
    /// What the sizes of repositories and numbers of subscribers are multiplied with.
    pub scale: f64,
}

impl Context {
    /// Bounds of a scenario that runs at full speed.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            warm_up: Duration::from_secs_f64(self.seconds / 4.0),
            measured: Duration::from_secs_f64(self.seconds),
            operations_max: u64::MAX,
            per_second_max: None,
        }
    }

    /// `n`, scaled, at least 1.
    pub fn scaled(&self, n: u64) -> u64 {
        ((n as f64 * self.scale).round() as u64).max(1)
    }
}

/// All names, in the order in which they run.
pub const NAMES: &[&str] = &[
    "idle",
    "create-account",
    "create-session",
    "create-record-16",
    "create-record-64",
    "create-record-1",
    "create-record-hot",
    "backfill",
    "firehose-1",
    "firehose-100",
    "firehose-1000",
    "apply-writes",
    "upload-blob",
    "get-record",
    "list-records",
    "get-repo",
    "import-1k",
    "import-100k",
    "import-1m",
    "at-end",
];

/// Runs one scenario.
pub async fn run(name: &str, context: &mut Context) -> Result<Measured> {
    match name {
        "idle" | "at-end" => idle(name, context).await,
        "create-account" => account::create_account(name, context).await,
        "create-session" => account::create_session(name, context).await,
        "create-record-16" => write::create_record(name, context, 16, 8).await,
        "create-record-64" => write::create_record(name, context, 64, 32).await,
        "create-record-1" => write::create_record(name, context, 1, 1).await,
        "create-record-hot" => write::create_record(name, context, 16, 1).await,
        "apply-writes" => write::apply_writes(name, context).await,
        "upload-blob" => write::upload_blob(name, context).await,
        "get-record" => read::get_record(name, context).await,
        "list-records" => read::list_records(name, context).await,
        "get-repo" => read::get_repo(name, context).await,
        "backfill" => firehose::backfill(name, context).await,
        "firehose-1" => firehose::live(name, context, 1, None).await,
        "firehose-10" => firehose::live(name, context, 10, None).await,
        "firehose-100" => firehose::live(name, context, 100, None).await,
        "firehose-1000" => firehose::live(name, context, 1000, Some(500)).await,
        "import-1k" => import::import_repo(name, context, 1000).await,
        "import-100k" => import::import_repo(name, context, 100_000).await,
        "import-1m" => import::import_repo(name, context, 1_000_000).await,
        _ => bail!("no scenario {name:?}; there are: {}", NAMES.join(", ")),
    }
}

/// Nothing happens: what the server holds and spends.
async fn idle(name: &str, context: &mut Context) -> Result<Measured> {
    let samples = Samples::new()?;
    let meter = Meter::start(context.process);
    tokio::time::sleep(Duration::from_secs(IDLE_SECS)).await;
    Ok(meter.end(name, "nothing", &samples))
}
