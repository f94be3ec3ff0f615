//! Passwords: Argon2id hashes as PHC strings.
//!
//! A hash takes 19 MiB and tens of milliseconds, so few run at a time, off the async threads, and a queue of stated
//! length waits for them.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::{task, time::Entropy};

/// Longest password that an account can be given, in characters.
pub const NEW_PASSWORD_CHARS_MAX: usize = 256;
/// Longest password looked at when signing in, in characters.
pub const PASSWORD_CHARS_MAX: usize = 512;

/// Hashes computed at a time; no more than half of the processors are busy with them, which leaves the others to whoever
/// is signed in already.
const RUNNING_MAX: usize = 2;
/// Hashes computed or waited for at a time.
const QUEUED_MAX: usize = 128;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Address space taken for the working memory of a hash, of which only what the hash needs is touched.
///
/// The C library keeps freed memory of up to 32 MiB for later and gives more than that back to the system at once. An
/// idle server should not hold 19 MiB for each thread that has ever computed a hash.
const RESERVED_BYTES: usize = 33 * 1024 * 1024;

/// Why a password was neither hashed nor compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many others wait.
    #[error("too many people are signing in at this moment; try again in a few seconds")]
    Busy,
    /// Argon2 refused; a bug or a lack of memory.
    #[error("password hash: {0}")]
    Hash(String),
}

/// Hashes and compares passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    entropy: Entropy,
}

impl Passwords {
    /// Salts come from `entropy`.
    pub fn new(entropy: Entropy) -> Passwords {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            running: Arc::new(Semaphore::new((processors / 2).clamp(1, RUNNING_MAX))),
            queued: Arc::new(Semaphore::new(QUEUED_MAX)),
            entropy,
        }
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        let salt = self.entropy.bytes::<16>();
        self.run(move || hash(&password, &salt)).await
    }

    /// Compares with the PHC string of an account. Without one the answer is no, after as much work.
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        phc: Option<String>,
    ) -> Result<bool, PasswordError> {
        let salt = self.entropy.bytes::<16>();
        self.run(move || match phc {
            Some(phc) => matches(&password, &phc),
            None => hash(&password, &salt).map(|_| false),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let queued = self.queued.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        task::spawn_blocking(move || {
            // Held until the work is done, also when the client has gone.
            let _permits: [OwnedSemaphorePermit; 2] = [queued, running];
            work()
        })
        .await
        .unwrap_or_else(|error| Err(PasswordError::Hash(error.to_string())))
    }
}

impl From<argon2::Error> for PasswordError {
    fn from(error: argon2::Error) -> PasswordError {
        PasswordError::Hash(error.to_string())
    }
}

impl From<argon2::password_hash::Error> for PasswordError {
    fn from(error: argon2::password_hash::Error) -> PasswordError {
        PasswordError::Hash(error.to_string())
    }
}

impl From<argon2::password_hash::phc::Error> for PasswordError {
    fn from(error: argon2::password_hash::phc::Error) -> PasswordError {
        PasswordError::Hash(error.to_string())
    }
}

fn hash(password: &str, salt: &[u8]) -> Result<String, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let hashed = PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(Salt::new(salt)?),
        hash: Some(output(password, salt, Argon2::new(algorithm, version, params))?),
    };
    Ok(hashed.to_string())
}

/// Computes with the parameters that `phc` names, which may be older than ours.
fn matches(password: &str, phc: &str) -> Result<bool, PasswordError> {
    let stored = PasswordHash::new(phc)?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(PasswordError::Hash("the stored hash is not complete".into()));
    };
    let version = stored.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&stored)?);
    // Takes the same time wherever the two differ.
    Ok(output(password, salt, argon2)? == *expected)
}

fn output(password: &str, salt: &[u8], argon2: Argon2<'_>) -> Result<Output, PasswordError> {
    let blocks = argon2.params().block_count();
    let mut memory = Vec::with_capacity(blocks.max(RESERVED_BYTES / Block::SIZE));
    memory.resize(blocks, Block::new());
    let mut bytes = [0; Params::DEFAULT_OUTPUT_LEN];
    let length = argon2.params().output_len().unwrap_or(bytes.len());
    let bytes = bytes
        .get_mut(..length)
        .ok_or_else(|| PasswordError::Hash(format!("a hash of {length} bytes is not supported")))?;
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, bytes, &mut memory[..])?;
    Ok(Output::new(bytes)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn only_the_password_that_was_hashed_is_the_right_one() {
        let passwords = Passwords::new(Entropy::system());
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let phc = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash(secret("correct horse")).await.unwrap(), "salted");
        assert!(passwords.verify(secret("correct horse"), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify(secret("Correct horse"), Some(phc)).await.unwrap());
        assert!(!passwords.verify(secret("correct horse"), None).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_of_other_programs_and_parameters_are_compared() {
        // Argon2's own reference program: echo -n password | argon2 somesalt -id -t 2 -k 256 -e
        let phc = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let passwords = Passwords::new(Entropy::system());
        let verify = |text: &str| passwords.verify(Zeroizing::new(text.into()), Some(phc.into()));
        assert!(verify("password").await.unwrap());
        assert!(!verify("Password").await.unwrap());
        let broken = passwords.verify(Zeroizing::default(), Some("$argon2id$v=19$m=256,t=2,p=1".into()));
        assert!(matches!(broken.await, Err(PasswordError::Hash(_))));
    }

    #[tokio::test]
    async fn a_queue_that_is_full_refuses_instead_of_growing() {
        let passwords = Passwords::new(Entropy::system());
        let _all = passwords.queued.clone().acquire_many_owned(QUEUED_MAX as u32).await.unwrap();
        let refused = passwords.verify(Zeroizing::default(), None).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
    }
}
