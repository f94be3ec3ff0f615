//! `rookery invite`: make invite codes.

use clap::{Args, Subcommand};

use crate::cli::local::{Local, LocalArgs};

/// What can be done with invite codes.
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Make an invite code and print it
    Create(CreateArgs),
}

/// Arguments of `invite create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How many accounts can be made with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    uses: u32,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs a command of `rookery invite`.
pub async fn run(command: InviteCommand) -> anyhow::Result<()> {
    let InviteCommand::Create(args) = command;
    let local = Local::open(&args.local).await?;
    let code = local.app.accounts.create_invite(args.uses).await?;
    println!("{code}");
    local.close().await;
    Ok(())
}
