//! `[identity]`: the did:plc directory, handles, and where they are looked up.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr as _,
};

use atproto::{crypto::PublicKey, syntax::Handle};

use super::{ConfigError, IdentityConfig, raw::RawSettings, required, url};

/// Name servers of each kind; more would only make a failing lookup slower.
const NAMESERVERS_MAX: usize = 4;
/// A list of words larger than this is not one, in bytes.
const WORD_LIST_BYTES_MAX: u64 = 1 << 20;
const DNS_PORT: u16 = 53;

/// Reads the section.
pub(super) fn read(raw: &RawSettings, hostname: &str) -> Result<IdentityConfig, ConfigError> {
    let domains_path = "identity.handle_domains";
    let handle_domains = match raw.list(domains_path) {
        Some(domains) => domains.to_vec(),
        None => vec![format!(".{hostname}")],
    };
    for domain in &handle_domains {
        check_handle_domain(domain).map_err(|why| raw.refuse(domains_path, why))?;
    }
    let key_path = "identity.recovery_did_key";
    if let Some(did_key) = raw.text(key_path) {
        PublicKey::from_did_key(did_key)
            .map_err(|error| raw.refuse(key_path, format!("is not a did:key: {error}")))?;
    }
    Ok(IdentityConfig {
        plc_url: url(raw, "identity.plc_url", required(raw, "identity.plc_url")?)?,
        handle_domains,
        recovery_did_key: raw.text(key_path).map(str::to_owned),
        nameservers: nameservers(raw, "identity.nameservers")?,
        backup_nameservers: nameservers(raw, "identity.backup_nameservers")?,
        slur_list: raw.text("identity.slur_list").map(PathBuf::from),
    })
}

/// A leading dot and a domain that makes valid handles.
fn check_handle_domain(domain: &str) -> Result<(), String> {
    if domain.starts_with('.') && Handle::from_str(&format!("a{domain}")).is_ok() {
        return Ok(());
    }
    Err(format!("contains {domain:?}; write a domain with a leading dot, such as \".pds.example.com\""))
}

/// Addresses, each with a port or at the usual one.
fn nameservers(raw: &RawSettings, path: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let written = raw.list(path).unwrap_or_default();
    if written.len() > NAMESERVERS_MAX {
        return Err(raw.refuse(path, format!("has more than {NAMESERVERS_MAX} name servers")));
    }
    let address = |text: &String| {
        let plain = IpAddr::from_str(text).map(|ip| SocketAddr::new(ip, DNS_PORT));
        plain.or_else(|_| SocketAddr::from_str(text)).map_err(|_| {
            raw.refuse(
                path,
                format!("contains {text:?}; write an address such as \"9.9.9.9\" or \"[::1]:5353\""),
            )
        })
    };
    written.iter().map(address).collect()
}

/// The text of the file that `identity.slur_list` names; without one, none.
pub fn read_word_list(file: Option<&Path>) -> Result<String, ConfigError> {
    let Some(file) = file else { return Ok(String::new()) };
    let refuse = |problem: String| ConfigError::File { path: file.to_owned(), problem };
    let unreadable = |error: std::io::Error| refuse(format!("cannot be read (identity.slur_list): {error}"));
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > WORD_LIST_BYTES_MAX {
        return Err(refuse(format!("has {bytes} bytes; a list of words has at most {WORD_LIST_BYTES_MAX}")));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}
