//! Which service a request goes to: the one that the `atproto-proxy` header names (PX-1, PX-2), else the one that the
//! method belongs to.
//!
//! Not for: sending the request (`forward`).

use atproto::syntax::Did;

use super::Proxy;
use crate::service::{
    identity::{Freshness, ResolveError},
    outbound::OutboundError,
    settings::Service,
};

/// The id under which a DID document lists an AppView.
pub const APPVIEW_ID: &str = "bsky_appview";
/// The id under which a DID document lists a moderation service.
pub const LABELER_ID: &str = "atproto_labeler";

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Scheme, host and port, without a slash at the end.
    pub url: String,
    /// The audience of the token that goes with it. Without fragment: services do not yet take one (C-8).
    pub did: Did,
    pub(super) reach: Reach,
}

/// Which addresses a target may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Any: the operator wrote the address.
    Any,
    /// Public ones: the address stands in a DID document that anyone may have written (PX-6).
    Public,
}

/// Why there is no service to send a request to. Messages are the reference's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// `#service`
    #[error("no did specified in proxy header")]
    NoDid,
    /// `did:web:example.com` or `did:web:example.com#`
    #[error("no service id specified in proxy header")]
    NoServiceId,
    /// `did:web:example.com#a#b`, or bytes that are not text.
    #[error("invalid proxy header format")]
    Format,
    /// A space, before or after the `#`.
    #[error("proxy header cannot contain spaces")]
    Spaces,
    /// No such DID, or none that is resolved here.
    #[error("could not resolve proxy did")]
    UnknownDid,
    /// Whoever knows the DID does not answer.
    #[error("could not resolve proxy did")]
    Unresolved(#[source] ResolveError),
    /// The DID document lists no such service, or not by the address of a server.
    #[error("could not resolve proxy did service url")]
    NoService,
    /// The address is none that requests are sent to.
    #[error("could not use proxy did service url: {0}")]
    Address(#[source] OutboundError),
    /// The method belongs to a service that the operator has not set.
    #[error("No service configured for {0}")]
    NotConfigured(String),
}

/// A service as a header names it.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    did: &'a str,
    service_id: &'a str,
}

/// Which service a method belongs to when nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    AppView,
    Moderation,
    Reports,
}

impl Proxy {
    /// Where a call of `nsid` goes that came with this `atproto-proxy` header. A service that the operator has set needs
    /// no resolving, under its own id.
    pub async fn target(&self, nsid: &str, header: Option<&str>) -> Result<Target, TargetError> {
        match header.filter(|header| !header.is_empty()) {
            Some(header) => self.named(header).await,
            None => {
                self.home(nsid).map(configured).ok_or_else(|| TargetError::NotConfigured(nsid.to_owned()))
            }
        }
    }

    /// True when a call with this `atproto-proxy` header is meant for the AppView that the operator has set, or, without
    /// one, for the server itself.
    pub fn is_for_appview(&self, header: Option<&str>) -> bool {
        let Some(header) = header.filter(|header| !header.is_empty()) else { return true };
        self.inner
            .settings
            .appview
            .as_ref()
            .is_some_and(|appview| header == format!("{}#{APPVIEW_ID}", appview.did))
    }

    /// The service that `service_id` of the DID document of `did` names.
    pub(super) async fn resolve(
        &self,
        did: &Did,
        service_id: &str,
        service_type: Option<&str>,
    ) -> Result<Target, TargetError> {
        let document =
            self.inner.did_resolver.resolve(did, Freshness::Cached).await.map_err(|error| match error {
                ResolveError::Failed { .. } => TargetError::Unresolved(error),
                _ => TargetError::UnknownDid,
            })?;
        let id = format!("#{service_id}");
        let found = match service_type {
            Some(service_type) => document.typed_service_endpoint(&id, service_type),
            None => document.service_endpoint(&id),
        };
        let url = found.ok_or(TargetError::NoService)?;
        let parsed = reqwest::Url::parse(&url).map_err(|_| TargetError::NoService)?;
        self.inner.outbound.check(&parsed).map_err(TargetError::Address)?;
        Ok(Target { url, did: did.clone(), reach: Reach::Public })
    }

    async fn named(&self, header: &str) -> Result<Target, TargetError> {
        let Named { did, service_id } = parse_header(header)?;
        let settings = &self.inner.settings;
        let known = [
            (&settings.appview, APPVIEW_ID),
            (&settings.mod_service, LABELER_ID),
            (&settings.report_service, LABELER_ID),
        ];
        let known = known
            .into_iter()
            .filter(|(_, id)| *id == service_id)
            .find_map(|(service, _)| service.as_ref().filter(|service| service.did.as_str() == did));
        if let Some(service) = known {
            return Ok(configured(service));
        }
        let did = Did::parse(did).map_err(|_| TargetError::UnknownDid)?;
        self.resolve(&did, service_id, None).await
    }

    fn home(&self, nsid: &str) -> Option<&Service> {
        let settings = &self.inner.settings;
        match home_of(nsid) {
            Home::AppView => settings.appview.as_ref(),
            Home::Moderation => settings.mod_service.as_ref(),
            Home::Reports => settings.report_service.as_ref(),
        }
    }
}

/// A service that the operator has set.
pub(super) fn configured(service: &Service) -> Target {
    Target { url: service.url.clone(), did: service.did.clone(), reach: Reach::Any }
}

fn parse_header(header: &str) -> Result<Named<'_>, TargetError> {
    let (did, service_id) = match header.split_once('#') {
        Some(("", _)) => return Err(TargetError::NoDid),
        None | Some((_, "")) => return Err(TargetError::NoServiceId),
        Some(parts) => parts,
    };
    if service_id.contains('#') {
        return Err(TargetError::Format);
    }
    if header.contains(' ') {
        return Err(TargetError::Spaces);
    }
    Ok(Named { did, service_id })
}

/// A fixed list and no prefixes: a method of these groups that is not in it goes to the AppView.
fn home_of(nsid: &str) -> Home {
    match nsid {
        "com.atproto.moderation.createReport" => Home::Reports,
        _ if MODERATION_METHODS.binary_search(&nsid).is_ok() => Home::Moderation,
        _ => Home::AppView,
    }
}

/// Methods of a moderation service, sorted.
const MODERATION_METHODS: [&str; 27] = [
    "tools.ozone.communication.createTemplate",
    "tools.ozone.communication.deleteTemplate",
    "tools.ozone.communication.listTemplates",
    "tools.ozone.communication.updateTemplate",
    "tools.ozone.moderation.cancelScheduledActions",
    "tools.ozone.moderation.emitEvent",
    "tools.ozone.moderation.getAccountTimeline",
    "tools.ozone.moderation.getEvent",
    "tools.ozone.moderation.getRecord",
    "tools.ozone.moderation.getRepo",
    "tools.ozone.moderation.listScheduledActions",
    "tools.ozone.moderation.queryEvents",
    "tools.ozone.moderation.queryStatuses",
    "tools.ozone.moderation.scheduleAction",
    "tools.ozone.moderation.searchRepos",
    "tools.ozone.safelink.addRule",
    "tools.ozone.safelink.queryEvents",
    "tools.ozone.safelink.queryRules",
    "tools.ozone.safelink.removeRule",
    "tools.ozone.safelink.updateRule",
    "tools.ozone.team.addMember",
    "tools.ozone.team.deleteMember",
    "tools.ozone.team.listMembers",
    "tools.ozone.team.updateMember",
    "tools.ozone.verification.grantVerifications",
    "tools.ozone.verification.listVerifications",
    "tools.ozone.verification.revokeVerifications",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// PX-1
    #[test]
    fn a_header_is_a_did_and_a_service_id_and_nothing_else() {
        let named = parse_header("did:web:a.example#svc").unwrap();
        assert_eq!(named, Named { did: "did:web:a.example", service_id: "svc" });
        for (header, message) in [
            ("#svc", "no did specified in proxy header"),
            ("#", "no did specified in proxy header"),
            ("did:web:a.example", "no service id specified in proxy header"),
            ("did:web:a.example#", "no service id specified in proxy header"),
            ("did:web:a.example#a#b", "invalid proxy header format"),
            ("did:web:a.example#a#", "invalid proxy header format"),
            ("did:web:a.example #a", "proxy header cannot contain spaces"),
            ("did:web:a.example#a ", "proxy header cannot contain spaces"),
        ] {
            assert_eq!(parse_header(header).unwrap_err().to_string(), message, "{header:?}");
        }
    }

    #[test]
    fn moderation_methods_are_a_sorted_list_and_no_prefix() {
        assert!(MODERATION_METHODS.is_sorted());
        assert_eq!(home_of("tools.ozone.moderation.emitEvent"), Home::Moderation);
        assert_eq!(home_of("tools.ozone.moderation.emitevent"), Home::AppView);
        assert_eq!(home_of("tools.ozone.set.getValues"), Home::AppView);
        assert_eq!(home_of("com.atproto.moderation.createReport"), Home::Reports);
        assert_eq!(home_of("chat.bsky.convo.listConvos"), Home::AppView);
    }
}
