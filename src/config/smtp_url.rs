//! The address of an SMTP server as operators write it: `smtps://user:password@mail.example.com:465`.
//!
//! What goes wrong most often is a password with characters that have a meaning in URLs, so every refusal that may come
//! of one says how to write them. No message repeats the URL: it holds the password.
//!
//! Not for: speaking to the server (`service::mail`).

use zeroize::Zeroizing;

/// Port of mail submission with STARTTLS.
const SUBMISSION_PORT: u16 = 587;
/// Port of mail submission with TLS from the first byte.
const SUBMISSIONS_PORT: u16 = 465;
/// Port of servers that take mail without a password.
const RELAY_PORT: u16 = 25;

/// Said wherever a character that has a meaning may be the reason.
const ENCODING_HINT: &str = "a user name or password with characters that have a meaning in URLs has to be percent-encoded: \
     @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25, a blank is %20";

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte (`smtps://`).
    Tls,
    /// With STARTTLS, or no mail is sent.
    StartTls,
    /// With STARTTLS when the server offers it.
    StartTlsIfOffered,
    /// Never. For a server on the same machine.
    Never,
}

/// An SMTP server and how to sign in to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// Host name or address; also the name that its certificate has to be for.
    pub host: String,
    /// Port.
    pub port: u16,
    /// When the connection is encrypted.
    pub encryption: Encryption,
    /// User name and password.
    pub credentials: Option<(String, Zeroizing<String>)>,
}

impl std::fmt::Debug for SmtpServer {
    /// Everything but the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

impl SmtpServer {
    /// Reads `smtp://` or `smtps://`, perhaps a user name and password, a host, perhaps a port, and perhaps
    /// `?starttls=required|optional|never`.
    ///
    /// Without the latter, `smtp://` insists on STARTTLS when there is a password to protect and the server is not on
    /// this machine.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write, as the end of a sentence that begins with the setting's name.
    pub fn parse(text: &str) -> Result<SmtpServer, String> {
        let rest = text.strip_prefix("smtp://").or_else(|| text.strip_prefix("smtps://"));
        let Some(rest) = rest else {
            return Err(
                "has to begin with smtp:// (port 587, STARTTLS) or smtps:// (port 465, TLS); write for \
                        example \"smtps://user:password@mail.example.com:465\""
                    .into(),
            );
        };
        // An @ after the part where the host should stand belongs to a password that was cut off there.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if rest.get(authority.len()..).is_some_and(|tail| tail.contains('@')) {
            return Err(format!("cannot be read: {ENCODING_HINT}"));
        }
        let url = reqwest::Url::parse(text)
            .map_err(|error| format!("cannot be read ({error}): {ENCODING_HINT}"))?;
        let host =
            url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(format!("names no server: {ENCODING_HINT}"));
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err("has something after the server's name and port; leave it out".into());
        }
        let credentials = match (decode(url.username())?, url.password().map(decode).transpose()?) {
            (user, None) if user.is_empty() => None,
            (user, None) => {
                return Err(format!("has the user name {user:?} and no password; write user:password@"));
            }
            (user, Some(password)) => Some((user, Zeroizing::new(password))),
        };
        let encryption = encryption(&url, &host, credentials.is_some())?;
        let default_port = match encryption {
            Encryption::Tls => SUBMISSIONS_PORT,
            _ if credentials.is_some() => SUBMISSION_PORT,
            _ => RELAY_PORT,
        };
        Ok(SmtpServer { port: url.port().unwrap_or(default_port), host, encryption, credentials })
    }
}

fn encryption(url: &reqwest::Url, host: &str, has_password: bool) -> Result<Encryption, String> {
    let wish = match url.query() {
        None | Some("") => None,
        Some(query) => match query.strip_prefix("starttls=") {
            Some(wish @ ("required" | "optional" | "never")) => Some(wish),
            _ => {
                return Err(
                    "may have ?starttls=required, ?starttls=optional or ?starttls=never at its end, and nothing else"
                        .into(),
                );
            }
        },
    };
    match (url.scheme(), wish) {
        ("smtps", None) => Ok(Encryption::Tls),
        ("smtps", Some(_)) => {
            Err("asks for smtps:// and STARTTLS at once; write smtp:// for STARTTLS".into())
        }
        (_, Some("required")) => Ok(Encryption::StartTls),
        (_, Some("never")) => Ok(Encryption::Never),
        (_, Some(_)) => Ok(Encryption::StartTlsIfOffered),
        (_, None) if has_password && !is_this_machine(host) => Ok(Encryption::StartTls),
        (_, None) => Ok(Encryption::StartTlsIfOffered),
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Takes percent-encoding back. A `%` that begins none is refused: it is not known whether it was meant as itself.
fn decode(text: &str) -> Result<String, String> {
    let refuse = || format!("has a % in its user name or password that encodes nothing: {ENCODING_HINT}");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(refuse)?;
        let [high, low] =
            digits.map(|digit| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok()));
        bytes.push(high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(refuse)?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Server, port, encryption, user, password.
    fn parse(text: &str) -> (String, u16, Encryption, String, String) {
        let server = SmtpServer::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let (user, password) = server.credentials.unwrap_or_default();
        (server.host, server.port, server.encryption, user, password.to_string())
    }

    #[test]
    fn an_address_says_server_port_encryption_and_who_signs_in() {
        use Encryption::{Never, StartTls, StartTlsIfOffered, Tls};
        for (text, host, port, encryption, user, password) in [
            ("smtps://u:p@mail.example.com", "mail.example.com", 465, Tls, "u", "p"),
            ("smtps://u:p@mail.example.com:2465/", "mail.example.com", 2465, Tls, "u", "p"),
            ("smtp://u:p@mail.example.com", "mail.example.com", 587, StartTls, "u", "p"),
            ("smtp://mail.example.com", "mail.example.com", 25, StartTlsIfOffered, "", ""),
            ("smtp://localhost:1025", "localhost", 1025, StartTlsIfOffered, "", ""),
            ("smtp://u:p@127.0.0.1:1025", "127.0.0.1", 1025, StartTlsIfOffered, "u", "p"),
            ("smtp://u:p@[::1]:1025", "::1", 1025, StartTlsIfOffered, "u", "p"),
            ("smtp://mail.example.com?starttls=required", "mail.example.com", 25, StartTls, "", ""),
            ("smtp://u:p@mailpit:1025?starttls=never", "mailpit", 1025, Never, "u", "p"),
            ("smtp://u:p@mailpit:1025?starttls=optional", "mailpit", 1025, StartTlsIfOffered, "u", "p"),
            // An address as user name is common, and clear without encoding.
            (
                "smtps://me@example.com:p@smtp.example.com",
                "smtp.example.com",
                465,
                Tls,
                "me@example.com",
                "p",
            ),
            (
                "smtps://me%40example.com:p%2Fq%23%25%20r%3A@smtp.example.com",
                "smtp.example.com",
                465,
                Tls,
                "me@example.com",
                "p/q#% r:",
            ),
            ("smtps://u:p+q&r=s!@smtp.example.com", "smtp.example.com", 465, Tls, "u", "p+q&r=s!"),
        ] {
            let expected = (host.to_owned(), port, encryption, user.to_owned(), password.to_owned());
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_with_the_way_to_write_it_and_not_repeated() {
        for text in [
            "smtps://u:sec/ret@mail.example.com",
            "smtps://u:sec#ret@mail.example.com",
            "smtps://u:sec?ret@mail.example.com",
            "smtps://u:1/ret@mail.example.com",
            "smtps://u:secret%@mail.example.com",
            "smtps://u:secret%zz@mail.example.com",
            "smtps://u:secret[@mail.example.com]",
            "smtps://u:secret@",
        ] {
            let why = SmtpServer::parse(text).unwrap_err();
            assert!(why.contains("percent-encoded") && why.contains("%40"), "{text}: {why}");
            assert!(!why.contains("ret@") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn other_mistakes_are_refused_with_what_to_write() {
        for (text, hint) in [
            ("mail.example.com:465", "begin with smtp://"),
            ("https://mail.example.com", "begin with smtp://"),
            ("smtp://u@mail.example.com", "no password"),
            ("smtp://mail.example.com/inbox", "leave it out"),
            ("smtp://mail.example.com?tls=yes", "starttls=required"),
            ("smtps://mail.example.com?starttls=required", "at once"),
        ] {
            let why = SmtpServer::parse(text).unwrap_err();
            assert!(why.contains(hint), "{text}: {why}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_password() {
        let shown = format!("{:?}", SmtpServer::parse("smtps://user:hidden@mail.example.com").unwrap());
        assert!(shown.contains("user") && !shown.contains("hidden"), "{shown}");
    }
}
