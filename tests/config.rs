//! Configuration: layers, refusals, and the example file that documents it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, path::Path};

use rookery::config::{Config, ConfigError, LogFormat, keys::KEYS, read_word_list};

const EXAMPLE: &str = include_str!("../config.example.toml");

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::from_sources(Some((text, Path::new("config.toml"))), [])
}

fn from_both(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(Some((text, Path::new("config.toml"))), variables)
}

fn refusal(text: &str) -> String {
    from_file(text).expect_err("this configuration has a mistake in it").to_string()
}

/// The example with every setting switched on.
fn example_in_full() -> String {
    EXAMPLE.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn one_line_is_enough_for_a_configuration() {
    let config = from_file("[server]\nhostname = \"pds.example.com\"").unwrap();

    assert_eq!(config.server.public_url, "https://pds.example.com");
    assert_eq!(config.server.service_did.as_str(), "did:web:pds.example.com");
    assert_eq!(config.server.listen, "127.0.0.1:2583".parse().unwrap());
    assert_eq!(config.identity.handle_domains, [".pds.example.com"]);
    assert_eq!(config.secrets.master_key_file, config.server.data_dir.join("master.key"));
    assert!(config.accounts.invite_required);
    assert!(config.server.admin_password.is_none());
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn the_example_parses_as_it_is() {
    from_file(EXAMPLE).unwrap();
}

#[test]
fn the_example_parses_with_every_setting_switched_on() {
    // The two ways of giving a secret exclude each other.
    let text: String = example_in_full()
        .lines()
        .filter(|line| !line.starts_with("admin_password_file") && !line.starts_with("smtp_url_file"))
        .collect::<Vec<_>>()
        .join("\n");
    from_file(&text).unwrap();
}

#[test]
fn the_example_lists_every_setting_and_no_other() {
    let document: toml::Table = example_in_full().parse().unwrap();
    let written: BTreeSet<String> = document
        .iter()
        .flat_map(|(section, table)| {
            table.as_table().unwrap().keys().map(move |name| format!("{section}.{name}"))
        })
        .collect();
    let known: BTreeSet<String> = KEYS.iter().map(|key| key.path()).collect();
    assert_eq!(written, known);
}

#[test]
fn the_defaults_that_the_example_states_are_the_real_ones() {
    let document: toml::Table = example_in_full().parse().unwrap();
    let mut compared = 0;
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let default: toml::Table = format!("value = {default}").parse().unwrap();
        assert_eq!(document[key.section][key.name], default["value"], "{}", key.path());
        compared += 1;
    }
    assert!(compared > 5);
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[server]\nhostname = \"a.example\"\nlisten = \"127.0.0.1:1\"";
    let config = from_both(
        file,
        &[
            ("ROOKERY_SERVER_LISTEN", "0.0.0.0:80"),
            ("ROOKERY_ACCOUNTS_INVITE_REQUIRED", "false"),
            ("ROOKERY_IDENTITY_HANDLE_DOMAINS", ".a.example, .b.example"),
            ("ROOKERY_BLOBS_UPLOAD_LIMIT_BYTES", "2048"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();

    assert_eq!(config.server.hostname, "a.example");
    assert_eq!(config.server.listen, "0.0.0.0:80".parse().unwrap());
    assert!(!config.accounts.invite_required);
    assert_eq!(config.identity.handle_domains, [".a.example", ".b.example"]);
    assert_eq!(config.blobs.upload_limit_bytes, 2048);
}

#[test]
fn the_environment_alone_is_enough() {
    let variables = [("ROOKERY_SERVER_HOSTNAME".to_owned(), "pds.example.com".to_owned())];
    assert_eq!(Config::from_sources(None, variables).unwrap().server.hostname, "pds.example.com");
}

#[test]
fn every_setting_has_its_variable() {
    for key in KEYS {
        let expected = format!("ROOKERY_{}_{}", key.section.to_uppercase(), key.name.to_uppercase());
        assert_eq!(key.variable(), expected);
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
    let message = refusal("[server]\nhostname = \"a.example\"\n\nlitsen = \"127.0.0.1:1\"");
    assert!(message.contains("config.toml, line 4"), "{message}");
    assert!(message.contains("\"server.listen\""), "{message}");
}

#[test]
fn an_unknown_section_names_the_nearest_known_section() {
    let message = refusal("[sever]\nhostname = \"a.example\"");
    assert!(message.contains("line 1") && message.contains("\"server\""), "{message}");
}

#[test]
fn an_unknown_variable_names_the_nearest_known_variable() {
    let message = from_both("[server]\nhostname = \"a.example\"", &[("ROOKERY_SERVER_LISTE", "x")])
        .unwrap_err()
        .to_string();
    assert!(message.contains("\"ROOKERY_SERVER_LISTEN\""), "{message}");
}

#[test]
fn variables_of_the_test_suite_are_not_settings() {
    from_both("[server]\nhostname = \"a.example\"", &[("ROOKERY_VECTORS", "/somewhere")]).unwrap();
}

#[test]
fn a_missing_hostname_says_how_to_set_it() {
    let message = refusal("");
    assert!(message.contains("server.hostname") && message.contains("ROOKERY_SERVER_HOSTNAME"), "{message}");
}

#[test]
fn text_that_is_not_toml_names_its_line() {
    let message = refusal("[server]\nhostname = ");
    assert!(message.contains("config.toml, line 2"), "{message}");
}

#[test]
fn wrong_values_are_refused_with_the_setting_and_its_line() {
    for (line, named) in [
        ("hostname = 3", "server.hostname"),
        ("hostname = \"https://a.example\"", "server.hostname"),
        ("hostname = \"a.example:3000\"", "server.hostname"),
        ("hostname = \"\"", "server.hostname"),
        ("hostname = \"a.example\"\nlisten = \"localhost\"", "server.listen"),
        ("hostname = \"a.example\"\npublic_url = \"ftp://a.example\"", "server.public_url"),
        ("hostname = \"a.example\"\npublic_url = \"https://a.example/?x\"", "server.public_url"),
        ("hostname = \"a.example\"\nservice_did = \"a.example\"", "server.service_did"),
        ("hostname = \"a.example\"\nadmin_password = \"\"", "server.admin_password"),
        (
            "hostname = \"a.example\"\nadmin_password = \"x\"\nadmin_password_file = \"y\"",
            "server.admin_password",
        ),
        ("hostname = \"a.example\"\n[identity]\nhandle_domains = \".a.example\"", "identity.handle_domains"),
        ("hostname = \"a.example\"\n[identity]\nhandle_domains = [\"a.example\"]", "identity.handle_domains"),
        (
            "hostname = \"a.example\"\n[identity]\nrecovery_did_key = \"did:web:x\"",
            "identity.recovery_did_key",
        ),
        ("hostname = \"a.example\"\n[blobs]\nupload_limit_bytes = 0", "blobs.upload_limit_bytes"),
        ("hostname = \"a.example\"\n[blobs]\nupload_limit_bytes = \"5 MB\"", "blobs.upload_limit_bytes"),
        ("hostname = \"a.example\"\n[firehose]\nretention_hours = 1000000", "firehose.retention_hours"),
        ("hostname = \"a.example\"\n[accounts]\ninvite_required = \"no\"", "accounts.invite_required"),
        ("hostname = \"a.example\"\n[accounts]\ninvite_epoch = \"soon\"", "2026-01-01T00:00:00Z"),
        ("hostname = \"a.example\"\n[accounts]\ninvite_interval_hours = 0", "accounts.invite_interval_hours"),
        ("hostname = \"a.example\"\n[service]\ncontact_email = \"me\"", "service.contact_email"),
        ("hostname = \"a.example\"\n[log]\nformat = \"xml\"", "log.format"),
        ("hostname = \"a.example\"\n[log]\nlevel = \"rookery=loud\"", "log.level"),
    ] {
        let message = refusal(&format!("[server]\n{line}"));
        assert!(message.contains(named), "{line:?}: {message}");
        assert!(message.contains("config.toml, line "), "{line:?}: {message}");
    }
}

#[test]
fn reports_and_reads_go_to_bluesky_until_told_otherwise_and_nobody_moderates_from_outside() {
    let services = from_file("[server]\nhostname = \"a.example\"").unwrap().services;
    assert_eq!(services.appview.unwrap().did.as_str(), "did:web:api.bsky.app");
    assert_eq!(services.report.unwrap().url, "https://mod.bsky.app");
    assert_eq!(services.moderation, None);
    assert_eq!(services.relays.first().unwrap(), "https://bsky.network");
    assert!(services.relays.len() > 3, "one relay that ends must not cut a server off");
}

#[test]
fn an_empty_url_switches_a_service_off() {
    let text =
        "[server]\nhostname = \"a.example\"\n[services]\nappview_url = \"\"\nreport_url = \"\"\nrelays = []";
    let services = from_file(text).unwrap().services;
    assert_eq!((services.appview, services.report), (None, None));
    assert!(services.relays.is_empty());
}

#[test]
fn reports_go_to_the_moderation_service_unless_told_otherwise() {
    let moderated = "[server]\nhostname = \"a.example\"\n[services]\nmod_url = \"https://m.example/\"\nmod_did = \"did:web:m.example\"";
    let services = from_file(moderated).unwrap().services;
    assert_eq!(services.moderation.as_ref().unwrap().url, "https://m.example");
    assert_eq!(services.report, services.moderation);
    let off = from_file(&format!("{moderated}\nreport_url = \"\"")).unwrap().services;
    assert_eq!(off.report, None);
}

#[test]
fn a_service_needs_its_url_and_its_did() {
    for (lines, named) in [
        ("appview_url = \"https://v.example\"", "services.appview_did"),
        ("appview_did = \"did:web:v.example\"", "services.appview_url"),
        ("mod_url = \"https://v.example\"", "services.mod_did"),
        ("mod_did = \"did:web:v.example\"", "services.mod_url"),
        ("report_did = \"did:web:v.example\"", "services.report_url"),
        ("appview_url = \"v.example\"\nappview_did = \"did:web:v.example\"", "services.appview_url"),
        ("appview_url = \"https://v.example\"\nappview_did = \"v.example\"", "services.appview_did"),
        ("relays = [\"bsky.network\"]", "services.relays"),
        ("appview_cdn_url_pattern = \"https://c.example/%s\"", "services.appview_cdn_url_pattern"),
    ] {
        let message = refusal(&format!("[server]\nhostname = \"a.example\"\n[services]\n{lines}"));
        assert!(message.contains(named), "{lines:?}: {message}");
        assert!(message.contains("config.toml, line "), "{lines:?}: {message}");
    }
}

#[test]
fn a_section_written_as_a_value_is_refused() {
    let message = refusal("server = 1");
    assert!(message.contains("[server] is a section"), "{message}");
}

#[test]
fn neither_errors_nor_debug_output_show_the_admin_password() {
    let config = from_file("[server]\nhostname = \"a.example\"\nadmin_password = \"open sesame\"").unwrap();
    assert!(!format!("{config:?}").contains("sesame"));
    let message = refusal(
        "[server]\nhostname = \"a.example\"\nadmin_password = \"open sesame\"\nadmin_password_file = \"x\"",
    );
    assert!(!message.contains("sesame"), "{message}");
}

#[test]
fn the_admin_password_can_stand_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    let text =
        format!("[server]\nhostname = \"a.example\"\nadmin_password_file = {:?}", path.to_str().unwrap());
    assert_eq!(
        from_file(&text).unwrap().server.admin_password.as_deref().map(String::as_str),
        Some("open sesame")
    );
}

#[test]
fn networks_are_read_as_addresses_and_in_cidr_notation() {
    let text = "[server]\nhostname = \"a.example\"\ntrusted_proxies = [\"198.51.100.7\", \"2001:db8::9/32\"]";
    let config = from_file(text).unwrap();
    let networks: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["198.51.100.7/32", "2001:db8::/32"]);
    assert!(config.rate_limits.enabled);

    for (section, list) in [("server", "trusted_proxies"), ("rate_limits", "bypass_ips")] {
        let text = format!("[{section}]\n{list} = [\"10.0.0.0/33\"]\n[server]\nhostname = \"a.example\"");
        let text = text.replace("\n[server]", if section == "server" { "" } else { "\n[server]" });
        let refusal = refusal(&text);
        assert!(refusal.contains("10.0.0.0/33") && refusal.contains(list), "{refusal}");
    }
}

#[test]
fn a_bypass_key_is_long_and_does_not_show() {
    let with = |key: &str| {
        from_file(&format!("[server]\nhostname = \"a.example\"\n[rate_limits]\nbypass_key = \"{key}\""))
    };
    let config = with("sixteen letters!").unwrap();
    assert!(!format!("{config:?}").contains("sixteen"));
    let refusal = with("too short").unwrap_err().to_string();
    assert!(refusal.contains("rate_limits.bypass_key") && refusal.contains("16"), "{refusal}");
    assert!(!refusal.contains("too short"));
}

#[test]
fn mail_needs_a_server_and_a_sender_and_mistakes_do_not_show_the_password() {
    let with = |mail: &str| format!("[server]\nhostname = \"pds.example.com\"\n[mail]\n{mail}");
    assert!(from_file(&with("")).unwrap().mail.is_none());
    let url = "smtp_url = \"smtps://user:hidden@mail.example.com\"";
    let mail = from_file(&with(&format!("{url}\nfrom = \"PDS <a@example.com>\""))).unwrap().mail.unwrap();
    assert_eq!(
        (mail.from.as_str(), mail.moderation_from.as_str()),
        ("PDS <a@example.com>", "PDS <a@example.com>")
    );
    assert_eq!((mail.smtp.host.as_str(), mail.smtp.port), ("mail.example.com", 465));
    assert!(!format!("{mail:?}").contains("hidden"));
    for (mistake, said) in [
        (url.to_owned(), "mail.from is not set"),
        ("from = \"a@example.com\"".to_owned(), "mail.smtp_url is not"),
        (format!("{url}\nfrom = \"nobody\""), "mail.from is not a sender"),
        (format!("{url}\nsmtp_url_file = \"x\"\nfrom = \"a@example.com\""), "keep one"),
        ("smtp_url = \"smtps://user:hid/den@mail.example.com\"\nfrom = \"a@example.com\"".to_owned(), "%2F"),
    ] {
        let refusal = refusal(&with(&mistake));
        assert!(refusal.contains(said) && !refusal.contains("hid"), "{mistake}: {refusal}");
    }
}

/// The list is a file of its own: it is read when the server starts.
#[test]
fn a_list_of_words_that_cannot_be_read_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("words.txt");
    assert!(read_word_list(Some(&file)).unwrap_err().to_string().contains("slur_list"));
    std::fs::write(&file, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(read_word_list(Some(&file)).unwrap_err().to_string().contains("words.txt has 1048577 bytes"));
    std::fs::write(&file, "word\n").unwrap();
    assert_eq!(read_word_list(Some(&file)).unwrap(), "word\n");
    assert_eq!(read_word_list(None).unwrap(), "");
}

#[test]
fn name_servers_are_addresses_with_or_without_a_port() {
    let read = |list: &str| {
        let text = format!("[server]\nhostname = \"pds.example.com\"\n[identity]\nnameservers = {list}\n");
        from_file(&text).map(|config| config.identity.nameservers)
    };
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        read(r#"["9.9.9.9", "127.0.0.1:5353", "2620:fe::fe", "[::1]:5353"]"#).unwrap(),
        addresses(&["9.9.9.9:53", "127.0.0.1:5353", "[2620:fe::fe]:53", "[::1]:5353"])
    );
    assert!(read(r#"["dns.example.com"]"#).unwrap_err().to_string().contains("dns.example.com"));
    assert!(read(r#"["::1", "::2", "::3", "::4", "::5"]"#).unwrap_err().to_string().contains("more than 4"));
}

#[test]
fn the_reserve_of_the_disk_can_be_set_and_switched_off() {
    let reserve = |line: &str| {
        let text = format!("[server]\nhostname = \"pds.example.com\"\n[storage]\n{line}");
        from_file(&text).map(|config| config.storage.reserve_bytes).map_err(|error| error.to_string())
    };
    assert_eq!(reserve(""), Ok(128 << 20));
    assert_eq!(reserve("reserve_bytes = 0"), Ok(0));
    assert_eq!(reserve("reserve_bytes = 1073741824"), Ok(1 << 30));
    assert!(reserve("reserve_bytes = -1").unwrap_err().contains("storage.reserve_bytes"));
}
