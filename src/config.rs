//! Configuration: the only reader of files and environment for settings.
//!
//! Three layers, the later over the earlier: the defaults of [`keys`], `config.toml`, and one environment variable per
//! setting (`[server] listen` is `ROOKERY_SERVER_LISTEN`). A name that no setting has is an error in either place, so that a
//! typing mistake cannot pass for a default. `config.example.toml` documents each setting for the operator.
//!
//! Not for: what the program does with a setting.

mod identity;
pub mod keys;
mod rate_limits;
mod raw;
mod secret_file;
mod services;
pub mod smtp_url;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use atproto::syntax::{Datetime, Did, Handle};
use ipnet::IpNet;
use zeroize::Zeroizing;

pub use self::{
    identity::read_word_list,
    rate_limits::RateLimitsConfig,
    raw::Origin,
    secret_file::{MASTER_KEY_BYTES, MasterKey, load_or_create_master_key},
    services::{ServiceAt, ServicesConfig},
};
use self::{raw::RawSettings, smtp_url::SmtpServer};

/// A configuration file larger than this is not one.
const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the configuration cannot be used. Messages say where the mistake stands and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, made, or does not hold what it should.
    #[error("{} {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is not TOML, or not of the expected shape.
    #[error("{origin}: {problem}")]
    Toml {
        /// The line.
        origin: Origin,
        /// What is wrong there.
        problem: String,
    },
    /// A name that no setting has.
    #[error("{origin}: unknown {what} {written:?}{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// "section", "key" or "variable".
        what: &'static str,
        /// The name as written.
        written: String,
        /// The known name that is most like it.
        nearest: Option<String>,
    },
    /// A value that the setting cannot have.
    #[error("{origin}: {key} {problem}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// `section.name`.
        key: String,
        /// What is wrong with it and what to write.
        problem: String,
    },
    /// A setting without a default that nobody set.
    #[error("{key} is not set: write it into config.toml or set the environment variable {variable}")]
    Missing {
        /// `section.name`.
        key: &'static str,
        /// Its environment variable.
        variable: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "; config.example.toml lists what there is".to_owned(),
        |nearest| format!("; did you mean {nearest:?}?"),
    )
}

/// Everything an operator can set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[identity]`
    pub identity: IdentityConfig,
    /// `[accounts]`
    pub accounts: AccountsConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[blobs]`
    pub blobs: BlobsConfig,
    /// `[repo]`
    pub repo: RepoConfig,
    /// `[firehose]`
    pub firehose: FirehoseConfig,
    /// `[services]`
    pub services: ServicesConfig,
    /// `[rate_limits]`
    pub rate_limits: RateLimitsConfig,
    /// `[service]`
    pub service: ServiceConfig,
    /// `[mail]`; `None`: nothing is sent.
    pub mail: Option<MailConfig>,
    /// `[secrets]`
    pub secrets: SecretsConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// Where the server is reached and where it keeps its data.
#[derive(Clone)]
pub struct ServerConfig {
    /// The public name, without scheme or port.
    pub hostname: String,
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The address that clients use: scheme and host, without a slash at the end.
    pub public_url: String,
    /// Holds the database, the blobs and the master key.
    pub data_dir: PathBuf,
    /// Password of the admin methods; they are off without one.
    pub admin_password: Option<Zeroizing<String>>,
    /// The DID of the server itself.
    pub service_did: Did,
    /// Networks of the reverse proxies that are believed when they name the client.
    pub trusted_proxies: Vec<IpNet>,
    /// Open connections at a time.
    pub connections_max: usize,
    /// How long a connection may idle, and the head of a request take.
    pub idle: Duration,
    /// How long a client may move nothing that is sending a body or taking an answer.
    pub slow_client: Duration,
}

impl std::fmt::Debug for ServerConfig {
    /// Everything but the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("hostname", &self.hostname)
            .field("listen", &self.listen)
            .field("public_url", &self.public_url)
            .field("data_dir", &self.data_dir)
            .field("service_did", &self.service_did)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("connections_max", &self.connections_max)
            .field("idle", &self.idle)
            .field("slow_client", &self.slow_client)
            .finish_non_exhaustive()
    }
}

/// Directory and handles.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// The did:plc directory, without a slash at the end.
    pub plc_url: String,
    /// Domains under which people may choose a handle, each with its leading dot.
    pub handle_domains: Vec<String>,
    /// A did:key of the operator that new DIDs list before the server's own rotation key.
    pub recovery_did_key: Option<String>,
    /// Where handles are looked up; empty: where the system looks up names.
    pub nameservers: Vec<SocketAddr>,
    /// Asked when nothing else knows a handle.
    pub backup_nameservers: Vec<SocketAddr>,
    /// The file of words that may stand neither in handles nor in record keys; see [`read_word_list`].
    pub slur_list: Option<PathBuf>,
}

/// Who may sign up.
#[derive(Clone, Debug)]
pub struct AccountsConfig {
    /// Signing up needs an invite code.
    pub invite_required: bool,
    /// Accounts earn an invite code in each interval of so many hours; `None`: they earn none.
    pub invite_interval_hours: Option<u64>,
    /// What accounts lived through before does not count.
    pub invite_epoch: Datetime,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Free space below which nothing that grows is accepted, in bytes; 0: the disk is not watched.
    pub reserve_bytes: u64,
}

/// Uploads.
#[derive(Clone, Debug)]
pub struct BlobsConfig {
    /// Largest blob, in bytes.
    pub upload_limit_bytes: u64,
}

/// Repositories.
#[derive(Clone, Debug)]
pub struct RepoConfig {
    /// Largest CAR file that `importRepo` takes, in bytes.
    pub import_limit_bytes: u64,
}

/// The event stream.
#[derive(Clone, Debug)]
pub struct FirehoseConfig {
    /// How long events are kept for subscribers that come back, in hours.
    pub retention_hours: u64,
    /// The file that remembers the greatest event number shown to subscribers; see `store::sequence_mark`.
    pub mark_file: PathBuf,
}

/// What the server says about itself.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Shown on the front page.
    pub name: String,
    /// Where people reach the operator.
    pub contact_email: Option<String>,
    /// Link to the privacy policy.
    pub privacy_policy_url: Option<String>,
    /// Link to the terms of service.
    pub terms_of_service_url: Option<String>,
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The server that takes it.
    pub smtp: SmtpServer,
    /// Sender of codes: `Name <address>` or an address.
    pub from: String,
    /// Sender of what moderators write.
    pub moderation_from: String,
}

/// Where secrets are kept.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// The file with the master key; see [`load_or_create_master_key`].
    pub master_key_file: PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A filter in the syntax of `tracing-subscriber`: `info`, `rookery=debug,hyper=warn`.
    pub level: String,
    /// Lines for people or for programs.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

impl Config {
    /// Reads `file`, when there is one, and the environment of this process.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let text = file.map(read_config_file).transpose()?;
        // A variable that is not Unicode cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::from_sources(text.as_deref().zip(file), environment)
    }

    /// The configuration that a file's text (with its path, for messages) and these environment variables make.
    pub fn from_sources(
        file: Option<(&str, &Path)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut raw = RawSettings::defaults()?;
        if let Some((text, path)) = file {
            raw.read_toml(text, path)?;
        }
        raw.read_environment(environment)?;
        Config::from_raw(&raw)
    }

    /// The configuration of a sandbox on this machine: the defaults, and over them `flags`: the name of a flag, the setting
    /// that it stands for, and its text.
    ///
    /// Reads neither files nor environment, so that a sandbox is the same wherever it runs.
    pub fn sandbox(flags: &[(&'static str, &str, String)]) -> Result<Config, ConfigError> {
        let mut raw = RawSettings::defaults()?;
        for (flag, path, text) in flags {
            raw.read_flag(flag, path, text)?;
        }
        Config::from_raw(&raw)
    }

    fn from_raw(raw: &RawSettings) -> Result<Config, ConfigError> {
        let server = server(raw)?;
        Ok(Config {
            identity: identity::read(raw, &server.hostname)?,
            accounts: accounts(raw)?,
            storage: StorageConfig { reserve_bytes: raw.integer("storage.reserve_bytes") },
            blobs: BlobsConfig { upload_limit_bytes: raw.integer("blobs.upload_limit_bytes") },
            repo: RepoConfig { import_limit_bytes: raw.integer("repo.import_limit_bytes") },
            firehose: FirehoseConfig {
                retention_hours: raw.integer("firehose.retention_hours"),
                mark_file: raw
                    .text("firehose.mark_file")
                    .map_or_else(|| server.data_dir.join("sequence.mark"), PathBuf::from),
            },
            services: services::read(raw)?,
            rate_limits: rate_limits::read(raw)?,
            service: ServiceConfig {
                name: text_or(raw, "service.name", || format!("{} PDS", server.hostname)),
                contact_email: contact_email(raw)?,
                privacy_policy_url: optional_url(raw, "service.privacy_policy_url")?,
                terms_of_service_url: optional_url(raw, "service.terms_of_service_url")?,
            },
            mail: mail(raw)?,
            secrets: SecretsConfig {
                master_key_file: raw
                    .text("secrets.master_key_file")
                    .map_or_else(|| server.data_dir.join("master.key"), PathBuf::from),
            },
            log: log(raw)?,
            server,
        })
    }
}

fn read_config_file(path: &Path) -> Result<String, ConfigError> {
    let refuse = |problem: String| ConfigError::File { path: path.to_owned(), problem };
    let bytes = std::fs::metadata(path).map_err(|error| refuse(format!("cannot be read: {error}")))?.len();
    if bytes > CONFIG_FILE_BYTES_MAX {
        return Err(refuse(format!(
            "has {bytes} bytes; a configuration has at most {CONFIG_FILE_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))
}

fn server(raw: &RawSettings) -> Result<ServerConfig, ConfigError> {
    let hostname = required(raw, "server.hostname")?;
    check_hostname(hostname).map_err(|why| raw.refuse("server.hostname", why))?;
    let listen_path = "server.listen";
    let listen = required(raw, listen_path)?.parse().map_err(|_| {
        raw.refuse(
            listen_path,
            "is not an address and a port; write for example \"127.0.0.1:2583\" or \"[::]:2583\"",
        )
    })?;
    let public_url = optional_url(raw, "server.public_url")?.unwrap_or_else(|| format!("https://{hostname}"));
    let service_did = match raw.text("server.service_did") {
        Some(did) => Did::parse(did)
            .map_err(|error| raw.refuse("server.service_did", format!("is not a DID: {error}")))?,
        None => Did::parse(&format!("did:web:{hostname}"))
            .map_err(|error| raw.refuse("server.hostname", format!("makes no did:web: {error}")))?,
    };
    let admin_password = match (raw.text("server.admin_password"), raw.text("server.admin_password_file")) {
        (Some(_), Some(_)) => {
            return Err(
                raw.refuse("server.admin_password", "and server.admin_password_file are both set; keep one")
            );
        }
        (Some(""), None) => {
            return Err(raw.refuse("server.admin_password", "is empty; remove it to turn admin methods off"));
        }
        (Some(password), None) => Some(Zeroizing::new(password.to_owned())),
        (None, Some(path)) => Some(secret_file::read_password(Path::new(path))?),
        (None, None) => None,
    };
    Ok(ServerConfig {
        hostname: hostname.to_owned(),
        listen,
        public_url,
        data_dir: PathBuf::from(required(raw, "server.data_dir")?),
        admin_password,
        service_did,
        trusted_proxies: rate_limits::networks(raw, "server.trusted_proxies")?,
        connections_max: usize::try_from(raw.integer("server.connections_max")).unwrap_or(usize::MAX),
        idle: Duration::from_secs(raw.integer("server.idle_secs")),
        slow_client: Duration::from_secs(raw.integer("server.slow_client_secs")),
    })
}

fn mail(raw: &RawSettings) -> Result<Option<MailConfig>, ConfigError> {
    let url_path = "mail.smtp_url";
    let smtp = match (raw.text(url_path), raw.text("mail.smtp_url_file")) {
        (Some(_), Some(_)) => {
            return Err(raw.refuse(url_path, "and mail.smtp_url_file are both set; keep one"));
        }
        (Some(url), None) => SmtpServer::parse(url).map_err(|why| raw.refuse(url_path, why))?,
        (None, Some(path)) => {
            let url = secret_file::read_password(Path::new(path))?;
            SmtpServer::parse(&url).map_err(|why| raw.refuse("mail.smtp_url_file", why))?
        }
        (None, None) => {
            return match raw.text("mail.from").and(Some("mail.from")) {
                Some(path) => Err(raw.refuse(path, "is set, but mail.smtp_url is not; set both or neither")),
                None => Ok(None),
            };
        }
    };
    let from = sender(raw, "mail.from")?
        .ok_or(ConfigError::Missing { key: "mail.from", variable: "ROOKERY_MAIL_FROM".into() })?;
    let moderation_from = sender(raw, "mail.moderation_from")?.unwrap_or_else(|| from.clone());
    Ok(Some(MailConfig { smtp, from, moderation_from }))
}

fn sender(raw: &RawSettings, path: &str) -> Result<Option<String>, ConfigError> {
    let Some(text) = raw.text(path) else { return Ok(None) };
    match text.parse::<lettre::message::Mailbox>() {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(error) => Err(raw.refuse(
            path,
            format!("is not a sender ({error}); write \"noreply@example.com\" or \"Example PDS <noreply@example.com>\""),
        )),
    }
}

fn log(raw: &RawSettings) -> Result<LogConfig, ConfigError> {
    let level = required(raw, "log.level")?;
    level.parse::<tracing_subscriber::filter::Targets>().map_err(|error| {
        raw.refuse(
            "log.level",
            format!("is not a log level ({error}); write error, warn, info, debug or trace"),
        )
    })?;
    let format = match required(raw, "log.format")? {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            return Err(raw.refuse("log.format", format!("is {other:?}; write \"text\" or \"json\"")));
        }
    };
    Ok(LogConfig { level: level.to_owned(), format })
}

fn required<'a>(raw: &'a RawSettings, path: &'static str) -> Result<&'a str, ConfigError> {
    let variable = || format!("{}{}", keys::VARIABLE_PREFIX, path.replace('.', "_").to_ascii_uppercase());
    match raw.text(path) {
        Some("") => Err(raw.refuse(path, "is empty")),
        Some(text) => Ok(text),
        None => Err(ConfigError::Missing { key: path, variable: variable() }),
    }
}

fn text_or(raw: &RawSettings, path: &str, default: impl FnOnce() -> String) -> String {
    raw.text(path).map_or_else(default, str::to_owned)
}

fn optional_url(raw: &RawSettings, path: &str) -> Result<Option<String>, ConfigError> {
    raw.text(path).map(|text| url(raw, path, text)).transpose()
}

/// An http(s) URL without query or fragment; a slash at its end is dropped.
fn url(raw: &RawSettings, path: &str, text: &str) -> Result<String, ConfigError> {
    let parsed =
        reqwest::Url::parse(text).map_err(|error| raw.refuse(path, format!("is not a URL: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(
            raw.refuse(path, format!("is {text:?}; it has to begin with https:// or http:// and a host"))
        );
    }
    if parsed.query().is_some() || parsed.fragment().is_some() || !parsed.username().is_empty() {
        return Err(raw.refuse(path, format!("is {text:?}; leave out user name, query and fragment")));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn accounts(raw: &RawSettings) -> Result<AccountsConfig, ConfigError> {
    let path = "accounts.invite_epoch";
    let epoch = raw.text(path).unwrap_or_default();
    Ok(AccountsConfig {
        invite_required: raw.flag("accounts.invite_required"),
        // At least 1 when it is set.
        invite_interval_hours: Some(raw.integer("accounts.invite_interval_hours")).filter(|hours| *hours > 0),
        invite_epoch: Datetime::parse(epoch)
            .map_err(|_| raw.refuse(path, format!("is {epoch:?}; it has to be like 2026-01-01T00:00:00Z")))?,
    })
}

fn contact_email(raw: &RawSettings) -> Result<Option<String>, ConfigError> {
    let path = "service.contact_email";
    match raw.text(path) {
        Some(email) if !email.contains('@') || email.contains(char::is_whitespace) => {
            Err(raw.refuse(path, "is not an e-mail address"))
        }
        email => Ok(email.map(str::to_owned)),
    }
}

/// A DNS name that can stand in a URL and in a did:web, or `localhost`.
fn check_hostname(hostname: &str) -> Result<(), String> {
    if hostname == "localhost" || Handle::from_str(hostname).is_ok() {
        return Ok(());
    }
    Err(format!(
        "is {hostname:?}; write a name such as \"pds.example.com\", without https:// and without a port"
    ))
}
