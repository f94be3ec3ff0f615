//! com.atproto.repo.importRepo: the caller's whole repository from a CAR, streamed (MG-4).

use std::{io, time::Duration};

use atproto::crypto::PublicKey;
use axum::{
    body::{BodyDataStream, Bytes},
    extract::State,
    http::StatusCode,
};
use futures::StreamExt;
use tokio::runtime::Handle;

use super::{account_not_found, account_takendown};
use crate::{
    app::App,
    service::{
        identity::Freshness,
        repo::import::{ImportError, ImportOptions},
    },
    xrpc::{Caller, Upload, XrpcError, caller::FullAccess, input::mime_essence},
};

/// How long a client may be silent in the middle of its upload, in seconds.
const UPLOAD_IDLE_SECS_MAX: u64 = 60;

const CAR_MIME_TYPE: &str = "application/vnd.ipld.car";

/// For active and deactivated accounts. When this is an error, the repository is as it was.
pub(super) async fn import_repo(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    upload: Upload,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    if mime_essence(&upload.content_type) != CAR_MIME_TYPE {
        return Err(XrpcError::invalid_request(format_args!(
            "Wrong request encoding (Content-Type): {}",
            upload.content_type
        )));
    }
    let bytes_max = app.settings.import_limit_bytes;
    if upload.content_length.is_some_and(|bytes| bytes > bytes_max) {
        return Err(ImportError::TooLarge(bytes_max).into());
    }
    // Before the first byte is taken.
    app.store.require_room(upload.content_length.unwrap_or(0))?;
    let options =
        ImportOptions { bytes_max, known_key: known_key(&app, &caller).await, progress: Box::new(|_| ()) };
    let body =
        BlockingBody { body: upload.body.into_data_stream(), runtime: Handle::current(), rest: Bytes::new() };
    app.repos.import(&caller.account, body, options).await?;
    Ok(())
}

/// The key that the world takes for the account's, if it can be had now.
async fn known_key(app: &App, caller: &Caller<FullAccess>) -> Option<PublicKey> {
    let document = app.did_resolver.resolve(&caller.account.did, Freshness::Cached).await.ok()?;
    document.signing_key().ok()?
}

/// A body as a reader, for the blocking thread that imports.
struct BlockingBody {
    body: BodyDataStream,
    runtime: Handle,
    /// What has come and was not read yet.
    rest: Bytes,
}

impl io::Read for BlockingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let idle_max = Duration::from_secs(UPLOAD_IDLE_SECS_MAX);
            let next = async { tokio::time::timeout(idle_max, self.body.next()).await };
            match self.runtime.block_on(next) {
                Ok(None) => return Ok(0),
                Ok(Some(chunk)) => self.rest = chunk.map_err(io::Error::other)?,
                Err(_) => {
                    let problem = format!("no bytes for {UPLOAD_IDLE_SECS_MAX} seconds");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
                }
            }
        }
        let n_read = self.rest.len().min(buffer.len());
        buffer[..n_read].copy_from_slice(&self.rest.split_to(n_read));
        Ok(n_read)
    }
}

impl From<ImportError> for XrpcError {
    fn from(error: ImportError) -> XrpcError {
        match error {
            ImportError::TooLarge(_) => {
                XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", error)
            }
            ImportError::Busy(_) => XrpcError::busy(error),
            ImportError::Takendown => account_takendown(),
            ImportError::NoAccount => account_not_found(),
            ImportError::Store(error) => error.into(),
            ImportError::Key(error) => XrpcError::internal(error),
            error => XrpcError::invalid_request(error),
        }
    }
}
