//! What the services need to know of the configuration. `config` reads it from files and environment, nobody else.

use std::{net::SocketAddr, time::Duration};

use atproto::syntax::Did;
use ipnet::IpNet;

use super::{rate_limit::BypassKey, word_filter::WordFilter};
use crate::{config::smtp_url::SmtpServer, time::Micros};

/// Whether requests are counted, and whose are not.
#[derive(Clone, Debug)]
pub struct RateLimitSettings {
    /// Requests are counted, and refused beyond the limits.
    pub enabled: bool,
    /// Requests that carry this key are not counted.
    pub bypass_key: Option<BypassKey>,
    /// Requests from these networks are not counted.
    pub bypass_ips: Vec<IpNet>,
}

impl RateLimitSettings {
    /// Nothing is counted.
    pub fn off() -> RateLimitSettings {
        RateLimitSettings { enabled: false, bypass_key: None, bypass_ips: Vec::new() }
    }
}

/// How accounts earn codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviteSchedule {
    /// One code for each.
    pub interval: Duration,
    /// What was before does not count.
    pub epoch: Micros,
}

/// Settings of a running server. Every one has been checked by `config`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name that the world reaches this server under, without port (`pds.example.com`).
    pub hostname: String,
    /// Scheme, host and port that clients use, without a slash at the end. What the DID documents of accounts name.
    pub public_url: String,
    /// `did:web` of this server: the audience of session tokens.
    pub service_did: Did,
    /// Domains under which new accounts get handles, each with its leading dot; lower case, at least one.
    pub handle_domains: Vec<String>,
    /// Base URL of the did:plc directory, without a slash at the end.
    pub plc_url: String,
    /// `did:key` put before this server's own rotation key in the DIDs it makes.
    pub recovery_did_key: Option<String>,
    /// Where handles are looked up; empty: where the system looks up names.
    pub nameservers: Vec<SocketAddr>,
    /// Asked when nothing else knows a handle.
    pub backup_nameservers: Vec<SocketAddr>,
    /// What may stand neither in handles nor in record keys.
    pub words: WordFilter,
    /// New accounts need an invite code.
    pub invite_required: bool,
    /// How accounts earn invite codes of their own; `None`: they do not.
    pub invite_schedule: Option<InviteSchedule>,
    /// Largest upload of a blob, in bytes.
    pub blob_upload_limit_bytes: u64,
    /// Largest CAR that `importRepo` takes, in bytes.
    pub import_limit_bytes: u64,
    /// Published by `describeServer`.
    pub privacy_policy_url: Option<String>,
    /// Published by `describeServer`.
    pub terms_of_service_url: Option<String>,
    /// Published by `describeServer`.
    pub contact_email: Option<String>,
    /// Where requests go that are not answered here.
    pub appview: Option<Service>,
    /// Address of images that the AppView has not seen yet: `%s` for the preset, the DID and the CID.
    pub appview_cdn_url_pattern: Option<String>,
    /// May look up accounts here and take down what they publish.
    pub mod_service: Option<Service>,
    /// Where reports go.
    pub report_service: Option<Service>,
    /// How mail is sent; `None`: the operator reads it in the outbox.
    pub mail: Option<MailSettings>,
    /// How long a deactivated account stays at least, whatever date of deletion its owner sets: a thief of a session
    /// cannot delete it before its owner notices.
    pub delete_grace: Duration,
    /// Base URLs of the relays that are told when there is something new, without a slash at the end.
    pub relays: Vec<String>,
    /// How far back the firehose log reaches.
    pub firehose_window: Duration,
    /// Open connections at a time, subscribers among them.
    pub connections_max: usize,
    /// How long a connection may do nothing between two requests, and how long the head of a request may take.
    pub connection_idle_max: Duration,
    /// How long a client may move nothing that is sending a body or taking an answer; see [`super::pace`].
    pub client_patience: Duration,
    /// What clients and accounts may ask for in a while.
    pub rate_limits: RateLimitSettings,
    /// Networks of the proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// A sandbox: `.test` handles, plain HTTP, no rate limits.
    pub dev: bool,
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The server that takes it.
    pub smtp: SmtpServer,
    /// Sender of codes: `Name <address>` or an address.
    pub from: String,
    /// Sender of what moderators write.
    pub moderation_from: String,
}

/// Another server that the operator has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Scheme, host and port, without a slash at the end.
    pub url: String,
    /// The audience of the tokens that it is sent.
    pub did: Did,
}

impl Settings {
    /// A sandbox that answers under `public_url`; what `rookery dev` and the tests start from.
    ///
    /// Identities are served for `localhost`, handles are under `.test`, invites are off.
    pub fn sandbox(public_url: &str, service_did: Did, plc_url: &str) -> Settings {
        Settings {
            hostname: "localhost".into(),
            public_url: public_url.trim_end_matches('/').into(),
            service_did,
            handle_domains: vec![".test".into()],
            plc_url: plc_url.trim_end_matches('/').into(),
            recovery_did_key: None,
            nameservers: Vec::new(),
            backup_nameservers: Vec::new(),
            words: WordFilter::default(),
            invite_required: false,
            invite_schedule: None,
            blob_upload_limit_bytes: 5 * 1024 * 1024,
            import_limit_bytes: 1024 * 1024 * 1024,
            privacy_policy_url: None,
            terms_of_service_url: None,
            contact_email: None,
            appview: None,
            appview_cdn_url_pattern: None,
            mod_service: None,
            report_service: None,
            mail: None,
            delete_grace: Duration::ZERO,
            relays: Vec::new(),
            firehose_window: Duration::from_secs(24 * 60 * 60),
            connections_max: 8192,
            connection_idle_max: Duration::from_secs(90),
            client_patience: Duration::from_secs(60),
            rate_limits: RateLimitSettings::off(),
            trusted_proxies: Vec::new(),
            dev: true,
        }
    }

    /// The service domain that `handle` stands under, when it is one of ours.
    pub fn handle_domain_of(&self, handle: &str) -> Option<&str> {
        self.handle_domains.iter().map(String::as_str).find(|domain| handle.ends_with(domain))
    }

    /// True for hosts that this server answers handles for: under a service domain, or one without its dot.
    pub fn is_ours(&self, host: &str) -> bool {
        self.handle_domains
            .iter()
            .any(|domain| host.ends_with(domain.as_str()) || domain.strip_prefix('.') == Some(host))
    }
}
