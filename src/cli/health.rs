//! `rookery health`: does a server answer? For containers, whose images hold no other program that could ask.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Arguments of `rookery health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the server listens
    #[arg(default_value = "http://127.0.0.1:2583")]
    url: String,
}

/// Asks the server once; an error when it is not well.
pub async fn run(args: HealthArgs) -> anyhow::Result<()> {
    let url = format!("{}/xrpc/_health", args.url.trim_end_matches('/'));
    // Reports "already installed" to nobody: any provider will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let response = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    if !response.status().is_success() {
        bail!("{url} answers {}", response.status());
    }
    println!("{}", response.text().await?);
    Ok(())
}
