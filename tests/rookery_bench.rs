//! The load program against the real server: every scenario runs, nothing fails, every frame is counted, and the document
//! is made of what was measured.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use serde_json::{Value as Json, json};

/// The scenarios that do something. Twenty subscribers and a thousand records, with the scale below.
const SCENARIOS: &str = "create-account,create-session,create-record-16,create-record-64,create-record-1,create-record-hot,\
    backfill,firehose-1,firehose-100,firehose-1000,apply-writes,upload-blob,get-record,list-records,get-repo,import-1k,\
    import-100k";

/// The program, beside the test's own. Built here: which tests are asked for decides whether cargo has done so. With the
/// features of the whole workspace, as `./test.sh` builds, or all of it would be built once more.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--workspace", "--example", "rookery-bench"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success());
        let own = std::env::current_exe().unwrap();
        own.parent().unwrap().parent().unwrap().join("examples/rookery-bench")
    });
    &PROGRAM
}

/// A running `rookery dev`.
struct Sandbox {
    child: Child,
    url: String,
}

impl Sandbox {
    fn start() -> Sandbox {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .env_clear()
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut sandbox = Sandbox { child, url: String::new() };
        let ready = lines.map(Result::unwrap).find(|line| line.contains("ready")).expect("it gets ready");
        sandbox.url = ready.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        sandbox
    }

    /// Runs the program against it; returns what it measured.
    fn measure(&self, arguments: &[&str], json: &Path) -> Vec<Json> {
        let output = Command::new(program())
            .args(arguments)
            .args(["--url", &self.url, "--pid", &self.child.id().to_string(), "--label", "rookery"])
            .args(["--seconds", "0.1", "--scale", "0.02", "--json", json.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let run: Json = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        run["measured"].as_array().unwrap().clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of a table that begins so.
fn row<'a>(document: &'a str, begins: &str) -> &'a str {
    document
        .lines()
        .find(|line| line.starts_with(begins))
        .unwrap_or_else(|| panic!("no {begins:?} in:\n{document}"))
}

#[test]
fn every_scenario_runs_and_a_server_is_as_fast_as_itself() {
    let sandbox = Sandbox::start();
    let dir = tempfile::tempdir().unwrap();
    let (results, svg) = (dir.path().join("results"), dir.path().join("run.svg"));
    for server in ["rookery", "reference"] {
        fs::create_dir_all(results.join(server)).unwrap();
    }
    let file = results.join("rookery/all.json");
    let run = ["run", "--only", SCENARIOS, "--svg", svg.to_str().unwrap()];
    let measured = sandbox.measure(&run, &file);
    assert_eq!(measured.len(), SCENARIOS.split(',').count());
    for scenario in &measured {
        assert!(scenario["operations"].as_u64().unwrap() > 0, "{scenario}");
        assert!(scenario["seconds"].as_f64().unwrap() > 0.0, "{scenario}");
        assert!(scenario["resident_peak_kib"].as_u64().unwrap() > 1024, "{scenario}");
        assert_eq!(scenario["failed"], 0, "{scenario}");
    }
    let thousand = measured.iter().find(|measured| measured["scenario"] == "firehose-1000").unwrap();
    let more = &thousand["more"];
    assert_eq!(
        (&more["subscribers"], &more["missing"], &more["ended"]),
        (&json!(20.0), &json!(0.0), &json!(0.0))
    );
    let frames = more["commits"].as_f64().unwrap() * 20.0;
    assert!((frames - thousand["operations"].as_f64().unwrap()).abs() < 0.5, "{thousand}");
    assert!(fs::read_to_string(&svg).unwrap().contains("create-record-hot"));

    let grown =
        sandbox.measure(&["grow", "accounts", "--to", "10"], &results.join("rookery/growth-accounts.json"));
    assert_eq!(grown.len(), 1, "{grown:?}");

    // The same numbers for both.
    fs::copy(&file, results.join("reference/all.json")).unwrap();
    fs::write(results.join("versions.json"), json!({ "command": "a test" }).to_string()).unwrap();
    let machine = results.join("machine.json");
    let looked = Command::new(program())
        .args(["machine", "--dir", dir.path().to_str().unwrap(), "--json", machine.to_str().unwrap()])
        .output();
    assert!(looked.unwrap().status.success());
    let document = dir.path().join("performance.md");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"), &document).unwrap();
    let report = Command::new(program())
        .args(["report", "--results", results.to_str().unwrap()])
        .args(["--document", document.to_str().unwrap(), "--plots", dir.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let text = fs::read_to_string(&document).unwrap();
    assert!(row(&text, "| getRepo, bytes | 20 x | 1 x (").ends_with("| **missed** |"), "{text}");
    assert!(row(&text, "| memory, idle |").ends_with("| not measured | ? |"), "{text}");
    assert!(row(&text, "| 10 accounts on the server |").contains(" ms |"), "{text}");
    assert!(fs::read_to_string(dir.path().join("performance-ratios.svg")).unwrap().contains("getRepo"));
}

#[test]
fn a_scenario_that_does_not_exist_is_an_error_that_names_those_that_do() {
    let sandbox = Sandbox::start();
    let output =
        Command::new(program()).args(["run", "--only", "getRepo", "--url", &sandbox.url]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("\"getRepo\"") && said.contains("get-repo"), "{said}");
}
