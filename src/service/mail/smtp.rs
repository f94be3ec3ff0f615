//! One mail to one SMTP server, step by step, so that a failure says which step it was and what to change.
//!
//! Not for: when to try again, and how many at a time ([`super`]).

use std::{
    error::Error as StdError,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};

use super::Mail;
use crate::{
    config::smtp_url::{Encryption, SmtpServer},
    task,
    time::{Micros, SECOND},
};

/// How long a connection may take, in seconds.
const CONNECT_SECS_MAX: u64 = 10;
/// How long the whole of it may take, in seconds.
const SEND_SECS_MAX: u64 = 30;
/// Answer codes that mean the password, whichever step they came after.
const CODES_OF_AUTH: [&str; 6] = ["432", "454", "530", "534", "535", "538"];

/// Why a mail was not sent, and where on the way.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The server's name has no address.
    #[error("the name {host} does not resolve: {problem}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// Nobody answers.
    #[error("no connection to {host} port {port}: {problem}")]
    Connect {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// What the system said.
        problem: String,
    },
    /// The encrypted connection did not come about.
    #[error("TLS with {host} failed: {problem}")]
    Tls {
        /// The server.
        host: String,
        /// What was wrong.
        problem: String,
    },
    /// Encryption was asked for, and the server has none.
    #[error("{host} does not offer STARTTLS")]
    NoStartTls {
        /// The server.
        host: String,
    },
    /// User name or password is wrong, or missing.
    #[error("{host} does not accept the user name and password: {problem}")]
    Auth {
        /// The server.
        host: String,
        /// What it said.
        problem: String,
    },
    /// The server takes mail, but not this one.
    #[error("{host} refuses the mail: {problem}")]
    Refused {
        /// The server.
        host: String,
        /// What it said.
        problem: String,
    },
    /// The server asks for patience.
    #[error("{host} does not take the mail now: {problem}")]
    Later {
        /// The server.
        host: String,
        /// What it said.
        problem: String,
    },
    /// It is not a mail.
    #[error("the mail cannot be written: {0}")]
    Compose(String),
    /// It took too long.
    #[error("{host} did not finish within {SEND_SECS_MAX} seconds")]
    Timeout {
        /// The server.
        host: String,
    },
    /// This server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl SmtpError {
    /// True when the same mail may go through a little later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            SmtpError::Dns { .. }
                | SmtpError::Connect { .. }
                | SmtpError::Later { .. }
                | SmtpError::Timeout { .. }
        )
    }

    /// What the operator can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            SmtpError::Dns { .. } => {
                "check the server's name in mail.smtp_url, and that this machine can resolve names"
            }
            SmtpError::Connect { .. } => {
                "check the port in mail.smtp_url (smtps:// 465, smtp:// 587 or 25) and the firewall; many hosting \
                 providers block outgoing mail until they are asked, and some mail services offer port 2465 or 2587 too"
            }
            SmtpError::Tls { .. } => {
                "port 465 wants smtps://, ports 587 and 25 want smtp://; the certificate has to be for the name in \
                 mail.smtp_url and signed by an authority that this machine trusts (SSL_CERT_FILE adds one)"
            }
            SmtpError::NoStartTls { .. } => {
                "if the server speaks TLS from the first byte write smtps:// and port 465; if it is on a network that \
                 you trust, add ?starttls=optional to mail.smtp_url"
            }
            SmtpError::Auth { .. } => {
                "check user name and password in mail.smtp_url; characters with a meaning in URLs have to be \
                 percent-encoded (@ is %40, : is %3A, / is %2F, # is %23, % is %25); many providers want a password \
                 made for programs, not the one of the mailbox"
            }
            SmtpError::Refused { .. } => {
                "the server's words say why; most often mail.from is not an address that this user may send for, or \
                 the recipient does not exist"
            }
            SmtpError::Later { .. } | SmtpError::Timeout { .. } => {
                "the server is busy or holds back unknown senders; try again in a few minutes"
            }
            SmtpError::Compose(_) => "check that the recipient and mail.from are mail addresses",
            SmtpError::Stopping => "start the server again",
        }
    }
}

/// Writes a mail out: plain text and HTML, `id` in its Message-ID.
pub fn compose(
    mail: &Mail,
    from: &str,
    hostname: &str,
    id: &[u8; 16],
    now: Micros,
) -> Result<Message, SmtpError> {
    let address = |text: &str| {
        text.parse::<Mailbox>().map_err(|error| SmtpError::Compose(format!("address {text:?}: {error}")))
    };
    let since_1970 = Duration::from_secs(u64::try_from(now / SECOND).unwrap_or(0));
    Message::builder()
        .from(address(from)?)
        .to(address(&mail.to)?)
        .subject(mail.subject.clone())
        .date(UNIX_EPOCH + since_1970)
        .message_id(Some(format!("<{:032x}@{hostname}>", u128::from_be_bytes(*id))))
        // Keeps out-of-office programs quiet (RFC 3834).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|error| SmtpError::Compose(error.to_string()))
}

/// Sends a message. `hostname`: how this server calls itself.
pub async fn send(server: &SmtpServer, hostname: &str, message: &Message) -> Result<(), SmtpError> {
    let sending = tokio::time::timeout(Duration::from_secs(SEND_SECS_MAX), async {
        let mut connection = connect(server, hostname).await?;
        let sent = match sign_in(server, &mut connection).await {
            Ok(()) => {
                let sent = connection.send(message.envelope(), &message.formatted()).await;
                sent.map(|_| ()).map_err(|error| answered(server, &error))
            }
            Err(error) => Err(error),
        };
        // The mail is sent or not; how the server takes leave changes nothing.
        match &sent {
            Ok(()) => drop(connection.quit().await),
            Err(_) => connection.abort().await,
        }
        sent
    });
    sending.await.unwrap_or_else(|_| Err(SmtpError::Timeout { host: server.host.clone() }))
}

async fn connect(server: &SmtpServer, hostname: &str) -> Result<AsyncSmtpConnection, SmtpError> {
    let SmtpServer { host, port, encryption, .. } = server;
    let dns = |problem: String| SmtpError::Dns { host: host.clone(), problem };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .map_err(|error| dns(error.to_string()))?
        .collect();
    if addresses.is_empty() {
        return Err(dns("it has no address".into()));
    }
    let tls = match encryption {
        Encryption::Never => None,
        _ => Some(tls_parameters(server).await?),
    };
    let client = ClientId::Domain(hostname.to_owned());
    let timeout = Some(Duration::from_secs(CONNECT_SECS_MAX));
    let from_the_start = tls.clone().filter(|_| *encryption == Encryption::Tls);
    let connecting =
        AsyncSmtpConnection::connect_tokio1(&addresses[..], timeout, &client, from_the_start, None);
    let mut connection = connecting.await.map_err(|error| unconnected(server, &error))?;
    let Some(tls) = tls.filter(|_| *encryption != Encryption::Tls) else {
        return Ok(connection);
    };
    if connection.can_starttls() {
        let turned = connection.starttls(tls, &client).await;
        turned.map_err(|error| SmtpError::Tls { host: host.clone(), problem: chain(&error) })?;
    } else if *encryption == Encryption::StartTls {
        connection.abort().await;
        return Err(SmtpError::NoStartTls { host: host.clone() });
    }
    Ok(connection)
}

async fn sign_in(server: &SmtpServer, connection: &mut AsyncSmtpConnection) -> Result<(), SmtpError> {
    let Some((user, password)) = &server.credentials else { return Ok(()) };
    let credentials = Credentials::new(user.clone(), password.to_string());
    match connection.auth(DEFAULT_MECHANISMS, &credentials).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_transient() => Err(answered(server, &error)),
        Err(error) => Err(SmtpError::Auth { host: server.host.clone(), problem: chain(&error) }),
    }
}

/// Reads the roots that this machine trusts, off the async threads: they are a hundred files on some.
async fn tls_parameters(server: &SmtpServer) -> Result<TlsParameters, SmtpError> {
    let host = server.host.clone();
    let built = task::spawn_blocking(move || {
        TlsParameters::builder(host).certificate_store(CertificateStore::Default).build_rustls()
    });
    let failed = |problem: String| SmtpError::Tls { host: server.host.clone(), problem };
    built.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))
}

/// What a failure before the greeting means.
fn unconnected(server: &SmtpServer, error: &lettre::transport::smtp::Error) -> SmtpError {
    let (host, problem) = (server.host.clone(), chain(error));
    if error.is_tls() || has_rustls_error(error) {
        SmtpError::Tls { host, problem }
    } else if error.is_transient() || error.is_permanent() {
        answered(server, error)
    } else if error.is_response() && server.encryption != Encryption::Tls {
        let problem = format!("it does not greet as SMTP servers do ({problem}); is it a port for smtps://?");
        SmtpError::Tls { host, problem }
    } else {
        SmtpError::Connect { host, port: server.port, problem }
    }
}

/// What a failure after the greeting means.
fn answered(server: &SmtpServer, error: &lettre::transport::smtp::Error) -> SmtpError {
    let (host, problem) = (server.host.clone(), chain(error));
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    if error.is_permanent() && CODES_OF_AUTH.contains(&code.as_str()) {
        SmtpError::Auth { host, problem }
    } else if error.is_permanent() || error.is_client() {
        SmtpError::Refused { host, problem }
    } else {
        SmtpError::Later { host, problem }
    }
}

fn has_rustls_error(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with its causes, each once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
