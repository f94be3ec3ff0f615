//! What the kinds share: finding and reading files, and counting what ran.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// What running one kind gave.
#[derive(Default)]
pub struct Outcome {
    n_ran: usize,
    skipped: BTreeMap<String, usize>,
    /// One line per vector that failed: file, vector, reason.
    pub failures: Vec<String>,
}

impl Outcome {
    /// Counts one vector as run; an `Err` says how it failed.
    pub fn check(&mut self, file: &Path, vector: impl fmt::Display, result: Result<(), String>) {
        self.n_ran += 1;
        if let Err(problem) = result {
            let vector: String = vector.to_string().chars().take(120).collect();
            self.failures.push(format!("{}: {vector}: {problem}", file.display()));
        }
    }

    /// Counts one vector as not run, and why.
    pub fn skip(&mut self, reason: impl Into<String>) {
        *self.skipped.entry(reason.into()).or_default() += 1;
    }

    /// `313 vectors, 2 failed, 1 skipped (why)`, or `skipped, 6 why` when none ran.
    pub fn summary(&self) -> String {
        let skipped = self.skipped.iter();
        if self.n_ran == 0 {
            let reasons: Vec<String> = skipped.map(|(reason, n)| format!("{n} {reason}")).collect();
            return match reasons.is_empty() {
                true => "skipped, no vectors".to_owned(),
                false => format!("skipped, {}", reasons.join(", ")),
            };
        }
        let mut parts = vec![format!("{} vectors", self.n_ran)];
        if !self.failures.is_empty() {
            parts.push(format!("{} failed", self.failures.len()));
        }
        parts.extend(skipped.map(|(reason, n)| format!("{n} skipped ({reason})")));
        parts.join(", ")
    }
}

/// Runs nothing: what these vectors check is not built yet.
pub fn later(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in files(dir) {
        outcome.skip("files, nothing runs them yet");
    }
    outcome
}

/// `Ok` when `condition` holds.
pub fn ensure(condition: bool, problem: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(problem.into()) }
}

/// `Ok` when both are equal.
pub fn ensure_eq<T: PartialEq + fmt::Debug>(what: &str, got: T, want: T) -> Result<(), String> {
    ensure(got == want, format!("{what} is {got:?}, not {want:?}"))
}

/// Prints a line that also shows when the test passes: only `print!` and its kin are captured.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Every file at or below `dir`, sorted; none when `dir` does not exist.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.expect("folder can be listed").path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The name of a file, without its folder.
pub fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The vectors of a list file: its lines, untrimmed, but for blank ones and comments.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("file can be read");
    let is_vector = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    text.split('\n').filter(is_vector).map(str::to_owned).collect()
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    let text = fs::read(path).expect("file can be read");
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON file that is an array of cases.
pub fn cases(path: &Path) -> Vec<Value> {
    match json(path) {
        Value::Array(cases) => cases,
        _ => panic!("{} is not an array of cases", path.display()),
    }
}

/// The text of a field of a case.
pub fn text<'a>(case: &'a Value, field: &str) -> Result<&'a str, String> {
    case[field].as_str().ok_or_else(|| format!("the vector has no text {field:?}"))
}

/// Bytes written as base64, padded or not.
pub fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    multibase::decode(format!("m{}", text.trim_end_matches('=')))
        .map(|(_, bytes)| bytes)
        .map_err(|e| e.to_string())
}

/// Bytes written as base58btc.
pub fn from_base58(text: &str) -> Result<Vec<u8>, String> {
    multibase::decode(format!("z{text}")).map(|(_, bytes)| bytes).map_err(|e| e.to_string())
}

/// Bytes written as lower-case hex.
pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    multibase::decode(format!("f{}", text.to_ascii_lowercase()))
        .map(|(_, bytes)| bytes)
        .map_err(|e| e.to_string())
}

/// The signing key that a DID document names, read as the server reads it (DI-7, DI-8).
pub fn signing_key(document: &serde_json::Value) -> Result<atproto::crypto::PublicKey, String> {
    let document =
        atproto::identity::DidDocument::from_json(document.clone()).map_err(|error| error.to_string())?;
    document
        .signing_key()
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "no key named #atproto".to_owned())
}
