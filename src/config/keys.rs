//! Every setting there is: its name, its kind and its default. The table that all the rest is checked against.

/// What a setting's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number from `min` to `max`, both included.
    Integer {
        /// Smallest value accepted.
        min: i64,
        /// Largest value accepted.
        max: i64,
    },
    /// `true` or `false`.
    Flag,
    /// A list of strings; separated by commas in the environment.
    List,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The TOML table that it stands in.
    pub section: &'static str,
    /// Its name in that table; the unit is the last word of it.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// The default as TOML text; `None` when it has none or when it follows from other settings.
    pub default: Option<&'static str>,
}

impl Key {
    /// `section.name`, as errors call it.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// What the names of our environment variables begin with.
pub const VARIABLE_PREFIX: &str = "ROOKERY_";

/// Variables with our prefix that are not settings: the test suite and the scripts read them.
pub const OTHER_VARIABLES: &[&str] = &["ROOKERY_VECTORS", "ROOKERY_TARGET_DIR", "ROOKERY_TEST_CACHE"];

const GIB: i64 = 1 << 30;
const TIB: i64 = 1 << 40;

/// Networks that packets from outside do not come from: this machine, its link and private address space.
const PRIVATE_NETWORKS: &str = r#"["127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]"#;

/// Public relays that take requests to crawl: Bluesky's front door and the two machines behind it, which keep lists of their
/// own, and relays that others run, from public lists of 2026. One that ends costs a line in the log.
const RELAYS: &str = r#"["https://bsky.network", "https://relay1.us-west.bsky.network", "https://relay1.us-east.bsky.network", "https://northamerica.firehose.network", "https://europe.firehose.network", "https://asia.firehose.network", "https://relay.fire.hose.cam", "https://relay3.fr.hose.cam", "https://relay.upcloud.world"]"#;

const fn key(section: &'static str, name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { section, name, kind, default }
}

/// All settings, in the order of `config.example.toml`.
pub const KEYS: &[Key] = &[
    key("server", "hostname", Kind::Text, None),
    key("server", "listen", Kind::Text, Some("\"127.0.0.1:2583\"")),
    key("server", "public_url", Kind::Text, None),
    key("server", "data_dir", Kind::Text, Some("\"/var/lib/rookery\"")),
    key("server", "admin_password", Kind::Text, None),
    key("server", "admin_password_file", Kind::Text, None),
    key("server", "service_did", Kind::Text, None),
    key("server", "trusted_proxies", Kind::List, Some(PRIVATE_NETWORKS)),
    key("server", "connections_max", Kind::Integer { min: 16, max: 1_000_000 }, Some("8192")),
    key("server", "idle_secs", Kind::Integer { min: 1, max: 3600 }, Some("90")),
    key("server", "slow_client_secs", Kind::Integer { min: 1, max: 3600 }, Some("60")),
    key("identity", "plc_url", Kind::Text, Some("\"https://plc.directory\"")),
    key("identity", "handle_domains", Kind::List, None),
    key("identity", "recovery_did_key", Kind::Text, None),
    key("identity", "nameservers", Kind::List, None),
    key("identity", "backup_nameservers", Kind::List, None),
    key("identity", "slur_list", Kind::Text, None),
    key("accounts", "invite_required", Kind::Flag, Some("true")),
    key("accounts", "invite_interval_hours", Kind::Integer { min: 1, max: 24 * 366 }, None),
    key("accounts", "invite_epoch", Kind::Text, Some("\"1970-01-01T00:00:00Z\"")),
    key("storage", "reserve_bytes", Kind::Integer { min: 0, max: TIB }, Some("134217728")),
    key("blobs", "upload_limit_bytes", Kind::Integer { min: 1024, max: 64 * GIB }, Some("104857600")),
    key("repo", "import_limit_bytes", Kind::Integer { min: 1024, max: 64 * GIB }, Some("1073741824")),
    key("firehose", "retention_hours", Kind::Integer { min: 1, max: 24 * 366 }, Some("72")),
    key("firehose", "mark_file", Kind::Text, None),
    key("services", "appview_url", Kind::Text, Some("\"https://api.bsky.app\"")),
    key("services", "appview_did", Kind::Text, Some("\"did:web:api.bsky.app\"")),
    key("services", "appview_cdn_url_pattern", Kind::Text, None),
    key("services", "mod_url", Kind::Text, None),
    key("services", "mod_did", Kind::Text, None),
    key("services", "report_url", Kind::Text, Some("\"https://mod.bsky.app\"")),
    key("services", "report_did", Kind::Text, Some("\"did:plc:ar7c4by46qjdydhdevvrndac\"")),
    key("services", "relays", Kind::List, Some(RELAYS)),
    key("rate_limits", "enabled", Kind::Flag, Some("true")),
    key("rate_limits", "bypass_key", Kind::Text, None),
    key("rate_limits", "bypass_ips", Kind::List, Some("[]")),
    key("service", "name", Kind::Text, None),
    key("service", "contact_email", Kind::Text, None),
    key("service", "privacy_policy_url", Kind::Text, None),
    key("service", "terms_of_service_url", Kind::Text, None),
    key("mail", "smtp_url", Kind::Text, None),
    key("mail", "smtp_url_file", Kind::Text, None),
    key("mail", "from", Kind::Text, None),
    key("mail", "moderation_from", Kind::Text, None),
    key("secrets", "master_key_file", Kind::Text, None),
    key("log", "level", Kind::Text, Some("\"info\"")),
    key("log", "format", Kind::Text, Some("\"text\"")),
];

/// The setting called `section.name`.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The one of `known` that `name` was most likely meant to be; `None` when nothing is close.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let changes_max = name.chars().count().div_ceil(2);
    known
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(changes, _)| *changes <= changes_max)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: how many characters to insert, delete or replace to get from `a` to `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, a_char) in a.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, b_char) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(a_char != *b_char);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_insertions_deletions_and_replacements() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen", "listen", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a:?} to {b:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_close() {
        assert_eq!(nearest("hostnam", ["listen", "hostname"]), Some("hostname"));
        assert_eq!(nearest("zzz", ["listen", "hostname"]), None);
    }

    #[test]
    fn no_two_settings_share_a_name_or_a_variable() {
        let mut names: Vec<String> = KEYS.iter().map(Key::variable).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
