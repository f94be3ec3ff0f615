//! Mail: handed over in a moment, sent behind the request's back, tried again a few times, and never lost silently.
//!
//! Without an SMTP server, or when it refuses for good, a mail goes to the *outbox*: the newest few, sealed under the
//! master key because codes open accounts, shown by `rookery mail outbox` to whoever may read the server's files.
//! In a sandbox the code goes to the log too. The transport and its trusted roots are built for each mail; a server that
//! sends none holds nothing for it.
//!
//! Not for: what codes are good for (`service::account::email_token`).

mod outbox;
pub mod smtp;
pub mod template;

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, TryAcquireError, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::outbox::{MAILS_KEPT_MAX, OutboxMail};
use self::smtp::SmtpError;
use crate::{
    service::{
        keys::Keys,
        settings::{MailSettings, Settings},
    },
    store::Store,
    task,
    time::{Clock, Entropy},
};

/// Mails that are being sent or wait for another try.
const QUEUED_MAX: usize = 256;
/// Connections to the SMTP server at a time.
const SENDING_MAX: usize = 2;
/// Pauses before the tries after the first.
const RETRY_PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(20), Duration::from_secs(90)];

/// A mail to one person.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// For programs that show plain text.
    pub text: String,
    /// The same for the others.
    pub html: String,
}

/// Who a mail is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The server.
    Server,
    /// Its moderators.
    Moderation,
}

/// As many mails as this server holds are waiting.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many mails are waiting to be sent; try again in a few minutes")]
pub struct QueueFull;

/// What sending mail needs.
pub struct MailParts {
    /// Checked settings.
    pub settings: Arc<Settings>,
    /// Where the outbox is.
    pub store: Store,
    /// Seals the outbox.
    pub keys: Keys,
    /// The time of day.
    pub clock: Clock,
    /// Names mails.
    pub entropy: Entropy,
    /// Cancelled when the server stops: no more tries.
    pub stopping: CancellationToken,
    /// Mails being sent, waited for at the end.
    pub tasks: TaskTracker,
}

/// Sends mail. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    inner: Arc<Shared>,
}

struct Shared {
    parts: MailParts,
    queued: Arc<Semaphore>,
    sending: Semaphore,
    /// How many mails have been sent or put into the outbox.
    settled: watch::Sender<u64>,
}

impl Mailer {
    /// A mailer made from `parts`.
    pub fn new(parts: MailParts) -> Mailer {
        Mailer {
            inner: Arc::new(Shared {
                parts,
                queued: Arc::new(Semaphore::new(QUEUED_MAX)),
                sending: Semaphore::new(SENDING_MAX),
                settled: watch::Sender::new(0),
            }),
        }
    }

    /// Takes a mail; sending it is not waited for.
    pub fn send(&self, mail: Mail) -> Result<(), QueueFull> {
        let permit = match self.inner.queued.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(QueueFull),
        };
        if self.inner.parts.settings.dev {
            tracing::info!(to = mail.to, subject = mail.subject, "mail of the sandbox:\n{}", mail.text);
        }
        let mailer = self.clone();
        self.inner.parts.tasks.spawn(task::boxed(async move {
            let _permit = permit;
            mailer.deliver(mail).await;
        }));
        Ok(())
    }

    /// Sends a mail, once, and waits for the answer. Without an SMTP server it goes to the outbox.
    pub async fn send_now(&self, mail: Mail, sender: Sender) -> Result<(), SmtpError> {
        match &self.inner.parts.settings.mail {
            Some(settings) => self.attempt(settings, &mail, sender).await,
            None => {
                self.keep(&mail, None).await;
                Ok(())
            }
        }
    }

    /// Tells how many mails have been sent or put into the outbox since the start; changes wake its watchers.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.inner.settled.subscribe()
    }

    async fn deliver(&self, mail: Mail) {
        let problem = match &self.inner.parts.settings.mail {
            Some(settings) => match self.try_again(settings, &mail).await {
                Ok(()) => {
                    self.inner.settled.send_modify(|settled| *settled += 1);
                    return;
                }
                Err(error) => {
                    tracing::error!(
                        %error, advice = error.advice(), subject = mail.subject,
                        "a mail could not be sent; `rookery mail outbox` shows it"
                    );
                    Some(error.to_string())
                }
            },
            None => None,
        };
        self.keep(&mail, problem).await;
    }

    async fn try_again(&self, settings: &MailSettings, mail: &Mail) -> Result<(), SmtpError> {
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            let error = match self.attempt(settings, mail, Sender::Server).await {
                Err(error) if error.may_pass() => error,
                settled => return settled,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            tracing::warn!(%error, pause_secs = pause.as_secs(), "a mail could not be sent yet");
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = self.inner.parts.stopping.cancelled() => return Err(error),
            }
        }
    }

    async fn attempt(&self, settings: &MailSettings, mail: &Mail, sender: Sender) -> Result<(), SmtpError> {
        let Shared { parts, sending, .. } = &*self.inner;
        let from = match sender {
            Sender::Server => &settings.from,
            Sender::Moderation => &settings.moderation_from,
        };
        let id = parts.entropy.bytes::<16>();
        let message = smtp::compose(mail, from, &parts.settings.hostname, &id, parts.clock.now())?;
        let _place = sending.acquire().await.map_err(|_| SmtpError::Stopping)?;
        smtp::send(&settings.smtp, &parts.settings.hostname, &message).await
    }
}
