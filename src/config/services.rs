//! `[services]`: the servers that ours sends people's requests to. Each is a URL and the DID that it answers for, given
//! together; an empty URL switches it off.
//!
//! Not for: services that a client names itself (`atproto-proxy`); their addresses stand in DID documents.

use atproto::syntax::Did;

use super::{ConfigError, RawSettings, raw::Origin, url};

/// Other servers.
#[derive(Clone, Debug)]
pub struct ServicesConfig {
    /// Makes timelines and threads of everyone's records; requests for methods that we do not have go there.
    pub appview: Option<ServiceAt>,
    /// Where clients get images of records that the AppView has not seen yet: `%s` stands for the preset, the DID and the
    /// CID, in this order.
    pub appview_cdn_url_pattern: Option<String>,
    /// May take down what we host, and gets `tools.ozone.*` requests.
    pub moderation: Option<ServiceAt>,
    /// Gets reports; the moderation service when that is set and this is not.
    pub report: Option<ServiceAt>,
    /// Relays that are told when there is something new, without a slash at the end.
    pub relays: Vec<String>,
}

/// Where a service is, and who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAt {
    /// Scheme, host and port, without a slash at the end.
    pub url: String,
    /// The audience of the tokens that it is sent.
    pub did: Did,
}

/// How many values a CDN pattern takes: preset, DID, CID.
const CDN_PATTERN_VALUES: usize = 3;

pub(super) fn read(raw: &RawSettings) -> Result<ServicesConfig, ConfigError> {
    let moderation = service(raw, "services.mod_url", "services.mod_did")?;
    let report = match &moderation {
        Some(moderation) if is_default(raw, "services.report_url") => Some(moderation.clone()),
        _ => service(raw, "services.report_url", "services.report_did")?,
    };
    let relays_path = "services.relays";
    let relays = raw.list(relays_path).unwrap_or_default().iter();
    Ok(ServicesConfig {
        appview: service(raw, "services.appview_url", "services.appview_did")?,
        appview_cdn_url_pattern: cdn_url_pattern(raw)?,
        moderation,
        report,
        relays: relays.map(|relay| url(raw, relays_path, relay)).collect::<Result<_, _>>()?,
    })
}

fn is_default(raw: &RawSettings, path: &str) -> bool {
    raw.get(path).is_none_or(|(_, origin)| *origin == Origin::Default)
}

/// A URL with its DID. A token for one service must not reach another, so neither half of a default is mixed with
/// a half that the operator wrote.
fn service(
    raw: &RawSettings,
    url_path: &'static str,
    did_path: &'static str,
) -> Result<Option<ServiceAt>, ConfigError> {
    let Some(address) = raw.text(url_path).filter(|text| !text.is_empty()) else {
        let alone = raw.text(did_path).is_some_and(|text| !text.is_empty()) && !is_default(raw, did_path);
        return match alone {
            true => Err(raw.refuse(did_path, format!("is set without {url_path}; write both"))),
            false => Ok(None),
        };
    };
    if is_default(raw, url_path) != is_default(raw, did_path) {
        let (written, other) =
            if is_default(raw, url_path) { (did_path, url_path) } else { (url_path, did_path) };
        return Err(raw.refuse(written, format!("is set without {other}; write both")));
    }
    let did = raw.text(did_path).unwrap_or_default();
    let did = Did::parse(did).map_err(|error| raw.refuse(did_path, format!("is not a DID: {error}")))?;
    Ok(Some(ServiceAt { url: url(raw, url_path, address)?, did }))
}

fn cdn_url_pattern(raw: &RawSettings) -> Result<Option<String>, ConfigError> {
    let path = "services.appview_cdn_url_pattern";
    let Some(pattern) = raw.text(path).filter(|text| !text.is_empty()) else { return Ok(None) };
    let values = pattern.matches("%s").count();
    if values != CDN_PATTERN_VALUES || pattern.matches('%').count() != values {
        return Err(raw.refuse(
            path,
            format!("is {pattern:?}; write %s three times: for the preset, the DID and the CID"),
        ));
    }
    url(raw, path, &pattern.replace("%s", "x"))?;
    Ok(Some(pattern.to_owned()))
}
