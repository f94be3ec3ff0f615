//! Reading in public: one record, a page of records, a whole repository.

use anyhow::{Context as _, Result, ensure};

use super::{Context, import_into};
use crate::{
    http::Body,
    measure::{Measured, drive},
    xrpc::{Account, json_of},
};

const CONNECTIONS: usize = 16;
/// Records of the repository that is read from.
const LARGE_RECORDS: u64 = 100_000;
/// Pages that are read in turn, and their records.
const PAGES: usize = 10;
const PAGE_RECORDS: usize = 100;
const COLLECTION: &str = "app.bsky.feed.post";

/// An account with a large repository; imported when it is not there yet.
async fn large(context: &mut Context) -> Result<Account> {
    let n_records = context.scaled(LARGE_RECORDS);
    let mut account = context.server.account(&format!("r{n_records}x")).await?;
    if account.records == 0 {
        import_into(&context.server, &account, n_records).await?;
        context.server.set_records(&account.did, n_records)?;
        account.records = n_records;
    }
    Ok(account)
}

/// Where the pages begin, and the keys of the records on them.
struct Pages {
    targets: Vec<String>,
    rkeys: Vec<String>,
}

impl Pages {
    async fn read(context: &Context, account: &Account) -> Result<Pages> {
        let mut connection = context.server.connect().await?;
        let mut pages = Pages { targets: Vec::new(), rkeys: Vec::new() };
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let target = format!(
                "/xrpc/com.atproto.repo.listRecords?repo={}&collection={COLLECTION}&limit={PAGE_RECORDS}{cursor}",
                account.did
            );
            let page = json_of(&connection.call(&target, None, Body::None).await?)?;
            let records = page["records"].as_array().context("an answer without records")?;
            if records.len() < PAGE_RECORDS && !pages.targets.is_empty() {
                break;
            }
            for record in records {
                let uri = record["uri"].as_str().context("a record without uri")?;
                pages.rkeys.push(uri.rsplit('/').next().unwrap_or_default().to_owned());
            }
            pages.targets.push(target);
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ensure!(!pages.rkeys.is_empty(), "the repository of {} has no posts", account.did);
        Ok(pages)
    }
}

fn turn(list: &[String], n: u64) -> &str {
    let idx = n % list.len().max(1) as u64;
    list.get(usize::try_from(idx).unwrap_or(0)).map_or("", String::as_str)
}

/// getRecord of a thousand different records of a large repository.
pub async fn get_record(name: &str, context: &mut Context) -> Result<Measured> {
    let account = large(context).await?;
    let pages = Pages::read(context, &account).await?;
    let mut connections = context.server.connections(CONNECTIONS).await?;
    let start =
        format!("/xrpc/com.atproto.repo.getRecord?repo={}&collection={COLLECTION}&rkey=", account.did);
    let (samples, meter) =
        drive(&mut connections, context.bounds(), context.process, async |connection, n| {
            let target = format!("{start}{}", turn(&pages.rkeys, n));
            Ok((connection.call(&target, None, Body::None).await?, 1))
        })
        .await?;
    Ok(meter.end(name, "records", &samples))
}

/// listRecords, a hundred at once.
pub async fn list_records(name: &str, context: &mut Context) -> Result<Measured> {
    let account = large(context).await?;
    let pages = Pages::read(context, &account).await?;
    let mut connections = context.server.connections(CONNECTIONS).await?;
    let (samples, meter) =
        drive(&mut connections, context.bounds(), context.process, async |connection, n| {
            Ok((connection.call(turn(&pages.targets, n), None, Body::None).await?, 1))
        })
        .await?;
    Ok(meter.end(name, "pages", &samples))
}

/// getRepo of a large repository, one after the other.
pub async fn get_repo(name: &str, context: &mut Context) -> Result<Measured> {
    let account = large(context).await?;
    let target = format!("/xrpc/com.atproto.sync.getRepo?did={}", account.did);
    let mut connections = context.server.connections(1).await?;
    let (samples, meter) =
        drive(&mut connections, context.bounds(), context.process, async |connection, _| {
            let response = connection.call(&target, None, Body::None).await?;
            let bytes = response.body_bytes;
            Ok((response, bytes))
        })
        .await?;
    Ok(meter.end(name, "bytes", &samples).with("records", account.records as f64))
}
