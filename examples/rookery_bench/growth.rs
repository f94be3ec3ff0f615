//! How what a write costs, and what the server holds in memory, grow with what is there: records in a repository, accounts
//! on the server, subscribers. One point for each power of ten.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    http::Connection,
    measure::{Measured, drive},
    report,
    scenario::{self, Context, create_records, import_into},
    xrpc::{Account, CREATE_RECORD, JSON, create_record_input},
};

/// What grows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Growing {
    /// Records of the repository that is written to, from 1,000
    Records,
    /// Accounts on the server, from 10; writes go to all of them in turn
    Accounts,
    /// Subscribers of the firehose, from 1
    Subscribers,
}

const RECORDS_MIN: u64 = 1000;
const ACCOUNTS_MIN: u64 = 10;
const STEP: u64 = 10;
const TO_MAX: u64 = 10_000_000;
/// A connection for each core's worth of password hashing, and some to hide the directory's time.
const SIGN_UP_CONNECTIONS: usize = 8;

/// Measures at each step up to `to`, and prints each.
pub async fn grow(what: Growing, to: u64, context: &mut Context) -> Result<Vec<Measured>> {
    if to > TO_MAX {
        bail!("--to is at most {TO_MAX}");
    }
    let first = match what {
        Growing::Records => RECORDS_MIN,
        Growing::Accounts => ACCOUNTS_MIN,
        Growing::Subscribers => 1,
    };
    let mut all = Vec::new();
    let mut accounts = Vec::new();
    let mut n = first;
    while n <= to {
        let measured = match what {
            Growing::Records => at_records(n, context).await?,
            Growing::Accounts => at_accounts(n, &mut accounts, context).await?,
            Growing::Subscribers => at_subscribers(n, context).await?,
        };
        println!("{}", report::line(&measured));
        // What there was, which --scale may have made fewer.
        let at = measured.more.get("subscribers").copied().unwrap_or(n as f64);
        all.push(measured.with("at", at));
        n *= STEP;
    }
    Ok(all)
}

/// createRecord on one connection, into a repository of `n` records.
async fn at_records(n: u64, context: &mut Context) -> Result<Measured> {
    let account = context.server.account(&format!("g{n}x")).await?;
    if account.records == 0 {
        import_into(&context.server, &account, n).await?;
        context.server.set_records(&account.did, n)?;
    }
    let mut workers = [(context.server.connect().await?, &account)];
    let (samples, meter) = create_records(&mut workers, context.bounds(), context.process).await?;
    Ok(meter.end(&format!("records-{n}"), "records", &samples))
}

/// createRecord on one connection, into the repositories of `n` accounts in turn.
async fn at_accounts(n: u64, accounts: &mut Vec<Account>, context: &mut Context) -> Result<Measured> {
    sign_up_to(n, accounts, context).await?;
    let mut connections = [context.server.connect().await?];
    // Far apart, one after the other: no cache of recent accounts helps when there are many.
    let stride = (n * 7 / 10) | 1;
    let operation = async |connection: &mut Connection, turn: u64| {
        let idx = usize::try_from(turn * stride % n)?;
        let account = accounts.get(idx).context("an account that was not made")?;
        let input = create_record_input(&account.did, turn);
        let body = crate::http::Body::Bytes(JSON, &input);
        Ok((connection.call(CREATE_RECORD, Some(&account.token), body).await?, 1))
    };
    let (samples, meter) = drive(&mut connections, context.bounds(), context.process, operation).await?;
    Ok(meter.end(&format!("accounts-{n}"), "records", &samples))
}

/// Makes accounts until there are `n`.
async fn sign_up_to(n: u64, accounts: &mut Vec<Account>, context: &Context) -> Result<()> {
    let missing = n.saturating_sub(accounts.len() as u64);
    let names: Vec<String> = (0..missing).map(|idx| format!("m{:x}", accounts.len() as u64 + idx)).collect();
    let next = std::cell::Cell::new(0_usize);
    let made = std::cell::RefCell::new(Vec::new());
    let mut connections = context.server.connections(SIGN_UP_CONNECTIONS).await?;
    let loops = connections.iter_mut().map(|connection| async {
        while let Some(name) = names.get(next.replace(next.get() + 1)) {
            let account = context.server.sign_up(connection, name).await?;
            made.borrow_mut().push(account);
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(loops).await?;
    accounts.extend(made.into_inner());
    // Memory that only signing up took is given back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// The live firehose with `n` subscribers.
async fn at_subscribers(n: u64, context: &mut Context) -> Result<Measured> {
    let measured = scenario::run(&format!("firehose-{n}"), context).await?;
    // A name of its own: the comparison has this scenario, too.
    Ok(Measured { scenario: format!("subscribers-{n}"), ..measured })
}
