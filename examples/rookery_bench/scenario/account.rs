//! Signing up and signing in: mostly the price of a password hash, which is meant to be high.

use anyhow::Result;

use super::Context;
use crate::{
    http::Body,
    measure::{Measured, drive},
    xrpc::{ACCOUNT, JSON, SESSION, now_secs},
};

const CONNECTIONS: usize = 4;

/// createAccount, each with a name of its own and an identity at the server's did:plc directory.
pub async fn create_account(name: &str, context: &mut Context) -> Result<Measured> {
    let mut connections = context.server.connections(CONNECTIONS).await?;
    let (server, run) = (&context.server, now_secs() & 0xff_ffff);
    let (samples, meter) =
        drive(&mut connections, context.bounds(), context.process, async |connection, n| {
            let input = server.sign_up_input(&format!("a{run:x}{n:x}"));
            Ok((connection.call(ACCOUNT, None, Body::Bytes(JSON, &input)).await?, 1))
        })
        .await?;
    Ok(meter.end(name, "accounts", &samples))
}

/// createSession with the right password.
pub async fn create_session(name: &str, context: &mut Context) -> Result<Measured> {
    let accounts = context.server.accounts("session", CONNECTIONS).await?;
    let inputs: Vec<Vec<u8>> = accounts.iter().map(|account| context.server.credentials(account)).collect();
    let mut workers: Vec<_> =
        context.server.connections(CONNECTIONS).await?.into_iter().zip(inputs).collect();
    let (samples, meter) =
        drive(&mut workers, context.bounds(), context.process, async |(connection, input), _| {
            Ok((connection.call(SESSION, None, Body::Bytes(JSON, input)).await?, 1))
        })
        .await?;
    Ok(meter.end(name, "sessions", &samples))
}
