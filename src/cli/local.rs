//! The server of this machine, opened by a command: the same data directory, the same services, without HTTP.
//!
//! A command may run beside the server as long as it announces nothing: SQLite lets both write in turn, but a server
//! learns of events only from its own writer. What would announce something opens the directory alone.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use atproto::syntax::Did;
use clap::Args;

use crate::{
    app::{App, AppConfig, Settings},
    cli::dev,
    config::{Config, ServiceAt, load_or_create_master_key, read_word_list},
    service::{
        rate_limit::BypassKey,
        settings::{InviteSchedule, MailSettings, RateLimitSettings, Service},
        word_filter::WordFilter,
    },
    store::{
        StoreOptions,
        account::{self, Account},
    },
    time::{Clock, Entropy},
};

/// The file in the data directory that a running server holds a lock on.
const LOCK_FILE: &str = "server.lock";
/// How often the lock is tried before a server is taken to be running.
const LOCK_TRIES_MAX: u32 = 20;
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Which server on this machine.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// The configuration of the server
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    /// The data directory of a sandbox (`rookery dev --data-dir DIR`)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl LocalArgs {
    /// The configuration alone; nothing is opened.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(self.read()?.0)
    }

    fn read(&self) -> anyhow::Result<(Config, Mode)> {
        match (&self.config, &self.data_dir) {
            (Some(file), _) => Ok((Config::load(Some(file))?, Mode::Production)),
            (None, Some(dir)) => Ok((dev::config_of_directory(dir)?, Mode::Sandbox)),
            (None, None) => bail!(
                "which server? Add --config FILE (the file that `rookery serve` reads) or --data-dir DIR (of `rookery dev`)"
            ),
        }
    }
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `rookery serve`.
    Production,
    /// `rookery dev`.
    Sandbox,
}

/// The services over a server's data directory.
pub struct Local {
    /// All services.
    pub app: App,
    _lock: Option<DataDirLock>,
}

impl Local {
    /// Opens the server's data; a server may be running.
    pub async fn open(args: &LocalArgs) -> anyhow::Result<Local> {
        let (config, mode) = args.read()?;
        require_database(&config.server.data_dir)?;
        Ok(Local { app: build_app(&config, mode).await?, _lock: None })
    }

    /// Opens the server's data for a command that stages rows, which a starting server would sweep away; refuses while one is running.
    pub async fn open_alone(args: &LocalArgs) -> anyhow::Result<Local> {
        let (config, mode) = args.read()?;
        require_database(&config.server.data_dir)?;
        let lock = DataDirLock::acquire(&config.server.data_dir).await?;
        Ok(Local { app: build_app(&config, mode).await?, _lock: Some(lock) })
    }

    /// The account with this DID.
    pub async fn account(&self, did: &Did) -> anyhow::Result<Account> {
        let wanted = did.clone();
        let found = self.app.store.read(move |db| account::get_by_did(db, &wanted)).await;
        found?
            .with_context(|| format!("no account here has the DID {did}; `rookery account list` shows them"))
    }

    /// Lets changes reach the disk and closes the database.
    pub async fn close(self) {
        self.app.store.close().await;
    }
}

/// Without this check a typing mistake in a path would make a new, empty server there.
fn require_database(data_dir: &Path) -> anyhow::Result<()> {
    let database = data_dir.join("rookery.sqlite");
    if !database.exists() {
        bail!("{} does not exist: start the server once, or name its data directory", database.display());
    }
    Ok(())
}

/// Builds all services from the configuration. Makes the data directory and the master key on the first start.
pub async fn build_app(config: &Config, mode: Mode) -> anyhow::Result<App> {
    let data_dir = &config.server.data_dir;
    let entropy = Entropy::system();
    let master_key = load_or_create_master_key(&config.secrets.master_key_file, data_dir, entropy.bytes())?;
    let app = App::build(AppConfig {
        settings: settings(config, mode, word_filter(config)?),
        store: StoreOptions {
            sequence_mark: config.firehose.mark_file.clone(),
            reserve_bytes: config.storage.reserve_bytes,
            ..StoreOptions::at(data_dir)
        },
        master_key,
        admin_password: config.server.admin_password.clone().unwrap_or_default(),
        clock: Clock::system(),
        entropy,
    });
    app.await.with_context(|| format!("cannot open the data in {}", data_dir.display()))
}

fn word_filter(config: &Config) -> anyhow::Result<WordFilter> {
    let text = read_word_list(config.identity.slur_list.as_deref())?;
    WordFilter::parse(&text).context("the file of identity.slur_list is not a list of words")
}

fn settings(config: &Config, mode: Mode, words: WordFilter) -> Settings {
    Settings {
        hostname: config.server.hostname.clone(),
        public_url: config.server.public_url.clone(),
        service_did: config.server.service_did.clone(),
        handle_domains: config.identity.handle_domains.clone(),
        plc_url: config.identity.plc_url.clone(),
        recovery_did_key: config.identity.recovery_did_key.clone(),
        nameservers: config.identity.nameservers.clone(),
        backup_nameservers: config.identity.backup_nameservers.clone(),
        words,
        invite_required: config.accounts.invite_required,
        invite_schedule: config.accounts.invite_interval_hours.map(|hours| InviteSchedule {
            interval: Duration::from_secs(hours * 60 * 60),
            epoch: config.accounts.invite_epoch.to_micros(),
        }),
        blob_upload_limit_bytes: config.blobs.upload_limit_bytes,
        import_limit_bytes: config.repo.import_limit_bytes,
        privacy_policy_url: config.service.privacy_policy_url.clone(),
        terms_of_service_url: config.service.terms_of_service_url.clone(),
        contact_email: config.service.contact_email.clone(),
        appview: config.services.appview.clone().map(service),
        appview_cdn_url_pattern: config.services.appview_cdn_url_pattern.clone(),
        mod_service: config.services.moderation.clone().map(service),
        report_service: config.services.report.clone().map(service),
        mail: config.mail.clone().map(|mail| MailSettings {
            smtp: mail.smtp,
            from: mail.from,
            moderation_from: mail.moderation_from,
        }),
        delete_grace: match mode {
            Mode::Production => DELETE_GRACE,
            Mode::Sandbox => Duration::ZERO,
        },
        relays: config.services.relays.clone(),
        firehose_window: std::time::Duration::from_secs(config.firehose.retention_hours * 60 * 60),
        connections_max: config.server.connections_max,
        connection_idle_max: config.server.idle,
        client_patience: config.server.slow_client,
        rate_limits: RateLimitSettings {
            enabled: config.rate_limits.enabled,
            bypass_key: config.rate_limits.bypass_key.as_ref().map(|key| BypassKey::new(key)),
            bypass_ips: config.rate_limits.bypass_ips.clone(),
        },
        trusted_proxies: config.server.trusted_proxies.clone(),
        dev: mode == Mode::Sandbox,
    }
}

fn service(at: ServiceAt) -> Service {
    Service { url: at.url, did: at.did }
}

/// How long a deactivated account stays at least, whatever date of deletion its owner sets.
const DELETE_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Says that a server works in this directory; given back by the system however the process ends.
pub struct DataDirLock(#[allow(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl DataDirLock {
    /// Takes the lock, or says that a server has it. Makes the directory when it is missing.
    ///
    /// Waits a moment for it: a server that was killed holds its lock until the system has cleared it away.
    pub async fn acquire(data_dir: &Path) -> anyhow::Result<DataDirLock> {
        let context = || format!("cannot use the data directory {}", data_dir.display());
        std::fs::create_dir_all(data_dir).with_context(context)?;
        let path = data_dir.join(LOCK_FILE);
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(context)?;
        for _ in 0..LOCK_TRIES_MAX {
            match file.try_lock() {
                Ok(()) => return Ok(DataDirLock(file)),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => {
                    return Err(anyhow::Error::new(error).context(context()));
                }
            }
        }
        bail!("a Rookery server is running on {}; stop it first", data_dir.display())
    }
}
