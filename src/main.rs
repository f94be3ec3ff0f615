//! Program `rookery`. All of it is in the library: what is generic, futures above all, would be compiled into both.

use std::process::ExitCode;

/// What was needed once goes back to the system (.cargo/config.toml says how soon). SQLite's memory comes from here, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    rookery::cli::main()
}
