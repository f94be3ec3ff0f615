//! The application: every service, built once. The only place that wires things together.

use std::{ops::Deref, sync::Arc};

use axum::Router;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use zeroize::Zeroizing;

pub use crate::service::settings::Settings;
use crate::{
    service::{
        account::{
            AccountParts, Accounts,
            email_token::{EmailTokenParts, EmailTokens},
        },
        auth::{
            admin::AdminPassword, app_password::AppPasswords, jws::Hs256, password::Passwords,
            service_token::ServiceTokens, session::Sessions, token::Tokens,
        },
        blob::Blobs,
        firehose::{Firehose, FirehoseOptions},
        identity::{DidResolver, HandleResolver, Identities, IdentityParts, PlcClient},
        keys::{KeyError, Keys},
        mail::{MailParts, Mailer},
        moderation::Moderation,
        outbound::{Outbound, Reach},
        preferences::Preferences,
        proxy::Proxy,
        rate_limit::RateLimits,
        read_after_write::ReadAfterWrite,
        relays::Relays,
        repo::Repos,
        sequence::Sequence,
    },
    store::{Store, StoreError, StoreOptions},
    time::{Clock, Entropy},
    web, xrpc,
};

/// Name of the server secret that signs session tokens.
const SESSION_SECRET: &str = "session-token-key";
/// Name of the server secret that app passwords are hashed under.
const APP_PASSWORD_SECRET: &str = "app-password-key";
/// Name of the server secret that the hashes of mailed codes are keyed with.
const EMAIL_TOKEN_SECRET: &str = "email-token-key";

/// Handed to every handler as axum state, and cloned several times for each request: one pointer.
#[derive(Clone)]
pub struct App(Arc<Services>);

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// Every service.
pub struct Services {
    /// What `config` said.
    pub settings: Arc<Settings>,
    /// Database and blobs.
    pub store: Store,
    /// Signing keys.
    pub keys: Keys,
    /// Repositories.
    pub repos: Repos,
    /// Blobs.
    pub blobs: Blobs,
    /// The event log.
    pub firehose: Firehose,
    /// Its numbers, across restores.
    pub sequence: Sequence,
    /// Relays, told and asked.
    pub relays: Relays,
    /// Accounts.
    pub accounts: Accounts,
    /// Mail, and the outbox.
    pub mailer: Mailer,
    /// Codes sent by mail.
    pub email_tokens: EmailTokens,
    /// Signing in and out.
    pub sessions: Sessions,
    /// App passwords.
    pub app_passwords: AppPasswords,
    /// Session tokens.
    pub tokens: Tokens,
    /// Tokens between services.
    pub service_tokens: ServiceTokens,
    /// Requests to servers that others name.
    pub outbound: Outbound,
    /// Requests that are sent on to other services.
    pub proxy: Proxy,
    /// Answers of the AppView, completed.
    pub read_after_write: ReadAfterWrite,
    /// Private settings of accounts.
    pub preferences: Preferences,
    /// DID documents.
    pub did_resolver: DidResolver,
    /// The identities behind the accounts.
    pub identities: Identities,
    /// The operator's password.
    pub admin: AdminPassword,
    /// Taking down and letting up again.
    pub moderation: Moderation,
    /// What clients and accounts have asked for of late.
    pub rate_limits: RateLimits,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Cancelled when the server stops: long answers (subscriptions) end, background tasks too.
    pub stopping: CancellationToken,
    /// What runs beside requests and is waited for at the end.
    pub tasks: TaskTracker,
}

/// All that an [`App`] is built from.
pub struct AppConfig {
    /// Checked settings.
    pub settings: Settings,
    /// Where the store lives.
    pub store: StoreOptions,
    /// Seals keys and secrets in the database.
    pub master_key: Zeroizing<[u8; 32]>,
    /// The operator's password; empty: nobody is the operator.
    pub admin_password: Zeroizing<String>,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// Why the application could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server's secrets cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl App {
    /// Opens the store and builds every service over it.
    pub async fn build(config: AppConfig) -> Result<App, BuildError> {
        let AppConfig { settings, store, master_key, admin_password, clock, entropy } = config;
        let settings = Arc::new(settings);
        let store = Store::open(store, clock.clone()).await?;
        let keys = Keys::new(store.clone(), &master_key, entropy.clone());
        let session_key = keys.secret(SESSION_SECRET, &entropy.bytes()).await?;
        let app_password_key = keys.secret(APP_PASSWORD_SECRET, &entropy.bytes()).await?;
        // Tells a wrong master key at the start, not at the first sign-up.
        keys.plc_rotation_key().await?;

        let tokens = Tokens::new(Hs256::new(session_key), settings.service_did.clone(), clock.clone());
        let passwords = Passwords::new(entropy.clone());
        let app_passwords = AppPasswords::new(store.clone(), Hs256::new(app_password_key), entropy.clone());
        let sessions = Sessions::new(
            store.clone(),
            tokens.clone(),
            passwords.clone(),
            app_passwords.clone(),
            entropy.clone(),
        );
        let plc = PlcClient::new(&settings.plc_url);
        let reach = if settings.dev { Reach::Anywhere } else { Reach::Public };
        let outbound = Outbound::new(reach);
        let did_resolver =
            DidResolver::new(settings.clone(), plc.clone(), outbound.clone(), store.clone(), clock.clone());
        let handles = HandleResolver::new(&settings, outbound.clone());
        let identities = Identities::new(IdentityParts {
            settings: settings.clone(),
            store: store.clone(),
            keys: keys.clone(),
            plc: plc.clone(),
            dids: did_resolver.clone(),
            handles,
            clock: clock.clone(),
        });
        let blobs = Blobs::new(store.clone(), clock.clone(), settings.blob_upload_limit_bytes);
        let repos =
            Repos::new(store.clone(), keys.clone(), settings.words.clone(), clock.clone(), entropy.clone());
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mailer = Mailer::new(MailParts {
            settings: settings.clone(),
            store: store.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            stopping: stopping.clone(),
            tasks: tasks.clone(),
        });
        let email_tokens = EmailTokens::new(EmailTokenParts {
            settings: settings.clone(),
            store: store.clone(),
            mailer: mailer.clone(),
            key: keys.secret(EMAIL_TOKEN_SECRET, &entropy.bytes()).await?,
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let accounts = Accounts::new(AccountParts {
            settings: settings.clone(),
            store: store.clone(),
            keys: keys.clone(),
            passwords,
            sessions: sessions.clone(),
            plc,
            identities: identities.clone(),
            email_tokens: email_tokens.clone(),
            repos: repos.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let service_tokens = ServiceTokens::new(
            settings.service_did.clone(),
            did_resolver.clone(),
            keys.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let proxy =
            Proxy::new(settings.clone(), service_tokens.clone(), did_resolver.clone(), outbound.clone());
        let read_after_write =
            ReadAfterWrite::new(store.clone(), proxy.clone(), settings.clone(), clock.clone());
        let relays = Relays::new(&settings);
        let firehose = FirehoseOptions { window: settings.firehose_window, ..FirehoseOptions::default() };
        Ok(App(Arc::new(Services {
            blobs,
            firehose: Firehose::new(store.clone(), clock.clone(), firehose),
            sequence: Sequence::new(store.clone(), accounts.clone(), relays.clone()),
            relays,
            repos,
            service_tokens,
            outbound,
            proxy,
            read_after_write,
            preferences: Preferences::new(store.clone(), clock.clone()),
            did_resolver,
            identities,
            admin: AdminPassword::new(&admin_password, &entropy),
            moderation: Moderation::new(store.clone(), accounts.clone(), clock.clone()),
            rate_limits: RateLimits::new(clock.clone()),
            settings,
            store,
            keys,
            accounts,
            sessions,
            app_passwords,
            tokens,
            clock,
            entropy,
            mailer,
            email_tokens,
            stopping,
            tasks,
        })))
    }

    /// Ends what runs beside requests, waits for it, and closes the store. Called when nothing is served any more.
    pub async fn close(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.sequence.write_mark_durably().await;
        self.store.close().await;
    }

    /// Everything that is served under one listener.
    pub fn router(&self) -> Router {
        web::router(self.clone(), xrpc::service(self.clone()))
    }
}
