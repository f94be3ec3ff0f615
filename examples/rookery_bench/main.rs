//! Measures any PDS from outside, over XRPC and websockets alone:
//!
//! ```text
//! cargo run --release --example rookery-bench -- run --url http://127.0.0.1:2583 --pid $(pidof rookery)
//! cargo run --release --example rookery-bench -- run --url ... --only create-record-16,get-repo --json out.json --svg out.svg
//! ```
//!
//! One thread makes the load, so that on two cores one is left for the server. With `--pid` the processor time and memory
//! of the server are read from /proc. `bench/compare.sh` runs it against two servers in turn.

#![allow(clippy::print_stdout)]

#[allow(dead_code)]
#[path = "../make_repo/generate.rs"]
mod generate;
mod growth;
mod http;
mod machine;
mod measure;
mod plot;
mod process;
mod report;
mod scenario;
mod start_up;
mod websocket;
mod xrpc;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use measure::Measured;
use process::Process;
use report::Run;
use scenario::Context;
use xrpc::Server;

/// Measure a PDS.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios, and print what they cost
    Run {
        #[command(flatten)]
        target: Target,
        /// Only these, separated by commas; `list` names them
        #[arg(long, value_delimiter = ',', value_name = "SCENARIO")]
        only: Vec<String>,
    },
    /// How the cost of createRecord and memory grow with what the server holds
    Grow {
        #[command(flatten)]
        target: Target,
        /// What grows
        #[arg(value_enum)]
        what: growth::Growing,
        /// How far it grows; steps of ten
        #[arg(long, value_name = "N")]
        to: u64,
    },
    /// Start a server several times: how long until it answers
    StartUp {
        #[command(flatten)]
        target: Target,
        /// How often
        #[arg(long, default_value_t = 5)]
        times: u32,
        /// How many accounts it has; goes into the result
        #[arg(long, default_value_t = 0)]
        accounts: u32,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        server: Vec<String>,
    },
    /// What this machine is, and how long its disk takes to flush
    Machine {
        /// Where to write the file that is flushed; the disk of the servers' data
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Write it there, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Write a document about a folder of results, for two servers side by side
    Report {
        /// Folder with a folder for each server
        #[arg(long, value_name = "DIR")]
        results: PathBuf,
        /// The document; what stands between its markers is replaced
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        /// Folder of the plots that it shows
        #[arg(long, value_name = "DIR")]
        plots: PathBuf,
    },
    /// Name the scenarios
    List,
    /// Print what stands over the lines of the others
    Heading,
}

#[derive(Args)]
struct Target {
    /// Where the server answers: http://ADDRESS:PORT
    #[arg(long)]
    url: String,
    /// Its process, for processor time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// How long each scenario measures; it warms up for a quarter of that
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Multiplies the sizes of repositories and the numbers of subscribers
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Keep the accounts that were made here, for the next run against the same server
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// What to call the server
    #[arg(long, default_value = "")]
    label: String,
    /// Write the results there as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them there
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Target {
    async fn context(&self) -> Result<Context> {
        let in_bounds = (0.01..=3600.0).contains(&self.seconds) && (0.0001..=10.0).contains(&self.scale);
        if !in_bounds {
            bail!("--seconds is from 0.01 to 3600, --scale from 0.0001 to 10");
        }
        Ok(Context {
            server: Server::open(&self.url, self.state.clone()).await?,
            process: Process(self.pid),
            seconds: self.seconds,
            scale: self.scale,
        })
    }

    /// Writes what was asked for.
    fn keep(&self, measured: Vec<Measured>) -> Result<()> {
        let run = Run::new(self.label.clone(), self.seconds, self.scale, measured);
        if let Some(file) = &self.json {
            run.write(file)?;
        }
        if let Some(file) = &self.svg {
            plot::overview(&run, file)?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    machine::allow_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(run(arguments.command)))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Run { target, only } => {
            let names: Vec<&str> = match only.is_empty() {
                true => scenario::NAMES.to_vec(),
                false => only.iter().map(String::as_str).collect(),
            };
            let mut context = target.context().await?;
            println!("{}", report::HEADING);
            let mut all = Vec::new();
            for name in names {
                let measured = scenario::run(name, &mut context).await?;
                println!("{}", report::line(&measured));
                all.push(measured);
            }
            target.keep(all)
        }
        Command::Grow { target, what, to } => {
            let mut context = target.context().await?;
            println!("{}", report::HEADING);
            target.keep(growth::grow(what, to, &mut context).await?)
        }
        Command::StartUp { target, times, accounts, server } => {
            let measured =
                start_up::measure(&target.url, times, &server).await?.with("at", f64::from(accounts));
            println!("{}\n{}", report::HEADING, report::line(&measured));
            target.keep(vec![measured])
        }
        Command::Machine { dir, json } => {
            let machine = machine::Machine::look(&dir)?;
            println!("{machine}");
            match json {
                Some(file) => Ok(std::fs::write(file, serde_json::to_vec_pretty(&machine)?)?),
                None => Ok(()),
            }
        }
        Command::Report { results, document, plots } => report::document::write(&results, &document, &plots),
        Command::Heading => {
            println!("{}", report::HEADING);
            Ok(())
        }
        Command::List => {
            println!("{}", scenario::NAMES.join("\n"));
            Ok(())
        }
    }
}
