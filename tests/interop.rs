//! Conformance vectors of the protocol's authors and of other implementers, run against the
//! engine.
//!
//! The vectors are not part of this repository. `ROOKERY_VECTORS` names their folder; without it
//! `../shared/testdata`, seen from the root of the workspace, is tried. Every kind says on
//! standard error how many vectors it ran: `interop syntax: 313 vectors`, or that it ran none:
//! `interop oauth: skipped, no files`. Files are found by their names, so that another folder of
//! the same layout runs unchanged.
//!
//! Not for: facts that a bare clone must be able to check; those are in the unit tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// One file per kind. Each has `pub fn run(dir: &Path) -> Outcome`, where `dir` is the kind's
/// folder; what it needs beside that is in `report`.
mod interop {
    pub mod car;
    pub mod crypto;
    pub mod data_model;
    pub mod firehose;
    pub mod identity;
    pub mod lexicon;
    pub mod lexicons;
    pub mod mst;
    pub mod plc;
    pub mod report;
    pub mod syntax;
}

use interop::report::{Outcome, files, later, say};
use std::path::{Path, PathBuf};

/// Makes one test per kind, and the list of all kinds.
macro_rules! kinds {
    ($($test:ident: $kind:literal => $runner:path,)*) => {
        const KINDS: &[&str] = &[$($kind),*];

        $(
            #[test]
            fn $test() {
                run($kind, $runner);
            }
        )*
    };
}

kinds! {
    car: "car" => interop::car::run,

    crypto: "crypto" => interop::crypto::run,

    data_model: "data-model" => interop::data_model::run,

    firehose: "firehose" => interop::firehose::run,

    http: "http" => later,

    identity: "identity" => interop::identity::run,

    lexicon: "lexicon" => interop::lexicon::run,

    lexicons: "lexicons" => interop::lexicons::run,

    mst: "mst" => interop::mst::run,

    oauth: "oauth" => later,

    plc: "plc" => interop::plc::run,

    scopes: "scopes" => later,

    syntax: "syntax" => interop::syntax::run,
}

/// Runs one kind, prints its counts and fails when a vector did.
fn run(kind: &str, runner: fn(&Path) -> Outcome) {
    let dir = vectors().map(|dir| dir.join(kind));
    let Some(dir) = dir.filter(|dir| !files(dir).is_empty()) else {
        say(&format!("interop {kind}: skipped, no files"));
        return;
    };
    let outcome = runner(&dir);
    say(&format!("interop {kind}: {}", outcome.summary()));
    assert!(outcome.failures.is_empty(), "{}", outcome.failures.join("\n"));
}

/// The folder of all vectors, when there is one.
///
/// A folder that was asked for and does not exist is a mistake, not a reason to skip.
fn vectors() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("ROOKERY_VECTORS") {
        let dir = PathBuf::from(dir);
        assert!(dir.is_dir(), "ROOKERY_VECTORS names {}, which is no folder", dir.display());
        return Some(dir);
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata");
    dir.is_dir().then_some(dir)
}

/// Nothing is passed over in silence: a folder of a kind that is not in the list is named.
#[test]
fn a_kind_that_is_not_known_is_said_to_be_skipped() {
    let entries = vectors().and_then(|dir| std::fs::read_dir(dir).ok());
    for entry in entries.into_iter().flatten() {
        let entry = entry.expect("folder can be listed");
        let kind = entry.file_name().to_string_lossy().into_owned();
        let known = KINDS.contains(&kind.as_str());
        if entry.path().is_dir() && !known {
            say(&format!("interop {kind}: skipped, unknown kind"));
        }
    }
}

/// The frame itself: what does not run is never counted as run, and a failure is.
#[test]
fn the_summary_tells_what_ran_from_what_did_not() {
    let mut outcome = Outcome::default();
    assert_eq!(outcome.summary(), "skipped, no vectors");
    outcome.skip("why");
    assert_eq!(outcome.summary(), "skipped, 1 why");
    outcome.check(Path::new("a.txt"), "first", Ok(()));
    outcome.check(Path::new("a.txt"), "second", Err("accepted".to_owned()));
    assert_eq!(outcome.summary(), "2 vectors, 1 failed, 1 skipped (why)");
    assert_eq!(outcome.failures, ["a.txt: second: accepted"]);
}
