//! `rookery account`: make and list accounts on this machine's server.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use atproto::syntax::{Datetime, Did, Handle};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::{
    cli::local::{Local, LocalArgs},
    service::account::{
        create::{Adoption, SignUp},
        handle_policy::Asker,
    },
    store::account::Account,
};

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account
    ///
    /// With --did the account is for an identity that exists already: it starts deactivated and without a repository, and
    /// no directory is asked or told. Without --did a new identity is registered at the directory, and the account is active.
    /// The server may be running.
    Create(CreateArgs),
    /// List all accounts: one line "DID TAB handle TAB status" each
    List(ListArgs),
}

/// Arguments of `account create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The identity to make an account for; default: a new did:plc
    #[arg(long)]
    did: Option<Did>,
    /// Make the handle's own host name the identity (did:web:HANDLE) instead of a new did:plc. The server answers for it at
    /// https://HANDLE/.well-known/did.json; it cannot move to another server
    #[arg(long, conflicts_with = "did")]
    did_web: bool,
    /// The handle, for a new identity under one of the server's domains
    #[arg(long, required_unless_present = "did")]
    handle: Option<Handle>,
    /// The e-mail address
    #[arg(long)]
    email: Option<String>,
    /// The password; without one nobody can sign in by password
    #[arg(long)]
    password: Option<String>,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: LocalArgs,
}

/// Arguments of `account list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print one JSON object per line for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs a command of `rookery account`.
pub async fn run(command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Create(args) => create(args).await,
        AccountCommand::List(args) => list(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let password = args.password.map(Zeroizing::new);
    let (local, did) = match (args.did, args.handle) {
        (Some(did), handle) => {
            let local = Local::open(&args.local).await?;
            let adoption = Adoption { did, handle, email: args.email, password };
            let account = local.app.accounts.adopt(adoption).await.context("no account was made")?;
            (local, account.did)
        }
        (None, Some(handle)) => {
            let local = Local::open(&args.local).await?;
            let sign_up = SignUp {
                handle,
                email: args.email,
                password,
                invite_code: None,
                recovery_key: None,
                asker: Asker::Operator,
            };
            let accounts = &local.app.accounts;
            let session = match args.did_web {
                true => accounts.sign_up_hosted(sign_up).await,
                false => accounts.sign_up(sign_up).await,
            };
            let session = session.context("no account was made")?;
            (local, session.account.did)
        }
        (None, None) => bail!("give --handle for a new identity, or --did for one that exists"),
    };
    let account = local.account(&did).await?;
    if args.json {
        println!("{}", to_json(&account));
    } else {
        println!("{}", to_line(&account));
    }
    local.close().await;
    Ok(())
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let local = Local::open(&args.local).await?;
    let mut out = std::io::stdout().lock();
    let mut after_id = 0;
    loop {
        let page = local.app.accounts.list(after_id).await?;
        let Some(last) = page.last() else { break };
        after_id = last.id;
        for account in &page {
            let line = if args.json { to_json(account).to_string() } else { to_line(account) };
            writeln!(out, "{line}")?;
        }
    }
    drop(out);
    local.close().await;
    Ok(())
}

fn status(account: &Account) -> &'static str {
    account.status().as_str().unwrap_or("active")
}

fn to_line(account: &Account) -> String {
    let handle = account.handle.as_ref().map_or("-", Handle::as_str);
    format!("{}\t{handle}\t{}", account.did, status(account))
}

fn to_json(account: &Account) -> serde_json::Value {
    serde_json::json!({
        "did": account.did.as_str(),
        "handle": account.handle.as_ref().map(Handle::as_str),
        "email": account.email,
        "status": status(account),
        "createdAt": Datetime::from_micros(account.created_at).as_str(),
    })
}
