//! `[rate_limits]`, and the lists of networks of other sections.

use std::net::IpAddr;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{ConfigError, raw::RawSettings};

/// A key that lets requests pass uncounted has to be this long, in characters.
const BYPASS_KEY_CHARS_MIN: usize = 16;

/// What clients and accounts may ask for in a while.
#[derive(Clone)]
pub struct RateLimitsConfig {
    /// Requests are counted and refused beyond the limits.
    pub enabled: bool,
    /// Requests that carry it are not counted.
    pub bypass_key: Option<Zeroizing<String>>,
    /// Requests from these networks are not counted.
    pub bypass_ips: Vec<IpNet>,
}

impl std::fmt::Debug for RateLimitsConfig {
    /// Everything but the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitsConfig")
            .field("enabled", &self.enabled)
            .field("bypass_ips", &self.bypass_ips)
            .finish_non_exhaustive()
    }
}

pub(super) fn read(raw: &RawSettings) -> Result<RateLimitsConfig, ConfigError> {
    let key_path = "rate_limits.bypass_key";
    let bypass_key = raw.text(key_path);
    if bypass_key.is_some_and(|key| key.chars().count() < BYPASS_KEY_CHARS_MIN || !key.is_ascii()) {
        return Err(raw.refuse(
            key_path,
            format!(
                "has to be at least {BYPASS_KEY_CHARS_MIN} ASCII characters, so that nobody guesses it; \
                 remove it when nothing is to pass uncounted"
            ),
        ));
    }
    Ok(RateLimitsConfig {
        enabled: raw.flag("rate_limits.enabled"),
        bypass_key: bypass_key.map(|key| Zeroizing::new(key.to_owned())),
        bypass_ips: networks(raw, "rate_limits.bypass_ips")?,
    })
}

/// A list of addresses and of networks in CIDR notation.
pub(super) fn networks(raw: &RawSettings, path: &str) -> Result<Vec<IpNet>, ConfigError> {
    let items = raw.list(path).unwrap_or_default();
    let parse = |text: &String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| network.trunc()).map_err(|_| {
            let why = format!(
                "contains {text:?}; write addresses or networks such as \"10.0.0.0/8\" or \"fc00::/7\""
            );
            raw.refuse(path, why)
        })
    };
    items.iter().map(parse).collect()
}
