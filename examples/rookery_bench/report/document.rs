//! `docs/performance.md`: what stands between its markers is made from a folder of results, the rest is written by hand.
//!
//! The folder: `machine.json`, `versions.json` (what `bench/compare.sh` knows: text by name), and a folder for each server
//! with one file for each run.

mod targets;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{Run, amount, unit};
use crate::{
    machine::Machine,
    measure::Measured,
    plot::{self, Bar, Line},
    scenario,
};
use targets::{GROWTH_TARGETS, TARGETS, Verdict};

/// The server that is ours, and the one that it is held against: names of their folders.
const OURS: &str = "rookery";
const THEIRS: &str = "reference";

/// The results of one server: the middle one of each scenario's rounds.
type Results = BTreeMap<String, Measured>;

/// All that was measured.
pub struct Comparison {
    machine: Machine,
    versions: BTreeMap<String, String>,
    ours: Results,
    theirs: Results,
}

impl Comparison {
    fn read(folder: &Path) -> Result<Comparison> {
        Ok(Comparison {
            machine: json(&folder.join("machine.json"))?,
            versions: json(&folder.join("versions.json"))?,
            ours: results(&folder.join(OURS))?,
            theirs: results(&folder.join(THEIRS))?,
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let read = || anyhow::Ok(serde_json::from_slice(&fs::read(file)?)?);
    read().with_context(|| file.display().to_string())
}

fn results(folder: &Path) -> Result<Results> {
    let mut rounds: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            for measured in Run::read(&path)?.measured {
                rounds.entry(measured.scenario.clone()).or_default().push(measured);
            }
        }
    }
    Ok(rounds.into_iter().filter_map(|(name, rounds)| Some((name, middle(rounds)?))).collect())
}

/// The round whose throughput is the median; of two, the slower.
fn middle(mut rounds: Vec<Measured>) -> Option<Measured> {
    rounds.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    let idx = (rounds.len().checked_sub(1)?) / 2;
    Some(rounds.swap_remove(idx))
}

/// Brings `document` up to date with `folder`, and draws its plots into `plots`.
pub fn write(folder: &Path, document: &Path, plots: &Path) -> Result<()> {
    let comparison = Comparison::read(folder)?;
    draw(&comparison, plots)?;
    let mut text = fs::read_to_string(document).with_context(|| document.display().to_string())?;
    for (name, made) in [
        ("machine", machine(&comparison)),
        ("targets", targets_table(&comparison)),
        ("scenarios", scenarios_table(&comparison)),
        ("growth", growth_table(&comparison)),
    ] {
        text = replaced(&text, name, &made)?;
    }
    Ok(fs::write(document, text)?)
}

/// `text` with `made` between the markers called `name`.
fn replaced(text: &str, name: &str, made: &str) -> Result<String> {
    let (begin, end) =
        (format!("<!-- begin {name}: made by bench/compare.sh -->"), format!("<!-- end {name} -->"));
    let missing = || format!("the document has no {begin} with {end} after it");
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", made.trim()))
}

fn machine(comparison: &Comparison) -> String {
    let Comparison { machine, versions, .. } = comparison;
    let mut text = format!(
        "| | |\n|---|---|\n| machine | {}, {} cores, {:.0} GiB |\n| kernel | {} |\n\
         | a flush: 16 KiB at the end of a file, then fdatasync | {:.2} ms, p99 {:.2} ms |\n| load before | {} |\n",
        machine.model,
        machine.cores,
        machine.memory_mib as f64 / 1024.0,
        machine.kernel,
        machine.flush_p50_ms,
        machine.flush_p99_ms,
        machine.load,
    );
    for (name, value) in versions {
        text += &format!("| {name} | {value} |\n");
    }
    text
}

fn targets_table(comparison: &Comparison) -> String {
    let mut text = "| scenario | target | measured | |\n|---|---|---|---|\n".to_owned();
    for target in TARGETS {
        let (measured, verdict) =
            match (comparison.ours.get(target.scenario), comparison.theirs.get(target.scenario)) {
                (Some(ours), theirs) => (target.judge)(ours, theirs, &comparison.machine),
                _ => ("not measured".to_owned(), Verdict::Unknown),
            };
        text += &format!("| {} | {} | {measured} | {verdict} |\n", target.name, target.wanted);
    }
    text
}

fn scenarios_table(comparison: &Comparison) -> String {
    let mut text = "| scenario | | a second | p50 | p99 | server CPU each | resident, peak |\n|---|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for name in scenario::NAMES {
        for (server, results) in [("Rookery", &comparison.ours), ("reference", &comparison.theirs)] {
            let Some(measured) = results.get(*name) else { continue };
            text += &format!("| {name} | {server} | {} |\n", cells(measured));
        }
    }
    text
}

/// The cells of one line, from throughput to memory.
fn cells(measured: &Measured) -> String {
    let mib = |kib: Option<u64>| kib.map_or("-".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0));
    let (throughput, latency) = match measured.units {
        0 => ("-".to_owned(), "- | -".to_owned()),
        _ => (
            format!("{} {}", amount(measured.per_second(), &measured.unit), unit(&measured.unit)),
            format!("{} ms | {} ms", amount(measured.p50_ms, ""), amount(measured.p99_ms, "")),
        ),
    };
    let cpu = measured.cpu_ms_per_operation().map_or("-".to_owned(), |ms| {
        if ms < 1.0 { format!("{:.0} µs", ms * 1000.0) } else { format!("{} ms", amount(ms, "")) }
    });
    let failed = if measured.failed > 0 { format!(" ({} failed)", measured.failed) } else { String::new() };
    let missing = measured.more.get("missing").copied().unwrap_or(0.0);
    let missing = if missing > 0.0 { format!(" ({missing} missing)") } else { String::new() };
    format!(
        "{throughput}{failed}{missing} | {latency} | {cpu} | {}, {} MiB",
        mib(measured.resident_kib),
        mib(measured.resident_peak_kib)
    )
}

/// Points of a growing quantity, smallest first: how many there are, and what was measured.
fn points<'a>(results: &'a Results, growing: &str) -> Vec<(f64, &'a Measured)> {
    let of = |measured: &&Measured| {
        measured.scenario.strip_prefix(growing).is_some_and(|rest| rest.starts_with('-'))
    };
    let mut points: Vec<_> = results
        .values()
        .filter(of)
        .filter_map(|measured| Some((*measured.more.get("at")?, measured)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn growth_table(comparison: &Comparison) -> String {
    let mut text = "| | target | measured | |\n|---|---|---|---|\n".to_owned();
    for target in GROWTH_TARGETS {
        let points = points(&comparison.ours, target.growing);
        let (measured, verdict) = (target.judge)(&points);
        text += &format!("| {} | {} | {measured} | {verdict} |\n", target.name, target.wanted);
    }
    text += "\n| | createRecord, p50 | p99 | server CPU each | resident | peak |\n|---|---:|---:|---:|---:|---:|\n";
    for (growing, called) in
        [("records", "records in the repository"), ("accounts", "accounts on the server")]
    {
        for (at, measured) in points(&comparison.ours, growing) {
            text += &format!(
                "| {} {called} | {:.2} ms | {:.2} ms | {:.0} µs | {:.1} MiB | {:.1} MiB |\n",
                amount(at, ""),
                measured.p50_ms,
                measured.p99_ms,
                measured.cpu_ms_per_operation().unwrap_or_default() * 1000.0,
                measured.resident_kib.unwrap_or_default() as f64 / 1024.0,
                measured.resident_peak_kib.unwrap_or_default() as f64 / 1024.0,
            );
        }
    }
    text += "\n![createRecord against records in the repository](performance-records.svg)\n\
             ![createRecord against accounts on the server](performance-accounts.svg)\n\
             ![resident memory](performance-memory.svg)\n";
    text
}

fn draw(comparison: &Comparison, plots: &Path) -> Result<()> {
    fs::create_dir_all(plots)?;
    let bars: Vec<Bar> = TARGETS.iter().filter_map(|target| bar(target, comparison)).collect();
    plot::bars(
        "Times the reference (blue), and what was to be reached (orange)",
        &bars,
        &plots.join("performance-ratios.svg"),
    )?;
    for (growing, across) in
        [("records", "records in the repository"), ("accounts", "accounts on the server")]
    {
        let line = |label: &str, value: fn(&Measured) -> f64| Line {
            label: label.to_owned(),
            points: points(&comparison.ours, growing)
                .into_iter()
                .map(|(at, measured)| (at, value(measured)))
                .collect(),
        };
        let lines = [
            line("p50", |measured| measured.p50_ms),
            line("server CPU each", |measured| measured.cpu_ms_per_operation().unwrap_or(0.0)),
        ];
        let title = format!("createRecord on one connection, against {across}");
        plot::lines(
            &title,
            across,
            "milliseconds",
            &lines,
            &plots.join(format!("performance-{growing}.svg")),
        )?;
    }
    let lines =
        [("records", "records in the repository"), ("accounts", "accounts"), ("subscribers", "subscribers")]
            .map(|(growing, label)| Line {
                label: label.to_owned(),
                points: points(&comparison.ours, growing)
                    .into_iter()
                    .map(|(at, measured)| (at, measured.resident_peak_kib.unwrap_or(0) as f64 / 1024.0))
                    .collect(),
            });
    plot::lines(
        "Peak of resident memory while writing",
        "how many there are",
        "MiB",
        &lines,
        &plots.join("performance-memory.svg"),
    )
}

fn bar(target: &targets::Target, comparison: &Comparison) -> Option<Bar> {
    let (ratio, mark) = target.ratio?;
    let value = ratio(comparison.ours.get(target.scenario)?, comparison.theirs.get(target.scenario)?)?;
    Some(Bar {
        label: target.short.to_owned(),
        value,
        text: format!("{} x", amount(value, "")),
        mark: Some(mark),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let text = "Mine.\n<!-- begin x: made by bench/compare.sh -->\nold\n<!-- end x -->\nMine, too.\n";
        let once = replaced(text, "x", "new\n").unwrap_or_default();
        assert_eq!(
            once,
            "Mine.\n<!-- begin x: made by bench/compare.sh -->\n\nnew\n\n<!-- end x -->\nMine, too.\n"
        );
        assert_eq!(replaced(&once, "x", "new").unwrap_or_default(), once);
        assert!(replaced(text, "y", "new").is_err());
    }
}
