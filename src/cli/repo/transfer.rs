//! Whole repositories in and out of the accounts on this machine.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use futures::TryStreamExt as _;
use indicatif::ProgressBar;

use super::style;
use crate::{
    cli::local::{Local, LocalArgs},
    service::repo::import::{ImportOptions, Progress},
    store::account::Account,
};

/// Arguments of `repo export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The DID of an account on this machine
    did: Did,
    /// The file to write; an existing one is replaced when the export is complete. Default: the DID and ".car"
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    local: LocalArgs,
}

/// Arguments of `repo import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The DID of an account on this machine
    did: Did,
    /// The CAR file of its repository
    file: PathBuf,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs `rookery repo export`.
pub async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let local = Local::open(&args.local).await?;
    let account = local.account(&args.did).await?;
    let path =
        args.output.unwrap_or_else(|| PathBuf::from(format!("{}.car", args.did.as_str().replace(':', "-"))));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
    let bytes = write_repo(&local, &account, file.as_file().try_clone()?).await?;
    file.as_file().sync_all()?;
    file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: {bytes} bytes", path.display());
    local.close().await;
    Ok(())
}

/// Writes the repository of `account` to `file` and returns its size in bytes. Shows progress on a terminal.
pub async fn write_repo(local: &Local, account: &Account, file: File) -> anyhow::Result<u64> {
    let repo_id =
        account.repo_id.with_context(|| format!("account {} has no repository yet", account.did))?;
    let bar = ProgressBar::new_spinner().with_message("exported");
    bar.set_style(style("{spinner} {bytes} {msg} ({bytes_per_sec})"));
    let mut stream = local.app.repos.export(repo_id, None, None).await?;
    let mut file = BufWriter::new(file);
    let mut bytes = 0;
    while let Some(chunk) = stream.try_next().await? {
        file.write_all(&chunk)?;
        bytes += chunk.len() as u64;
        bar.set_position(bytes);
    }
    file.flush()?;
    bar.finish_and_clear();
    Ok(bytes)
}

/// Runs `rookery repo import`.
pub async fn import(args: ImportArgs) -> anyhow::Result<()> {
    let local = Local::open_alone(&args.local).await?;
    let account = local.account(&args.did).await?;
    let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let total_bytes = file.metadata()?.len();
    let bar = ProgressBar::new(total_bytes).with_message("reading");
    bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes}"));
    let shown = bar.clone();
    let options = ImportOptions {
        bytes_max: local.app.settings.import_limit_bytes,
        known_key: None,
        progress: Box::new(move |progress: Progress| {
            shown.set_position(progress.bytes);
            if progress.records > 0 {
                shown.set_message(format!("{} records staged", progress.records));
            }
        }),
    };
    let imported = local.app.repos.import(&account, io::BufReader::new(file), options).await;
    bar.finish_and_clear();
    let imported = imported.with_context(|| format!("{} was not imported", args.file.display()))?;
    println!(
        "{}: {} records, root {}, rev {}",
        account.did, imported.n_records, imported.data, imported.commit.rev
    );
    local.close().await;
    Ok(())
}
