//! Program `rookery`: parse the command line, hand over to `cli`, tell how it went.

use std::process::ExitCode;

use clap::Parser as _;
use rookery::cli::{self, Cli};

/// What was needed once goes back to the system (.cargo/config.toml says how soon). SQLite's memory comes from here, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(cli::run(cli)));
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
