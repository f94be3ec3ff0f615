//! The outbox: mail that nobody sent, for the operator to read.

use serde::{Deserialize, Serialize};

use super::{Mail, Mailer};
use crate::{
    service::keys::KeyError,
    store::{StoreError, outbox_mail},
    time::{Micros, SECOND},
};

/// Mails kept in the outbox; older ones go.
pub const MAILS_KEPT_MAX: u32 = 100;
/// How long a mail is kept, in seconds. Its code is good for minutes; its news are read within a day or not at all.
const KEPT_SECS: i64 = 24 * 60 * 60;
/// What the mails are sealed for.
const PURPOSE: &str = "outbox-mail";

/// A mail that nobody sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutboxMail {
    /// When it was made.
    #[serde(skip)]
    pub created_at: Micros,
    /// Address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// Why the SMTP server did not take it; `None`: there is none.
    pub problem: Option<String>,
}

impl Mailer {
    /// Puts a mail into the outbox.
    pub(super) async fn keep(&self, mail: &Mail, problem: Option<String>) {
        let kept = OutboxMail {
            created_at: 0,
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            text: mail.text.clone(),
            problem,
        };
        if let Err(error) = self.store(&kept).await {
            tracing::error!(%error, "a mail could be neither sent nor put into the outbox");
        }
        self.inner.settled.send_modify(|settled| *settled += 1);
    }

    async fn store(&self, mail: &OutboxMail) -> Result<(), KeyError> {
        let parts = &self.inner.parts;
        let json = serde_json::to_vec(mail).unwrap_or_default();
        let sealed = parts.keys.seal_bytes(&json, PURPOSE)?;
        let stored = parts.store.write(move |tx| {
            let now = tx.now();
            outbox_mail::delete_before(tx, now - KEPT_SECS * SECOND)?;
            outbox_mail::insert(tx, &sealed, now, MAILS_KEPT_MAX)
        });
        stored.await.map_err(|error: StoreError| error.into())
    }

    /// The mails in the outbox, oldest first.
    pub async fn outbox(&self) -> Result<Vec<OutboxMail>, KeyError> {
        let parts = &self.inner.parts;
        let after = parts.clock.now() - KEPT_SECS * SECOND;
        let rows =
            parts.store.read(outbox_mail::list).await.map_err(|error: StoreError| KeyError::from(error))?;
        let mut mails = Vec::with_capacity(rows.len());
        for (created_at, sealed) in rows {
            if created_at < after {
                continue;
            }
            let json = parts.keys.open_bytes(&sealed, PURPOSE)?;
            let mail: OutboxMail = serde_json::from_slice(&json).map_err(|_| KeyError::Sealed)?;
            mails.push(OutboxMail { created_at, ..mail });
        }
        Ok(mails)
    }

    /// Empties the outbox; returns how many mails it held.
    pub async fn clear_outbox(&self) -> Result<usize, StoreError> {
        self.inner.parts.store.write(|tx| outbox_mail::delete_all(tx)).await
    }

    /// Removes mails that are older than a day from the outbox. The server runs this every hour.
    pub async fn sweep_outbox(&self) -> Result<usize, StoreError> {
        self.inner
            .parts
            .store
            .write(|tx| {
                let before = tx.now() - KEPT_SECS * SECOND;
                outbox_mail::delete_before(tx, before)
            })
            .await
    }
}
