//! Where log events go: standard error, one line each, for people or as JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{LogConfig, LogFormat};

/// Starts logging. Call once per process; a second call changes nothing.
pub fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter: Targets = config.level.parse()?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let filtered = tracing_subscriber::registry().with(filter);
    // The only way to fail is that logging has been started already.
    let _ = match config.format {
        LogFormat::Text => filtered.with(lines).try_init(),
        LogFormat::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(())
}
