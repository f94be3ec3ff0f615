//! `rookery dev`: a complete sandbox on this machine, with a did:plc directory of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use crate::{
    app::App,
    cli::{
        local::{DataDirLock, Mode, build_app},
        logging, serve,
    },
    config::Config,
    server::{self, Limits},
    task,
    web::plc_directory,
};

/// Blobs in a sandbox may be this large, in bytes.
const UPLOAD_LIMIT_BYTES: u64 = 1 << 30;
/// Open connections of the inner directory.
const DIRECTORY_CONNECTIONS_MAX: usize = 256;
/// Password that the examples sign up with.
const EXAMPLE_PASSWORD: &str = "open-sesame";

/// Arguments of `rookery dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2583")]
    listen: SocketAddr,
    /// Keep data here, and start again with it; default: a temporary directory, removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use this did:plc directory; default: one inside this process, on a port of its own
    #[arg(long, value_name = "URL")]
    plc_url: Option<String>,
    /// Domain under which people choose handles, with its leading dot
    #[arg(long, value_name = "DOMAIN", default_value = ".test")]
    handle_domain: String,
    /// Password of the admin methods
    #[arg(long, value_name = "PASSWORD", default_value = "admin")]
    admin_password: String,
    /// AppView that requests for methods that we do not have are sent to; default: none
    #[arg(long, value_name = "URL", requires = "appview_did")]
    appview_url: Option<String>,
    /// DID of the AppView
    #[arg(long, value_name = "DID", requires = "appview_url")]
    appview_did: Option<String>,
    /// Moderation service: may take down what is hosted here, and gets reports; default: none
    #[arg(long, value_name = "URL", requires = "mod_did")]
    mod_url: Option<String>,
    /// DID of the moderation service
    #[arg(long, value_name = "DID", requires = "mod_url")]
    mod_did: Option<String>,
    /// Relay that is told when there is something new; again for more; default: none
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// Count requests and refuse what is beyond the rate limits, as `rookery serve` does
    #[arg(long)]
    rate_limits: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as "info,rookery::store=debug"
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
    /// Any setting of config.example.toml, such as service.name=Sandbox; can be given several times
    #[arg(long = "set", value_name = "SECTION.NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

/// The name and the text of `--set`. Whether there is such a setting is for the configuration to say.
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err("write SECTION.NAME=VALUE, as in service.name=Sandbox".to_owned()),
    }
}

/// Runs the sandbox until SIGTERM or ctrl-c.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("rookery-dev-").tempdir()?),
    };
    let data_dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => dir.path().to_owned(),
        (None, None) => PathBuf::from("."),
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another port with --listen", args.listen))?;
    let address = listener.local_addr()?;
    let plc_listener = match &args.plc_url {
        Some(_) => None,
        None => Some(bind_directory(address).await?),
    };
    let plc_url = match (&args.plc_url, &plc_listener) {
        (None, Some(listener)) => format!("http://{}", listener.local_addr()?),
        (given, _) => given.clone().unwrap_or_default(),
    };
    let config = sandbox(&args, &data_dir, address, plc_url)?;
    logging::start(&config.log)?;
    let _lock = DataDirLock::acquire(&data_dir).await?;
    let app = build_app(&config, Mode::Sandbox).await?;
    app.sequence.start().await.context("cannot compare the database with what subscribers have seen")?;

    serve::announce(&welcome(&app, &args, address));
    let shutdown = serve::shutdown_signal()?;
    // The directory answers as long as requests of the server are under way.
    let directory = plc_listener.map(|listener| {
        let router = plc_directory::router(app.store.clone(), app.clock.clone());
        let limits = Limits { connections_max: DIRECTORY_CONNECTIONS_MAX, ..Limits::of(&app.settings) };
        task::spawn(server::serve(listener, router, limits, std::future::pending()))
    });
    serve::announce(&format!("rookery is ready: http://{address}\n"));
    serve::serve(app, listener, shutdown).await;
    if let Some(directory) = directory {
        directory.abort();
    }
    Ok(())
}

/// The port after the server's, so that a sandbox finds its directory where it was; else any free one.
async fn bind_directory(server: SocketAddr) -> anyhow::Result<TcpListener> {
    let next = SocketAddr::from(([127, 0, 0, 1], server.port().checked_add(1).unwrap_or(0)));
    match TcpListener::bind(next).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?),
    }
}

fn sandbox(args: &DevArgs, data_dir: &Path, address: SocketAddr, plc_url: String) -> anyhow::Result<Config> {
    let mut flags = flags_of_directory(data_dir)?;
    flags.extend([
        ("--listen", "server.listen", address.to_string()),
        ("--listen", "server.public_url", format!("http://localhost:{}", address.port())),
        ("--plc-url", "identity.plc_url", plc_url),
        ("--handle-domain", "identity.handle_domains", args.handle_domain.clone()),
        ("--admin-password", "server.admin_password", args.admin_password.clone()),
        ("--rate-limits", "rate_limits.enabled", args.rate_limits.to_string()),
        ("--log", "log.level", args.log.clone()),
        ("--relay", "services.relays", args.relay.join(",")),
    ]);
    flags.extend(given("--appview-url", "services.appview_url", &args.appview_url));
    flags.extend(given("--appview-did", "services.appview_did", &args.appview_did));
    flags.extend(given("--mod-url", "services.mod_url", &args.mod_url));
    flags.extend(given("--mod-did", "services.mod_did", &args.mod_did));
    flags.extend(given("--mod-url", "services.report_url", &args.mod_url));
    flags.extend(given("--mod-did", "services.report_did", &args.mod_did));
    // Last, so that they win.
    flags.extend(args.settings.iter().map(|(name, value)| ("--set", name.as_str(), value.clone())));
    Ok(Config::sandbox(&flags)?)
}

/// A flag that was given, as [`Config::sandbox`] takes it.
fn given(
    flag: &'static str,
    path: &'static str,
    value: &Option<String>,
) -> Option<(&'static str, &'static str, String)> {
    value.clone().map(|value| (flag, path, value))
}

/// The configuration that commands on a sandbox's data directory use. What only a running server needs is left at its
/// default.
pub fn config_of_directory(data_dir: &Path) -> anyhow::Result<Config> {
    let mut flags = flags_of_directory(data_dir)?;
    flags.push(("--data-dir", "identity.handle_domains", ".test".into()));
    Ok(Config::sandbox(&flags)?)
}

fn flags_of_directory(data_dir: &Path) -> anyhow::Result<Vec<(&'static str, &'static str, String)>> {
    let data_dir = data_dir.to_str().context("--data-dir is not Unicode; choose another directory")?;
    Ok(vec![
        ("--data-dir", "server.data_dir", data_dir.to_owned()),
        ("dev", "server.hostname", "localhost".into()),
        ("dev", "accounts.invite_required", "false".into()),
        ("dev", "blobs.upload_limit_bytes", UPLOAD_LIMIT_BYTES.to_string()),
        // A sandbox talks to nobody that it was not told of.
        ("dev", "services.appview_url", String::new()),
        ("dev", "services.report_url", String::new()),
        ("dev", "services.relays", String::new()),
    ])
}

/// What is running, and three things to try. The commands work as they are, pasted into a POSIX shell.
fn welcome(app: &App, args: &DevArgs, address: SocketAddr) -> String {
    let url = format!("http://{address}");
    let handle = format!("alice{}", args.handle_domain);
    let plc = match &args.plc_url {
        Some(plc_url) => plc_url.clone(),
        None => format!("{} (inside this process)", app.settings.plc_url),
    };
    let data = match &args.data_dir {
        Some(dir) => dir.display().to_string(),
        None => format!("{} (temporary, removed at the end)", app.store.data_dir().display()),
    };
    let created_at = atproto::syntax::Datetime::from_micros(app.clock.now());
    format!(
        r#"Rookery {version}, a sandbox for the AT Protocol

  server         {url}
  did:plc        {plc}
  handles        *{domain}
  data           {data}
  admin          user "admin", password "{admin}"

Three things to try, in another terminal:

1. Sign up:
curl -s {url}/xrpc/com.atproto.server.createAccount -H 'content-type: application/json' -d '{{"handle":"{handle}","email":"alice@example.com","password":"{EXAMPLE_PASSWORD}"}}'

2. Sign in and post:
TOKEN=$(curl -s {url}/xrpc/com.atproto.server.createSession -H 'content-type: application/json' -d '{{"identifier":"{handle}","password":"{EXAMPLE_PASSWORD}"}}' | sed 's/.*"accessJwt":"\([^"]*\)".*/\1/')
curl -s {url}/xrpc/com.atproto.repo.createRecord -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d '{{"repo":"{handle}","collection":"app.bsky.feed.post","record":{{"$type":"app.bsky.feed.post","text":"Hello from my own server","createdAt":"{created_at}"}}}}'

3. Read it back, as anyone can:
curl -s '{url}/xrpc/com.atproto.repo.listRecords?repo={handle}&collection=app.bsky.feed.post'

"#,
        version = env!("CARGO_PKG_VERSION"),
        domain = args.handle_domain,
        admin = args.admin_password,
    )
}
