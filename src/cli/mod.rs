//! The command line: what people and scripts type. Parses, opens what a command needs, calls one service, prints.
//!
//! Standard output carries results only, so that it can be piped; logs, progress and errors go to standard error.
//!
//! Not for: rules. A command does what a service allows.

mod account;
mod dev;
mod health;
mod invite;
mod local;
mod logging;
mod mail;
mod relay;
mod repo;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  rookery dev                                         try everything out on this machine, nothing is kept
  rookery dev --data-dir ./sandbox                    the same, but keep accounts and posts in ./sandbox
  rookery serve --config /etc/rookery/config.toml     run a server for real
  rookery invite create --uses 5 --config /etc/rookery/config.toml
  rookery mail test you@example.com --config /etc/rookery/config.toml
  rookery relay status --config /etc/rookery/config.toml
  rookery repo verify backup.car                      is this repository whole?

Each command explains itself: rookery repo verify --help";

/// Rookery hosts AT Protocol accounts: a Personal Data Server (PDS) in one program.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a complete sandbox on this machine: a server, and a small did:plc directory of its own
    Dev(dev::DevArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Make and list accounts on this machine's server
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Make invite codes
    #[command(subcommand)]
    Invite(invite::InviteCommand),
    /// Try out whether mail works, and read the mails that nobody sent
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// What relays think of this server, and what to do about it
    #[command(subcommand)]
    Relay(relay::RelayCommand),
    /// Check, list, export and import repositories
    #[command(subcommand)]
    Repo(repo::RepoCommand),
    /// Ask a running server whether it is well
    Health(health::HealthArgs),
}

/// Parses the command line, runs the command and tells how it went; answers with the exit status of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Dev(args) => dev::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Account(command) => account::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::Invite(command) => invite::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::Mail(command) => mail::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::Relay(command) => relay::run(command).await,
        Command::Repo(command) => repo::run(command).await,
        Command::Health(args) => health::run(args).await.map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
