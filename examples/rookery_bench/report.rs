//! Results as text and as JSON. The document that compares two servers is [`document`].

pub mod document;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{measure::Measured, xrpc::now_secs};

/// One call of the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What the server was called.
    pub label: String,
    /// When it ended, in seconds since 1970.
    pub at_secs: u64,
    /// How long each scenario measured.
    pub seconds: f64,
    /// What sizes were multiplied with.
    pub scale: f64,
    /// What came out.
    pub measured: Vec<Measured>,
}

impl Run {
    /// A run that ends now.
    pub fn new(label: String, seconds: f64, scale: f64, measured: Vec<Measured>) -> Run {
        Run { label, at_secs: now_secs(), seconds, scale, measured }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, file: &Path) -> Result<()> {
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)
            .with_context(|| unfinished.display().to_string())?;
        Ok(fs::rename(&unfinished, file)?)
    }

    /// Reads what [`Run::write`] wrote.
    pub fn read(file: &Path) -> Result<Run> {
        let read = || anyhow::Ok(serde_json::from_slice(&fs::read(file)?)?);
        read().with_context(|| file.display().to_string())
    }
}

/// Stands over the [`line`]s.
pub const HEADING: &str = "scenario                 a second            p50 ms     p99 ms   CPU ms each  load CPU %     MiB  peak MiB";

/// One line of a table.
pub fn line(measured: &Measured) -> String {
    let known =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let mib = |kib: Option<u64>| known(kib.map(|kib| kib as f64 / 1024.0), 1);
    let mut line = format!(
        "{:<20} {:>12} {:<8} {:>10.3} {:>10.3} {:>13} {:>11.0} {:>7} {:>9}",
        measured.scenario,
        amount(measured.per_second(), &measured.unit),
        unit(&measured.unit),
        measured.p50_ms,
        measured.p99_ms,
        known(measured.cpu_ms_per_operation(), 4),
        100.0 * measured.load_cpu_seconds / measured.seconds.max(1e-9),
        mib(measured.resident_kib),
        mib(measured.resident_peak_kib),
    );
    if measured.failed > 0 {
        line += &format!("  {} FAILED", measured.failed);
    }
    for (name, value) in &measured.more {
        line += &format!("  {name} {}", amount(*value, ""));
    }
    line
}

/// A number that people can read; bytes in millions.
pub fn amount(value: f64, unit: &str) -> String {
    let value = if unit == "bytes" { value / 1e6 } else { value };
    match value.abs() {
        large if large >= 100.0 || large.fract() == 0.0 => grouped(value.round() as i64),
        middling if middling >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The unit that goes with [`amount`].
pub fn unit(unit: &str) -> &str {
    if unit == "bytes" { "MB" } else { unit }
}

/// With commas between thousands.
fn grouped(value: i64) -> String {
    let digits = value.abs().to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_have_to_be() {
        let written: Vec<String> =
            [0.0, 0.123, 12.34, 999.6, 1_234_567.8].map(|value| amount(value, "")).into();
        assert_eq!(written, ["0", "0.12", "12.3", "1,000", "1,234,568"]);
        assert_eq!(amount(18_000_000.0, "bytes"), "18");
    }
}
