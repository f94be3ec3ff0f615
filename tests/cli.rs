//! The command line as people and scripts use it: the real program, its output and its exit status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{Cid, Map, Value, cbor, cid},
    mst::Builder,
    repo::{Commit, car},
    syntax::{Did, Tid},
};

const DID: &str = "did:web:alice.example.com";

fn rookery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    rookery().args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that has to succeed.
fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Standard error of a command that has to fail.
fn fail(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?} succeeded: {}", text(&output.stdout));
    text(&output.stderr)
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap()
}

/// A signed repository of `n_records` notes.
struct Repo {
    commit: (Cid, Vec<u8>),
    data: Cid,
    blocks: BTreeMap<Cid, Vec<u8>>,
    listing: String,
}

impl Repo {
    fn of(n_records: usize) -> Repo {
        let mut blocks = BTreeMap::new();
        let mut listing = String::new();
        let mut nodes = Vec::new();
        let mut builder = Builder::new();
        for n in 0..n_records {
            let fields = vec![
                ("$type".to_owned(), Value::String("com.example.note".to_owned())),
                ("n".to_owned(), Value::Integer(n as i64)),
            ];
            let record = cbor::encode(&Value::Map(Map::from_entries(fields).unwrap()));
            let cid = cid::for_cbor(&record);
            let path = format!("com.example.note/{n:05}");
            builder.push(path.as_bytes(), cid, &mut |node| nodes.push(node)).unwrap();
            listing += &format!("{path}\t{cid}\n");
            blocks.insert(cid, record);
        }
        let data = builder.finish(&mut |node| nodes.push(node));
        blocks.extend(nodes.into_iter().map(|node| (node.cid, node.block)));
        let rev = Tid::from_parts(1_767_323_045_678_000, 1);
        let commit = Commit::sign(Did::parse(DID).unwrap(), data, rev, &signing_key()).encode();
        let commit = (cid::for_cbor(&commit), commit);
        Repo { commit, data, blocks, listing }
    }

    fn car(&self) -> Vec<u8> {
        let blocks = self.blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
        car::encode(
            &[self.commit.0],
            std::iter::once((&self.commit.0, self.commit.1.as_slice())).chain(blocks),
        )
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Exit status and the one object of `repo verify --json`.
fn verify_json(args: &[&str]) -> (i32, serde_json::Value) {
    let output = rookery().args(["repo", "verify", "--json"]).args(args).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fields: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["ok", "did", "rev", "version", "data", "records", "problems"];
    expected.sort_unstable();
    let mut found = fields.clone();
    found.sort_unstable();
    assert_eq!(found, expected);
    (output.status.code().unwrap(), report)
}

fn codes(report: &serde_json::Value) -> Vec<String> {
    let problems = report["problems"].as_array().unwrap();
    problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let help = succeed(&["--help"]);
    for word in ["dev", "serve", "account", "invite", "repo", "Examples:", "rookery dev"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn mistyped_commands_and_flags_are_answered_with_what_was_meant() {
    assert!(fail(&["serv"]).contains("serve"));
    assert!(fail(&["dev", "--lissen", "x"]).contains("--listen"));
    assert!(fail(&["account", "list"]).contains("--config FILE"));
}

#[test]
fn a_service_of_a_sandbox_needs_its_url_and_its_did() {
    assert!(fail(&["dev", "--appview-url", "http://127.0.0.1:1"]).contains("--appview-did"));
    assert!(fail(&["dev", "--mod-did", "did:web:mod.example.com"]).contains("--mod-url"));
    let message = fail(&["dev", "--appview-url", "http://127.0.0.1:1", "--appview-did", "example.com"]);
    assert!(message.contains("--appview-did") && message.contains("DID"), "{message}");
}

#[test]
fn a_missing_configuration_is_named() {
    assert!(fail(&["serve", "--config", "/nowhere/config.toml"]).contains("/nowhere/config.toml"));
    assert!(fail(&["serve"]).contains("ROOKERY_SERVER_HOSTNAME"));
}

#[test]
fn a_whole_repository_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::of(100);
    let file = write(dir.path(), "whole.car", &repo.car());

    let (status, report) = verify_json(&[&file, "--key", &signing_key().public_key().did_key()]);

    assert_eq!(status, 0);
    assert_eq!(report["ok"], true);
    assert_eq!(report["did"], DID);
    assert_eq!(report["version"], 3);
    assert_eq!(report["records"], 100);
    assert_eq!(report["data"], repo.data.to_string());
    assert_eq!(codes(&report), [""; 0]);
    assert!(succeed(&["repo", "verify", &file]).contains("The repository is whole."));
}

#[test]
fn a_repository_lists_in_key_order() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::of(300);
    let file = write(dir.path(), "whole.car", &repo.car());
    assert_eq!(succeed(&["repo", "ls", &file]), repo.listing);
}

#[test]
fn an_empty_repository_is_whole_and_lists_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "empty.car", &Repo::of(0).car());
    let (status, report) = verify_json(&[&file]);
    assert_eq!((status, &report["records"]), (0, &serde_json::json!(0)));
    assert_eq!(succeed(&["repo", "ls", &file]), "");
}

#[test]
fn a_signature_by_another_key_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "whole.car", &Repo::of(3).car());
    let other = SigningKey::from_bytes(Curve::P256, &[9; 32]).unwrap().public_key().did_key();
    let (status, report) = verify_json(&[&file, "--key", &other]);
    assert_eq!((status, codes(&report)), (1, vec!["bad-signature".to_owned()]));
}

#[test]
fn every_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let car = Repo::of(12).car();
    for at in (0..car.len()).step_by(37) {
        let mut damaged = car.clone();
        damaged[at] ^= 1;
        let file = write(dir.path(), "damaged.car", &damaged);
        let (status, report) = verify_json(&[&file]);
        assert!(status == 1 || status == 2, "byte {at}: status {status}");
        assert_eq!(report["ok"], false, "byte {at}");
        assert!(!codes(&report).is_empty(), "byte {at}");
    }
}

#[test]
fn a_truncated_repository_is_told_from_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let car = Repo::of(12).car();
    for length in (0..car.len()).step_by(101) {
        let file = write(dir.path(), "short.car", &car[..length]);
        let (status, report) = verify_json(&[&file]);
        assert!(status == 1 || status == 2, "{length} bytes: status {status}");
        assert_eq!(report["ok"], false, "{length} bytes");
    }
}

#[test]
fn a_missing_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut repo = Repo::of(5);
    let third = repo.listing.lines().nth(2).unwrap().to_owned();
    let (path, cid) = third.split_once('\t').unwrap();
    repo.blocks.remove(&cid.parse::<Cid>().unwrap()).unwrap();
    let file = write(dir.path(), "missing.car", &repo.car());

    let (status, report) = verify_json(&[&file]);

    assert_eq!((status, codes(&report)), (1, vec!["missing-record".to_owned()]));
    assert!(report["problems"][0]["message"].as_str().unwrap().contains(path));
}

#[test]
fn a_commit_of_version_2_is_checked_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::of(4);
    let fields = vec![
        ("did".to_owned(), Value::String(DID.to_owned())),
        ("version".to_owned(), Value::Integer(2)),
        ("data".to_owned(), Value::Link(repo.data)),
        ("prev".to_owned(), Value::Null),
        ("sig".to_owned(), Value::Bytes(vec![1; 64])),
    ];
    let commit = cbor::encode(&Value::Map(Map::from_entries(fields).unwrap()));
    let old = Repo { commit: (cid::for_cbor(&commit), commit), ..repo };
    let file = write(dir.path(), "old.car", &old.car());

    let (status, report) = verify_json(&[&file]);

    assert_eq!((status, codes(&report)), (1, vec!["old-version".to_owned()]));
    assert_eq!((&report["version"], &report["records"]), (&serde_json::json!(2), &serde_json::json!(4)));
    assert_eq!(report["rev"], serde_json::Value::Null);
}

#[test]
fn what_is_not_a_repository_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().to_str().unwrap().to_owned();
    let poem = write(dir.path(), "poem.txt", b"Not a CAR file, whatever its name says.");
    let nothing = write(dir.path(), "nothing.car", b"");
    for subject in ["/nowhere/repo.car", &directory, &poem, &nothing] {
        let (status, report) = verify_json(&[subject]);
        assert_eq!((status, report["ok"].as_bool()), (2, Some(false)), "{subject}");
        assert_eq!(codes(&report), ["unreadable"], "{subject}");
    }
}

/// A running `rookery dev`.
struct Sandbox {
    child: Child,
    /// What was printed up to and with the line that says it is ready.
    welcome: String,
    url: String,
    stdout: BufReader<ChildStdout>,
}

impl Sandbox {
    fn start(args: &[&str]) -> Sandbox {
        let mut child = rookery()
            .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // From here on a panic ends the child too.
        let mut sandbox = Sandbox { child, welcome: String::new(), url: String::new(), stdout };
        while sandbox.url.is_empty() {
            let mut line = String::new();
            let read = sandbox.stdout.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it ended before it was ready:\n{}", sandbox.welcome);
            if line.contains("ready") {
                let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
                sandbox.url = url.to_owned();
            }
            sandbox.welcome += &line;
        }
        sandbox
    }

    /// The commands that it suggests.
    fn suggestions(&self) -> String {
        let commands =
            self.welcome.lines().filter(|line| line.starts_with("curl") || line.starts_with("TOKEN="));
        commands.collect::<Vec<_>>().join("\necho\n")
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // For tests that fail half way; a stopped one is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sandbox_dir() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("sandbox");
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn what_the_sandbox_suggests_works_when_it_is_pasted() {
    let sandbox = Sandbox::start(&[]);
    let output = Command::new("sh").args(["-c", &sandbox.suggestions()]).output().unwrap();
    let answers = text(&output.stdout);
    let answers: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();

    assert_eq!(answers.len(), 3, "three things to try: {answers:?}");
    assert!(answers[0].contains("\"accessJwt\""), "{}", answers[0]);
    assert!(answers[1].contains("\"uri\""), "{}", answers[1]);
    assert!(answers[2].contains("Hello from my own server"), "{}", answers[2]);
    sandbox.stop();
}

#[test]
fn a_temporary_sandbox_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = rookery()
        .args(["dev", "--listen", "127.0.0.1:0", "--log", "warn"])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("ready") {}
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());

    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_sandbox_starts_again_on_its_directory_after_a_kill() {
    let (_guard, dir) = sandbox_dir();
    let sandbox = Sandbox::start(&["--data-dir", &dir]);
    let did =
        succeed(&["account", "create", "--did", DID, "--handle", "alice.example.com", "--data-dir", &dir]);
    sandbox.kill();

    let sandbox = Sandbox::start(&["--data-dir", &dir]);
    assert_eq!(succeed(&["account", "list", "--data-dir", &dir]), did);
    assert!(succeed(&["health", &sandbox.url]).contains("version"));
    sandbox.stop();
}

#[test]
fn a_sandbox_takes_any_setting_by_name() {
    let limit = "blobs.upload_limit_bytes=4096";
    let sandbox = Sandbox::start(&["--set", limit, "--set", "service.contact_email=play@example.com"]);
    let about = format!("{}/xrpc/com.atproto.server.describeServer", sandbox.url);
    let about = text(&Command::new("curl").args(["-sf", &about]).output().unwrap().stdout);
    assert!(about.contains("play@example.com"), "{about}");
    sandbox.stop();

    assert!(fail(&["dev", "--set", "blobs.uplod_limit_bytes=4096"]).contains("blobs.upload_limit_bytes"));
    assert!(fail(&["dev", "--set", "service.name"]).contains("SECTION.NAME=VALUE"));
}

#[test]
fn two_servers_cannot_share_a_directory() {
    let (_guard, dir) = sandbox_dir();
    let sandbox = Sandbox::start(&["--data-dir", &dir]);
    let refusal = fail(&["dev", "--listen", "127.0.0.1:0", "--data-dir", &dir]);
    assert!(refusal.contains("is running") && refusal.contains(&dir), "{refusal}");
    sandbox.stop();
}

#[test]
fn a_repository_moves_in_and_out_of_an_account() {
    let (guard, dir) = sandbox_dir();
    let repo = Repo::of(200);
    let file = write(guard.path(), "repo.car", &repo.car());
    let sandbox = Sandbox::start(&["--data-dir", &dir]);
    let made = succeed(&["account", "create", "--did", DID, "--json", "--data-dir", &dir]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!((made["did"].as_str(), made["status"].as_str()), (Some(DID), Some("deactivated")));

    let refusal = fail(&["repo", "import", DID, &file, "--data-dir", &dir]);
    assert!(refusal.contains("is running"), "{refusal}");
    sandbox.stop();

    let imported = succeed(&["repo", "import", DID, &file, "--data-dir", &dir]);
    assert!(imported.contains("200 records") && imported.contains(&repo.data.to_string()), "{imported}");
    assert_eq!(succeed(&["repo", "ls", DID, "--data-dir", &dir]), repo.listing);
    let (status, report) = verify_json(&[DID, "--data-dir", &dir]);
    assert_eq!((status, &report["data"]), (0, &serde_json::json!(repo.data.to_string())));

    let out = guard.path().join("out.car");
    succeed(&["repo", "export", DID, "-o", out.to_str().unwrap(), "--data-dir", &dir]);
    assert_eq!(succeed(&["repo", "ls", out.to_str().unwrap()]), repo.listing);
}

#[test]
fn commands_on_a_directory_without_a_server_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for args in [
        vec!["account", "list", "--data-dir", path],
        vec!["invite", "create", "--data-dir", path],
        vec!["repo", "export", DID, "--data-dir", path],
    ] {
        let refusal = fail(&args);
        assert!(refusal.contains("rookery.sqlite does not exist"), "{args:?}: {refusal}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn an_invite_code_is_printed_alone() {
    let (_guard, dir) = sandbox_dir();
    Sandbox::start(&["--data-dir", &dir]).stop();
    let code = succeed(&["invite", "create", "--uses", "2", "--data-dir", &dir]);
    assert_eq!(code.lines().count(), 1);
    assert!(code.starts_with("localhost-"), "{code}");
}
