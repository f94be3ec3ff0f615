//! `rookery repo`: check, list, export and import repositories.
//!
//! A repository is named by a CAR file or by the DID of an account on this machine. An account's repository is first
//! exported to a temporary file, so that both take the same path.

mod car_file;
mod transfer;
mod verify;

use std::{
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use atproto::{
    crypto::PublicKey,
    mst::{self, Walk},
    repo::Commit,
    syntax::Did,
};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    car_file::{CarFile, OpenError},
    verify::Report,
};
use super::local::{Local, LocalArgs};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(100);
/// Exit status of `verify` when problems were found.
const EXIT_PROBLEMS: u8 = 1;
/// Exit status of `verify` when there is nothing that could be checked.
const EXIT_UNREADABLE: u8 = 2;

/// What can be done with repositories.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Check that a repository is whole: every hash, the tree, the order of its keys, the signature
    ///
    /// Exit status: 0 the repository is whole, 1 problems were found, 2 the input cannot be read.
    Verify(VerifyArgs),
    /// List the records of a repository: one line "path TAB cid" each, in key order
    Ls(LsArgs),
    /// Write the repository of an account to a CAR file
    Export(transfer::ExportArgs),
    /// Replace the repository of an account by a CAR file
    ///
    /// The file has to hold that account's repository, signed and whole. The server must not be running.
    Import(transfer::ImportArgs),
}

/// Arguments of `repo verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A CAR file, or the DID of an account on this machine
    #[arg(value_name = "FILE.car|DID")]
    subject: String,
    /// Print one JSON object for programs
    #[arg(long)]
    json: bool,
    /// The key that the commit has to be signed by; an account's own key is known
    #[arg(long, value_name = "DID:KEY", value_parser = parse_key)]
    key: Option<PublicKey>,
    #[command(flatten)]
    local: LocalArgs,
}

/// Arguments of `repo ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// A CAR file, or the DID of an account on this machine
    #[arg(value_name = "FILE.car|DID")]
    subject: String,
    #[command(flatten)]
    local: LocalArgs,
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_did_key(text).map_err(|error| error.to_string())
}

/// Runs a command of `rookery repo`.
pub async fn run(command: RepoCommand) -> anyhow::Result<ExitCode> {
    match command {
        RepoCommand::Verify(args) => verify_command(args).await,
        RepoCommand::Ls(args) => ls_command(args).await,
        RepoCommand::Export(args) => transfer::export(args).await.map(|()| ExitCode::SUCCESS),
        RepoCommand::Import(args) => transfer::import(args).await.map(|()| ExitCode::SUCCESS),
    }
}

/// A repository as a file, and the key it should be signed by when this machine knows it.
struct Subject {
    path: PathBuf,
    key: Option<PublicKey>,
    /// Removes the export of a local account when it is dropped.
    _export: Option<tempfile::NamedTempFile>,
}

impl Subject {
    async fn open(subject: &str, local: &LocalArgs) -> anyhow::Result<Subject> {
        if !subject.starts_with("did:") || Path::new(subject).exists() {
            return Ok(Subject { path: PathBuf::from(subject), key: None, _export: None });
        }
        let did = Did::parse(subject)?;
        let local = Local::open(local).await?;
        let account = local.account(&did).await?;
        let key = local.app.keys.signing_key(&account.did).await?.public_key();
        let file = tempfile::NamedTempFile::new_in(local.app.store.data_dir().join("tmp"))?;
        transfer::write_repo(&local, &account, file.as_file().try_clone()?).await?;
        Ok(Subject { path: file.path().to_owned(), key: Some(key), _export: Some(file) })
    }
}

async fn verify_command(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let report = match Subject::open(&args.subject, &args.local).await {
        Err(error) => Err(format!("{}: {error:#}", args.subject)),
        Ok(subject) => {
            let key = args.key.or_else(|| subject.key.clone());
            verify_file(&subject.path, key.as_ref()).map_err(|error| format!("{} {error}", args.subject))
        }
    };
    let (report, status) = match report {
        Ok(report) if report.ok => (report, ExitCode::SUCCESS),
        Ok(report) => (report, ExitCode::from(EXIT_PROBLEMS)),
        Err(message) => (Report::unreadable(message), ExitCode::from(EXIT_UNREADABLE)),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_report(&args.subject, &report)?;
    }
    Ok(status)
}

fn verify_file(path: &Path, key: Option<&PublicKey>) -> Result<Report, OpenError> {
    let car = open_with_progress(path)?;
    let spinner = ProgressBar::new_spinner().with_message("records checked");
    spinner.set_style(style("{spinner} {human_pos} {msg} ({elapsed})"));
    spinner.enable_steady_tick(TICK);
    let report = verify::verify(&car, key, |records| spinner.set_position(records));
    spinner.finish_and_clear();
    Ok(report?)
}

/// Opens a CAR file; shows a bar when standard error is a terminal.
fn open_with_progress(path: &Path) -> Result<CarFile, OpenError> {
    let bar = ProgressBar::new(0).with_message("reading");
    bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes} ({eta})"));
    let car = CarFile::open(path, |read, bytes| {
        bar.set_length(bytes);
        bar.set_position(read);
    });
    bar.finish_and_clear();
    car
}

/// A style of our own, or the default one should the template be refused.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn print_report(subject: &str, report: &Report) -> io::Result<()> {
    let unknown = || "unknown".to_owned();
    let mut out = io::stdout().lock();
    writeln!(out, "repository  {}", report.did.clone().unwrap_or_else(|| subject.to_owned()))?;
    writeln!(out, "version     {}", report.version.map_or_else(unknown, |version| version.to_string()))?;
    writeln!(out, "rev         {}", report.rev.clone().unwrap_or_else(unknown))?;
    writeln!(out, "data        {}", report.data.clone().unwrap_or_else(unknown))?;
    writeln!(out, "records     {}", report.records.map_or_else(unknown, |records| records.to_string()))?;
    if report.ok {
        return writeln!(out, "The repository is whole.");
    }
    writeln!(out, "Problems:")?;
    for problem in &report.problems {
        writeln!(out, "  {}: {}", problem.code, problem.message)?;
    }
    Ok(())
}

async fn ls_command(args: LsArgs) -> anyhow::Result<ExitCode> {
    let subject = Subject::open(&args.subject, &args.local).await.context(args.subject.clone())?;
    let car = open_with_progress(&subject.path).with_context(|| args.subject.clone())?;
    match list(&car) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader of the list has seen enough (`rookery repo ls … | head`).
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.context(format!("{}; `rookery repo verify` says more", args.subject))),
    }
}

fn list(car: &CarFile) -> anyhow::Result<()> {
    let root = car.roots().first().context("the header names no commit")?;
    let block = car.block(root)?.with_context(|| format!("the commit {root} is not in the file"))?;
    let mut walk = Walk::new(tree_root(&block)?);
    let mut source = car;
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        match walk.next(&mut source) {
            Ok(Some((key, cid))) => writeln!(out, "{}\t{cid}", String::from_utf8_lossy(&key))?,
            Ok(None) => break,
            Err(error) => {
                // What was found stands; the error says that there is more.
                out.flush()?;
                return Err(anyhow::Error::new(error));
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// The root of the tree that a commit of any version points at.
fn tree_root(block: &[u8]) -> anyhow::Result<atproto::data::Cid> {
    match Commit::decode(block) {
        Ok(commit) => Ok(commit.data),
        Err(error) => {
            let value = atproto::data::cbor::decode(block)?;
            value.get("data").and_then(|data| data.as_link()).copied().ok_or(error.into())
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = match error.downcast_ref::<mst::Error<io::Error>>() {
        Some(mst::Error::Source(error)) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
