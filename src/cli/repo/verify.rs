//! Is a repository whole? Every hash, the commit and its signature, the order of the keys, the tree rebuilt from them, and
//! every record that the tree names.
//!
//! Damage is what this is for, so nothing found is an error of the check itself: it becomes a [`Problem`], and as much of the
//! rest is checked as can be.

use atproto::{
    crypto::{PublicKey, check_signature_form},
    data::{Cid, Value, cbor},
    mst::{self, Builder, Walk},
    repo::{Commit, CommitError, car},
    syntax::RepoPath,
};

use super::car_file::CarFile;

/// Problems are listed up to here, then only counted.
const PROBLEMS_MAX: usize = 100;
/// The version of commits that is written today (RP-5).
const COMMIT_VERSION: i64 = 3;

/// What was found. Serialises to the one object that `repo verify --json` prints; its fields are a contract.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// No problem was found.
    pub ok: bool,
    /// Whose repository it is.
    pub did: Option<String>,
    /// Revision of the commit.
    pub rev: Option<String>,
    /// Version of the commit format.
    pub version: Option<i64>,
    /// CID of the root of the tree.
    pub data: Option<String>,
    /// Records in the tree; null when the tree cannot be walked to its end.
    pub records: Option<u64>,
    /// What is wrong, at most 100 entries and one that counts the rest.
    pub problems: Vec<Problem>,
    /// Problems beyond the ones listed.
    #[serde(skip)]
    unlisted: u64,
}

/// One thing that is wrong.
#[derive(Debug, serde::Serialize)]
pub struct Problem {
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Report {
    /// A report of nothing but one problem: the input could not be read at all.
    pub fn unreadable(message: String) -> Report {
        let mut report = Report::default();
        report.add("unreadable", message);
        report.close()
    }

    /// Adds a problem.
    pub fn add(&mut self, code: &'static str, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { code, message: message.into() });
        } else {
            self.unlisted += 1;
        }
    }

    fn close(mut self) -> Report {
        self.ok = self.problems.is_empty();
        if self.unlisted > 0 {
            let message = format!("{} more problems are not listed", self.unlisted);
            self.problems.push(Problem { code: "more", message });
        }
        self
    }
}

/// Checks the repository in `car`. `key`: the account's signing key, when it is known. `progress` is told how many records
/// have been checked.
pub fn verify(
    car: &CarFile,
    key: Option<&PublicKey>,
    mut progress: impl FnMut(u64),
) -> std::io::Result<Report> {
    let mut report = Report::default();
    for error in car.damage() {
        report.add(damage_code(error), error.to_string());
    }
    let Some(root) = commit_cid(car, &mut report) else {
        return Ok(report.close());
    };
    let Some(block) = car.block(&root)? else {
        report.add("missing-commit", format!("the commit {root} is not in the file"));
        return Ok(report.close());
    };
    let Some(data) = check_commit(&block, key, &mut report) else {
        return Ok(report.close());
    };
    check_tree(car, data, &mut report, &mut progress)?;
    Ok(report.close())
}

fn damage_code(error: &car::Error) -> &'static str {
    match error {
        car::Error::Truncated => "truncated",
        car::Error::Header(_) => "bad-header",
        car::Error::Section(_) => "bad-section",
        car::Error::HashMismatch(_) => "hash-mismatch",
        car::Error::BlockTooLarge { .. } => "block-too-large",
    }
}

fn commit_cid(car: &CarFile, report: &mut Report) -> Option<Cid> {
    match car.roots() {
        [] => report.add("no-root", "the header names no commit"),
        [_] => {}
        roots => {
            report.add("many-roots", format!("the header names {} roots; a repository has one", roots.len()))
        }
    }
    car.roots().first().copied()
}

/// Reads what the commit says, however old or damaged it is, and checks it against today's format. Returns the root of the
/// tree when one can be made out.
fn check_commit(block: &[u8], key: Option<&PublicKey>, report: &mut Report) -> Option<Cid> {
    let value = match cbor::decode(block) {
        Ok(value) => value,
        Err(error) => {
            report.add("bad-commit", format!("the commit is not canonical CBOR: {error}"));
            return None;
        }
    };
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    report.did = text("did");
    report.rev = text("rev");
    report.version = value.get("version").and_then(Value::as_integer);
    let data = value.get("data").and_then(Value::as_link).copied();
    report.data = data.map(|data| data.to_string());
    match Commit::decode(block) {
        Ok(commit) => {
            if let Some(Err(error)) = key.map(|key| commit.verify(key)) {
                report.add("bad-signature", format!("the commit is not signed by the key given: {error}"));
            }
        }
        Err(CommitError::Version(version)) if version < COMMIT_VERSION => {
            let message =
                format!("the commit is version {version}; only version {COMMIT_VERSION} can be imported");
            report.add("old-version", message);
            // The form of signatures has not changed since.
            let signature = value.get("sig").and_then(Value::as_bytes).unwrap_or_default();
            if let Err(error) = check_signature_form(signature) {
                report.add("bad-signature", error.to_string());
            }
        }
        Err(CommitError::Signature(error)) => report.add("bad-signature", error.to_string()),
        Err(error) => report.add("bad-commit", error.to_string()),
    }
    data
}

fn check_tree(
    car: &CarFile,
    data: Cid,
    report: &mut Report,
    progress: &mut impl FnMut(u64),
) -> std::io::Result<()> {
    let mut source = car;
    let mut walk = Walk::new(data);
    let mut rebuilt = Some(Builder::new());
    let mut records = 0;
    loop {
        match walk.next(&mut source) {
            Ok(Some((key, cid))) => {
                records += 1;
                check_record(car, &key, &cid, report)?;
                if let Some(builder) = rebuilt.as_mut()
                    && let Err(error) = builder.push(&key, cid, &mut |_| {})
                {
                    report.add("bad-order", error.to_string());
                    rebuilt = None;
                }
                progress(records);
            }
            Ok(None) => break,
            Err(mst::Error::Source(error)) => return Err(error),
            Err(error) => {
                report.add(tree_code(&error), format!("after {records} records: {error}"));
                return Ok(());
            }
        }
    }
    report.records = Some(records);
    if let Some(root) = rebuilt.map(|builder| builder.finish(&mut |_| {}))
        && root != data
    {
        let message = format!("the tree rebuilt from its {records} keys has the root {root}, not {data}");
        report.add("wrong-root", message);
    }
    Ok(())
}

fn tree_code(error: &mst::Error<std::io::Error>) -> &'static str {
    match error {
        mst::Error::MissingNode(_) => "missing-node",
        _ => "bad-node",
    }
}

fn check_record(car: &CarFile, key: &[u8], cid: &Cid, report: &mut Report) -> std::io::Result<()> {
    let path = String::from_utf8_lossy(key);
    if RepoPath::parse(&path).is_err() {
        report.add("bad-path", format!("{path:?} is not a collection and a record key"));
    }
    match car.block(cid)? {
        None => report.add("missing-record", format!("record {path} ({cid}) is not in the file")),
        Some(block) => {
            if let Err(error) = cbor::decode(&block) {
                report.add("bad-record", format!("record {path} is not canonical CBOR: {error}"));
            }
        }
    }
    Ok(())
}
