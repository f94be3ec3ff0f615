//! Writing: records one by one and by the hundred, and blobs.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::{
    http::{Body, Connection},
    measure::{Bounds, Measured, Meter, Samples, drive},
    process::Process,
    xrpc::{Account, CREATE_RECORD, JSON, create_record_input, post},
};

/// Writes in one applyWrites.
const BATCH: u64 = 100;
/// Connections, and accounts, of applyWrites and uploadBlob.
const BULK_CONNECTIONS: usize = 4;
const BLOB_BYTES: usize = 500_000;

/// createRecord: the connections share the accounts evenly.
pub async fn create_record(
    name: &str,
    context: &mut Context,
    n_connections: usize,
    n_accounts: usize,
) -> Result<Measured> {
    let accounts = context.server.accounts("writer", n_accounts).await?;
    let connections = context.server.connections(n_connections).await?;
    let mut workers: Vec<_> = connections.into_iter().zip(accounts.iter().cycle()).collect();
    let (samples, meter) = create_records(&mut workers, context.bounds(), context.process).await?;
    Ok(meter.end(name, "records", &samples))
}

/// createRecord on connections that each write for one account.
pub async fn create_records(
    workers: &mut [(Connection, &Account)],
    bounds: Bounds,
    process: Process,
) -> Result<(Samples, Meter)> {
    drive(workers, bounds, process, async |(connection, account), n| {
        let input = create_record_input(&account.did, n);
        Ok((connection.call(CREATE_RECORD, Some(&account.token), Body::Bytes(JSON, &input)).await?, 1))
    })
    .await
}

/// applyWrites of a hundred new records.
pub async fn apply_writes(name: &str, context: &mut Context) -> Result<Measured> {
    const APPLY_WRITES: &str = "/xrpc/com.atproto.repo.applyWrites";
    let accounts = context.server.accounts("bulk", BULK_CONNECTIONS).await?;
    let mut workers: Vec<_> =
        context.server.connections(BULK_CONNECTIONS).await?.into_iter().zip(&accounts).collect();
    let (samples, meter) =
        drive(&mut workers, context.bounds(), context.process, async |(connection, account), n| {
            let writes: Vec<_> = (0..BATCH)
                .map(|idx| {
                    json!({
                        "$type": "com.atproto.repo.applyWrites#create",
                        "collection": "app.bsky.feed.post",
                        "value": post(n * BATCH + idx),
                    })
                })
                .collect();
            let input = json!({ "repo": account.did, "writes": writes }).to_string().into_bytes();
            let call = connection.call(APPLY_WRITES, Some(&account.token), Body::Bytes(JSON, &input)).await?;
            Ok((call, BATCH))
        })
        .await?;
    Ok(meter.end(name, "records", &samples))
}

/// uploadBlob of half a megabyte, each different.
pub async fn upload_blob(name: &str, context: &mut Context) -> Result<Measured> {
    const UPLOAD_BLOB: &str = "/xrpc/com.atproto.repo.uploadBlob";
    let accounts = context.server.accounts("bulk", BULK_CONNECTIONS).await?;
    let connections = context.server.connections(BULK_CONNECTIONS).await?;
    let seed = crate::xrpc::now_secs();
    let mut workers: Vec<_> = connections
        .into_iter()
        .zip(&accounts)
        .map(|(connection, account)| (connection, account, noise(seed)))
        .collect();
    let (samples, meter) =
        drive(&mut workers, context.bounds(), context.process, async |(connection, account, blob), n| {
            if let Some(start) = blob.get_mut(..8) {
                start.copy_from_slice(&n.to_le_bytes());
            }
            let body = Body::Bytes("application/octet-stream", blob);
            Ok((connection.call(UPLOAD_BLOB, Some(&account.token), body).await?, BLOB_BYTES as u64))
        })
        .await?;
    Ok(meter.end(name, "bytes", &samples))
}

/// Bytes that look like nothing, different for each seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..BLOB_BYTES).map(|_| next()).collect()
}
