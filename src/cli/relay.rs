//! `rookery relay`: what relays think of this server, and what to do about it.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use atproto::syntax::Did;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    cli::local::{Local, LocalArgs},
    service::relays::{
        Relays,
        check::{Report, Sample},
        hostname,
        verdict::{Finding, Level},
    },
};

/// Exit status when something has to be done.
const EXIT_TO_DO: u8 = 1;
/// Exit status when nothing is known to be wrong, but not every relay could be asked.
const EXIT_NOT_ASKED: u8 = 2;
/// Accounts that each relay is asked about, unless one is named.
const ACCOUNTS_MAX: u32 = 100;

/// What can be done about relays.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Ask each relay what it thinks of this server and its accounts, and say what to do
    ///
    /// Asks about the hundred accounts that were made last, or about the one that --did names. The server may be running.
    /// Ends with 0 (all well), 1 (something to do) or 2 (a relay could not be asked).
    Status(StatusArgs),
    /// Ask each relay to come and read what is new; a running server does that by itself
    ///
    /// Ends with 0 when at least one relay takes it, else with 1.
    RequestCrawl(RequestCrawlArgs),
    /// Announce an account again: its state, and its repository under a new commit
    ///
    /// For relays that have lost track of it, or take it for inactive. The server may be running.
    Announce(AnnounceArgs),
}

/// Which relays, if not those of the configuration.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Ask this relay instead of those of services.relays; can be given several times
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// The name that relays know this server by; default: from the configuration. A sandbox is localhost:PORT
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    #[command(flatten)]
    local: LocalArgs,
}

/// Arguments of `relay status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Ask about this account alone
    #[arg(long)]
    did: Option<Did>,
    /// Print one JSON object per relay for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    relays: RelayArgs,
}

/// Arguments of `relay request-crawl`.
#[derive(Debug, Args)]
pub struct RequestCrawlArgs {
    #[command(flatten)]
    relays: RelayArgs,
}

/// Arguments of `relay announce`.
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    /// The account
    did: Did,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs a command of `rookery relay`.
pub async fn run(command: RelayCommand) -> anyhow::Result<ExitCode> {
    match command {
        RelayCommand::Status(args) => status(args).await,
        RelayCommand::RequestCrawl(args) => request_crawl(args).await,
        RelayCommand::Announce(args) => announce(args).await.map(|()| ExitCode::SUCCESS),
    }
}

/// The relays that were named, else those of the server.
fn relays(args: &RelayArgs, local: &Local) -> anyhow::Result<Relays> {
    let settings = &local.app.settings;
    let urls = match args.relay.as_slice() {
        [] => settings.relays.clone(),
        named => named.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
    };
    if urls.is_empty() {
        bail!(
            "there is no relay to ask: services.relays is empty; name one with --relay https://bsky.network"
        );
    }
    let name = args.hostname.as_ref().map_or_else(|| hostname(settings), |name| name.to_ascii_lowercase());
    Ok(Relays::named(name, &urls))
}

async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let local = Local::open(&args.relays.local).await?;
    let relays = relays(&args.relays, &local)?;
    let sample = match args.did {
        Some(did) => Sample::One(local.account(&did).await?.did),
        None => Sample::Newest(ACCOUNTS_MAX),
    };
    let reports = relays.check(&local.app.store, &local.app.clock, sample).await?;
    local.close().await;
    let mut out = std::io::stdout().lock();
    if !args.json {
        writeln!(out, "what relays think of {}:", relays.hostname())?;
    }
    for report in &reports {
        match args.json {
            true => writeln!(out, "{}", to_json(report, relays.hostname()))?,
            false => write!(out, "{}", to_text(report))?,
        }
    }
    Ok(exit_code(&reports))
}

/// Something to do outweighs a relay that could not be asked.
fn exit_code(reports: &[Report]) -> ExitCode {
    match reports.iter().map(Report::level).max() {
        Some(Level::ToDo) => EXIT_TO_DO.into(),
        Some(Level::Unknown) => EXIT_NOT_ASKED.into(),
        Some(Level::Well) | None => ExitCode::SUCCESS,
    }
}

fn to_text(report: &Report) -> String {
    let mut text = format!("\n{}\n", report.relay);
    let (about_host, about_accounts): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|finding| finding.did.is_none());
    for finding in about_host {
        text += &lines("", finding);
        if let Some(count) = report.host.as_ref().and_then(|host| host.account_count) {
            text += &format!("      it counts {count} accounts here\n");
        }
    }
    let (well, other): (Vec<&Finding>, Vec<&Finding>) =
        about_accounts.into_iter().partition(|finding| finding.level == Level::Well);
    for finding in other.iter().chain(well.iter().filter(|_| report.n_accounts == 1)) {
        let about = finding.did.as_ref().map_or_else(String::new, |did| format!("{did}: "));
        text += &lines(&about, finding);
    }
    if report.n_accounts > 1 {
        text +=
            &format!("  {} of {} accounts that it was asked about are well\n", well.len(), report.n_accounts);
    }
    text
}

fn lines(about: &str, finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Well => "ok",
        Level::Unknown => "?",
        Level::ToDo => "!",
    };
    let advice = finding.advice.iter().map(|advice| format!("      {advice}\n"));
    format!("  {mark:2}  {about}it {}\n{}", finding.text, advice.collect::<String>())
}

fn to_json(report: &Report, hostname: &str) -> serde_json::Value {
    let host = report.host.clone().unwrap_or_default();
    json!({
        "relay": report.relay,
        "hostname": hostname,
        "level": report.level(),
        "status": host.status,
        "seq": host.seq,
        "accountCount": host.account_count,
        "ourSeq": report.last_seq,
        "accountsAsked": report.n_accounts,
        "findings": report.findings,
    })
}

async fn request_crawl(args: RequestCrawlArgs) -> anyhow::Result<ExitCode> {
    let local = Local::open(&args.relays.local).await?;
    let relays = relays(&args.relays, &local)?;
    local.close().await;
    let mut taken = false;
    for (relay, told) in relays.request_crawls().await {
        match told {
            Ok(()) => println!("{relay}  ok"),
            Err(ref error) => println!("{relay}  {error}"),
        }
        taken |= told.is_ok();
    }
    Ok(if taken { ExitCode::SUCCESS } else { EXIT_TO_DO.into() })
}

async fn announce(args: AnnounceArgs) -> anyhow::Result<()> {
    let local = Local::open(&args.local).await?;
    let did = local.account(&args.did).await?.did;
    local.app.accounts.announce_one(&did).await.with_context(|| format!("{did} was not announced"))?;
    local.close().await;
    println!("{did} was announced again");
    Ok(())
}
