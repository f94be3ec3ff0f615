//! What was to be reached, and whether it was. The figures are those that the project set itself before it was measured.

use std::fmt;

use crate::{machine::Machine, measure::Measured, report::amount};

/// Whether a target is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// There is nothing to tell from.
    Unknown,
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Verdict {
        if met { Verdict::Met } else { Verdict::Missed }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::Unknown => "?",
        })
    }
}

/// How many times better ours is than theirs.
type Ratio = fn(&Measured, &Measured) -> Option<f64>;
type Judge = fn(&Measured, Option<&Measured>, &Machine) -> (String, Verdict);
type GrowthJudge = fn(&[(f64, &Measured)]) -> (String, Verdict);

/// A line of the table.
pub struct Target {
    /// Which scenario.
    pub scenario: &'static str,
    /// What the table calls it.
    pub name: &'static str,
    /// What the plot calls it.
    pub short: &'static str,
    /// What is to be reached, in words.
    pub wanted: &'static str,
    /// For the plot: the ratio and where its mark is.
    pub ratio: Option<(Ratio, f64)>,
    /// Says what was measured.
    pub judge: Judge,
}

fn throughput(ours: &Measured, theirs: &Measured) -> Option<f64> {
    (theirs.per_second() > 0.0).then(|| ours.per_second() / theirs.per_second())
}

fn cpu(ours: &Measured, theirs: &Measured) -> Option<f64> {
    let (ours, theirs) = (ours.cpu_ms_per_operation()?, theirs.cpu_ms_per_operation()?);
    (ours > 0.0).then(|| theirs / ours)
}

fn resident(ours: &Measured, theirs: &Measured) -> Option<f64> {
    Some(theirs.resident_kib? as f64 / ours.resident_kib? as f64)
}

fn faster(ours: &Measured, theirs: Option<&Measured>, least: f64) -> (String, Verdict) {
    match theirs.and_then(|theirs| Some((theirs, throughput(ours, theirs)?))) {
        Some((theirs, ratio)) => {
            let (unit, label) = (&ours.unit, super::unit(&ours.unit));
            let (ours, theirs) = (amount(ours.per_second(), unit), amount(theirs.per_second(), unit));
            (format!("{} x ({ours} against {theirs} {label}/s)", amount(ratio, "")), (ratio >= least).into())
        }
        None => ("no reference".to_owned(), Verdict::Unknown),
    }
}

fn cheaper(ours: &Measured, theirs: Option<&Measured>, least: f64) -> (String, Verdict) {
    match theirs.and_then(|theirs| Some((theirs, cpu(ours, theirs)?))) {
        Some((theirs, ratio)) => {
            let ms = |measured: &Measured| amount(measured.cpu_ms_per_operation().unwrap_or_default(), "");
            (
                format!("1/{} ({} against {} ms)", amount(ratio, ""), ms(ours), ms(theirs)),
                (ratio >= least).into(),
            )
        }
        None => ("no reference".to_owned(), Verdict::Unknown),
    }
}

fn smaller(ours: &Measured, theirs: Option<&Measured>, least: f64) -> (String, Verdict) {
    match theirs.and_then(|theirs| resident(ours, theirs)) {
        Some(ratio) => {
            let mib = |measured: Option<&Measured>| {
                measured.and_then(|measured| measured.resident_kib).unwrap_or_default() as f64 / 1024.0
            };
            let text =
                format!("1/{} ({:.1} against {:.0} MiB)", amount(ratio, ""), mib(Some(ours)), mib(theirs));
            (text, (ratio >= least).into())
        }
        None => ("no reference".to_owned(), Verdict::Unknown),
    }
}

/// At most one flush and a millisecond.
fn prompt(ours: &Measured, _: Option<&Measured>, machine: &Machine) -> (String, Verdict) {
    let most = machine.flush_p50_ms + 1.0;
    (format!("{:.2} ms p50; a flush and 1 ms are {most:.2} ms", ours.p50_ms), (ours.p50_ms <= most).into())
}

/// A thousand subscribers.
fn live(ours: &Measured, _: Option<&Measured>, _: &Machine) -> (String, Verdict) {
    let more = |name: &str| ours.more.get(name).copied().unwrap_or(f64::NAN);
    let peak = ours.resident_peak_kib.unwrap_or_default() as f64 / 1024.0;
    let whole = more("missing") == 0.0 && more("ended") == 0.0 && more("subscribers") >= 1000.0;
    let rate = more("commits_per_second");
    let text = format!(
        "{} of {} frames missing, {peak:.1} MiB, p99 {} ms at {} commits/s",
        amount(more("missing"), ""),
        amount(more("commits") * more("subscribers"), ""),
        amount(ours.p99_ms, ""),
        amount(rate, ""),
    );
    // The pace is 500; a hundredth is lost to when the clock is looked at.
    (text, (whole && peak < 64.0 && ours.p99_ms < 250.0 && rate >= 495.0).into())
}

/// The table of targets, in its order.
pub const TARGETS: &[Target] = &[
    Target {
        scenario: "create-record-16",
        name: "createRecord, 16 connections over 8 accounts: throughput",
        short: "createRecord, 16 conn.",
        wanted: "30 x",
        ratio: Some((throughput, 30.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 30.0),
    },
    Target {
        scenario: "create-record-16",
        name: "the same: server CPU for each",
        short: "… less CPU each",
        wanted: "1/40",
        ratio: Some((cpu, 40.0)),
        judge: |ours, theirs, _| cheaper(ours, theirs, 40.0),
    },
    Target {
        scenario: "create-record-1",
        name: "createRecord, one connection: server CPU for each",
        short: "createRecord, 1 conn.: CPU",
        wanted: "1/20",
        ratio: Some((cpu, 20.0)),
        judge: |ours, theirs, _| cheaper(ours, theirs, 20.0),
    },
    Target {
        scenario: "create-record-1",
        name: "the same: latency",
        short: "",
        wanted: "one flush and 1 ms",
        ratio: None,
        judge: prompt,
    },
    Target {
        scenario: "apply-writes",
        name: "applyWrites of 100",
        short: "applyWrites of 100",
        wanted: "15 x",
        ratio: Some((throughput, 15.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 15.0),
    },
    Target {
        scenario: "get-record",
        name: "getRecord",
        short: "getRecord",
        wanted: "20 x",
        ratio: Some((throughput, 20.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 20.0),
    },
    Target {
        scenario: "list-records",
        name: "listRecords(100)",
        short: "listRecords(100)",
        wanted: "10 x",
        ratio: Some((throughput, 10.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 10.0),
    },
    Target {
        scenario: "get-repo",
        name: "getRepo, bytes",
        short: "getRepo",
        wanted: "20 x",
        ratio: Some((throughput, 20.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 20.0),
    },
    Target {
        scenario: "upload-blob",
        name: "uploadBlob of 500 kB",
        short: "uploadBlob of 500 kB",
        wanted: "5 x",
        ratio: Some((throughput, 5.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 5.0),
    },
    Target {
        scenario: "backfill",
        name: "backfill from cursor 0, events",
        short: "backfill from cursor 0",
        wanted: "15 x",
        ratio: Some((throughput, 15.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 15.0),
    },
    Target {
        scenario: "firehose-100",
        name: "live firehose, 100 subscribers while writing: frames",
        short: "firehose, 100 subscribers",
        wanted: "20 x",
        ratio: Some((throughput, 20.0)),
        judge: |ours, theirs, _| faster(ours, theirs, 20.0),
    },
    Target {
        scenario: "idle",
        name: "memory, idle",
        short: "less memory, idle",
        wanted: "1/12",
        ratio: Some((resident, 12.0)),
        judge: |ours, theirs, _| smaller(ours, theirs, 12.0),
    },
    Target {
        scenario: "at-end",
        name: "memory after the whole run",
        short: "less memory, at the end",
        wanted: "1/10",
        ratio: Some((resident, 10.0)),
        judge: |ours, theirs, _| smaller(ours, theirs, 10.0),
    },
    Target {
        scenario: "firehose-1000",
        name: "1,000 live subscribers",
        short: "",
        wanted: "every frame, under 64 MiB, p99 under 250 ms at 500 commits/s",
        ratio: None,
        judge: live,
    },
];

/// A line of the table of growth.
pub struct GrowthTarget {
    /// What grows: the beginning of the scenarios' names.
    pub growing: &'static str,
    /// What the table calls it.
    pub name: &'static str,
    /// What is to be reached, in words.
    pub wanted: &'static str,
    /// Says what was measured at the points, smallest first.
    pub judge: GrowthJudge,
}

/// How many times dearer the last point is than the first: by its median, and by the processor time.
fn dearer(points: &[(f64, &Measured)], most: f64, up_to: f64) -> (String, Verdict) {
    let [(from, first), .., (to, last)] = points else {
        return ("not measured".to_owned(), Verdict::Unknown);
    };
    let latency = last.p50_ms / first.p50_ms;
    let cpu = last.cpu_ms_per_operation().zip(first.cpu_ms_per_operation()).map_or(f64::NAN, |(a, b)| a / b);
    let text = format!(
        "{latency:.2} x in time, {cpu:.2} x in CPU, from {} to {}",
        amount(*from, ""),
        amount(*to, "")
    );
    let verdict = if *to < up_to { Verdict::Unknown } else { (latency <= most && cpu <= most).into() };
    (text, verdict)
}

/// What growth may cost.
pub const GROWTH_TARGETS: &[GrowthTarget] = &[
    GrowthTarget {
        growing: "records",
        name: "createRecord against records in the repository, 1,000 to 1,000,000",
        wanted: "at most 2 x",
        judge: |points| dearer(points, 2.0, 1e6),
    },
    GrowthTarget {
        growing: "accounts",
        name: "createRecord against accounts on the server, 10 to 10,000",
        wanted: "at most 1.3 x",
        judge: |points| dearer(points, 1.3, 1e4),
    },
    GrowthTarget {
        growing: "start",
        name: "start-up with 10,000 accounts",
        wanted: "under 200 ms",
        judge: |points| match points {
            [.., (at, last)] => {
                let text =
                    format!("{:.0} ms (slowest of {}: {:.0} ms)", last.p50_ms, last.operations, last.max_ms);
                let text = format!("{text}, with {} accounts", amount(*at, ""));
                let verdict = if *at < 1e4 { Verdict::Unknown } else { (last.max_ms < 200.0).into() };
                (text, verdict)
            }
            [] => ("not measured".to_owned(), Verdict::Unknown),
        },
    },
];
