//! `rookery serve`: the server for real, and what it shares with the sandbox.

use std::{
    future::Future,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    app::App,
    cli::{
        local::{DataDirLock, Mode, build_app},
        logging,
    },
    config::Config,
    server::{self, Limits, open_files},
    service::{
        account::pending::Settle,
        relays::{tell::Pace, watch::Watch},
    },
    task,
};

/// How often the chores are done.
const CHORES_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often accounts are looked for whose date of deletion has come.
const DELETE_DUE_EVERY: Duration = Duration::from_secs(60);
/// How often changes of identities are looked for that were cut short.
const SETTLE_EVERY: Duration = Duration::from_secs(60);
/// How long subscribers wait at most for events that another process appended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `rookery serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration; config.example.toml documents it. Without it, settings come from ROOKERY_… variables alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the server until SIGTERM or ctrl-c.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    logging::start(&config.log)?;
    let _lock = DataDirLock::acquire(&config.server.data_dir).await?;
    let app = build_app(&config, Mode::Production).await?;
    let listener = TcpListener::bind(config.server.listen).await.with_context(|| {
        format!("cannot listen on {}; set server.listen to a free address", config.server.listen)
    })?;
    let shutdown = shutdown_signal()?;
    app.sequence.start().await.context("cannot compare the database with what subscribers have seen")?;
    announce(&format!(
        "rookery is ready: {} (listening on {})\n",
        config.server.public_url,
        listener.local_addr()?
    ));
    serve(app, listener, shutdown).await;
    Ok(())
}

/// Prints for whoever reads; a server runs on when nobody does any more.
pub fn announce(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

/// Serves until `shutdown`, with the work that is done now and then beside it, and closes the database at the end.
pub async fn serve(app: App, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
    // Before the first upload can begin: this cannot tell one under way from one cut short.
    if let Err(error) = app.blobs.clear_tmp().await {
        will_be_tried_again("remove uploads cut short", &error);
    }
    let chores = task::spawn(chores(app.clone()));
    let deletions = task::spawn(deletions(app.clone()));
    let settling = task::spawn(settle_identities(app.clone()));
    let federation = task::spawn(federation(app.clone()));
    let stopping = app.stopping.clone();
    let shutdown = async move {
        shutdown.await;
        // Subscribers stay for as long as they are let; without this the server would wait for them.
        stopping.cancel();
    };
    let connections_max = open_files::raise(app.settings.connections_max);
    let limits = Limits { connections_max, ..Limits::of(&app.settings) };
    server::serve(listener, app.router(), limits, shutdown).await;
    chores.abort();
    deletions.abort();
    settling.abort();
    federation.abort();
    app.close().await;
}

fn will_be_tried_again(chore: &str, error: &dyn std::fmt::Display) {
    tracing::warn!(%error, chore, "a chore failed and will be tried again");
}

/// Removes what nobody needs any more: once at the start, then every hour. Between, looks for what commands such as
/// `rookery account create` have announced.
async fn chores(app: App) {
    let mut hours = tokio::time::interval(CHORES_EVERY);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = hours.tick() => {}
            _ = looks.tick() => {
                if let Err(error) = app.store.look_for_events_of_others().await {
                    will_be_tried_again("look for events of other processes", &error);
                }
                continue;
            }
        }
        // Also what an import has left that the disk did not let clear up after itself.
        if let Err(error) = app.repos.sweep_generations().await {
            will_be_tried_again("remove repositories that nobody sees", &error);
        }
        if let Err(error) = app.firehose.prune().await {
            will_be_tried_again("prune the event log", &error);
        }
        if let Err(error) = app.email_tokens.sweep().await {
            will_be_tried_again("remove codes that have expired", &error);
        }
        if let Err(error) = app.mailer.sweep_outbox().await {
            will_be_tried_again("remove old mail from the outbox", &error);
        }
        if let Err(error) = app.blobs.sweep().await {
            will_be_tried_again("remove blobs that no record refers to", &error);
        }
    }
}

/// Carries out deletions that were wished for a later date, and removes what deleted accounts leave behind: at the start,
/// and then whenever there is something.
async fn deletions(app: App) {
    let mut minutes = tokio::time::interval(DELETE_DUE_EVERY);
    let mut hours = tokio::time::interval(CHORES_EVERY);
    loop {
        tokio::select! {
            _ = minutes.tick() => {
                if let Err(error) = app.accounts.delete_due().await {
                    will_be_tried_again("delete accounts whose date has come", &error);
                }
                continue;
            }
            _ = hours.tick() => {}
            () = app.accounts.deleted() => {}
        }
        if let Err(error) = app.accounts.purge_deleted().await {
            will_be_tried_again("remove what deleted accounts left", &error);
        }
    }
}

/// Tells relays what is new, asks them what they think of us, and keeps the mark that a restore needs. None of it is waited for
/// at the end.
async fn federation(app: App) {
    let (relays, sequence, last_seq) = (&app.relays, &app.sequence, app.store.ring().last_seq());
    let watch = Watch::new(relays.clone(), sequence.clone(), app.store.clone(), app.clock.clone());
    tokio::join!(
        relays.tell_of(last_seq.clone(), Pace::default()),
        watch.run(),
        sequence.keep_mark(last_seq.clone()),
    );
}

/// Finishes or undoes what a crash has left half done at the did:plc directory, and what the directory could not be asked
/// about. Apart from the chores: a directory may take its time.
async fn settle_identities(app: App) {
    let mut rounds = tokio::time::interval(SETTLE_EVERY);
    let mut which = Settle::All;
    loop {
        rounds.tick().await;
        if let Err(error) = app.accounts.settle_identities(which).await {
            will_be_tried_again("settle changes of identities", &error);
        }
        which = Settle::Overdue;
    }
}

/// Ends with the first SIGTERM or SIGINT. Listens from the moment of the call.
pub fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way are finished first");
    })
}
