//! `plc/`: audit logs of did:plc that stand (`valid/`) and that do not (`invalid/`).

use std::path::Path;

use atproto::{
    plc::{LogEntry, check_log},
    syntax::Did,
};
use serde_json::Value;

use super::report::{Outcome, cases, ensure, ensure_eq, files, name, text};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        let result = match file.parent().map(name) {
            Some("valid") => valid(&cases(&file)),
            Some("invalid") => invalid(&cases(&file)),
            _ => {
                outcome.skip("neither in valid/ nor in invalid/");
                continue;
            }
        };
        outcome.check(&file, "whole log", result);
    }
    outcome
}

fn valid(cases: &[Value]) -> Result<(), String> {
    let (did, mut log) = read(cases)?;
    let state = check_log(&did, &log).map_err(|e| format!("refused: {e}"))?;
    let last = log.last().and_then(|entry| entry.operation.data());
    ensure_eq("state", state, last)?;
    for (entry, case) in log.iter().zip(cases) {
        ensure_eq("entry as JSON", entry.to_json(&did), case.clone())?;
    }
    for idx in 0..log.len() {
        log[idx].nullified ^= true;
        ensure(check_log(&did, &log).is_err(), format!("mark {idx} makes no difference"))?;
        log[idx].nullified ^= true;
    }
    Ok(())
}

fn invalid(cases: &[Value]) -> Result<(), String> {
    match read(cases) {
        Ok((did, log)) => ensure(check_log(&did, &log).is_err(), "accepted"),
        Err(_) => Ok(()),
    }
}

fn read(cases: &[Value]) -> Result<(Did, Vec<LogEntry>), String> {
    let first = cases.first().ok_or("the log is empty")?;
    let did = Did::parse(text(first, "did")?).map_err(|e| e.to_string())?;
    for case in cases {
        ensure_eq("did", text(case, "did")?, did.as_str())?;
    }
    let entries: Result<Vec<_>, _> = cases.iter().map(LogEntry::from_json).collect();
    Ok((did, entries.map_err(|e| format!("refused: {e}"))?))
}
