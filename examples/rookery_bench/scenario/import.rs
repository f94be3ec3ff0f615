//! importRepo of repositories that are made for it. They are signed with a key that no DID document knows: both servers
//! take that, and sign anew.

use std::{io::Write as _, time::Instant};

use anyhow::{Context as _, Result};
use atproto::{
    crypto::{Curve, SigningKey},
    syntax::Did,
};
use rookery::time::Entropy;
use tempfile::NamedTempFile;

use super::Context;
use crate::{
    generate::{BlockOrder, Repo},
    http::Body,
    measure::{Measured, Meter, Samples},
    xrpc::{Account, CAR, Server, json_of, now_millis},
};

const IMPORT_REPO: &str = "/xrpc/com.atproto.repo.importRepo";

/// A CAR file with a repository for `account`.
fn make_car(account: &Account, n_records: u64) -> Result<NamedTempFile> {
    let key = SigningKey::from_bytes(Curve::K256, &Entropy::system().bytes())?;
    let repo = Repo::generate(Did::parse(&account.did)?, n_records, &key)?;
    let file = NamedTempFile::new()?;
    let mut out = std::io::BufWriter::new(&file);
    repo.write(BlockOrder::PreOrder, &mut out)?;
    out.flush()?;
    drop(out);
    Ok(file)
}

async fn import(server: &Server, account: &Account, car: &NamedTempFile) -> Result<()> {
    let mut connection = server.connect().await?;
    let body = Body::File(CAR, car.path());
    let response = connection.call(IMPORT_REPO, Some(&account.token), body).await?;
    if response.status != 200 {
        json_of(&response).context("importRepo")?;
    }
    Ok(())
}

/// Gives `account` a repository of `n_records` records.
pub async fn import_into(server: &Server, account: &Account, n_records: u64) -> Result<()> {
    import(server, account, &make_car(account, n_records)?).await
}

/// importRepo into a fresh account, once.
pub async fn import_repo(name: &str, context: &mut Context, n_records: u64) -> Result<Measured> {
    let n_records = context.scaled(n_records);
    let mut connection = context.server.connect().await?;
    // Two runs may begin within the same second.
    let label = format!("i{:x}", now_millis() & 0xff_ffff_ffff);
    let account = context.server.sign_up(&mut connection, &label).await?;
    let car = make_car(&account, n_records)?;
    let bytes = car.as_file().metadata()?.len();
    let mut samples = Samples::new()?;
    let meter = Meter::start(context.process);
    let started = Instant::now();
    import(&context.server, &account, &car).await?;
    samples.add(started.elapsed(), n_records);
    Ok(meter.end(name, "records", &samples).with("bytes", bytes as f64))
}
