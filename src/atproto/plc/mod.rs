//! did:plc operations (section 21): build, sign, derive the DID, check a log with its 72 h
//! recovery rule, and render what a directory answers.
//!
//! Sources disagree on what an operation may hold (C-10), so there are two measures. History is
//! verified leniently, by signatures, links and times alone: an old operation with repeated
//! rotation keys, or with none, stands. What is newly written goes by the specification and by
//! the limits of the public directory's source ([`check_next`]).
//!
//! Not for: talking to a directory (`service::identity::plc_client`).

mod limits;
mod log;
mod operation;
mod render;

pub use self::{
    limits::{OPERATION_BYTES_MAX, check_rate},
    log::{LogEntry, RECOVERY_WINDOW_MICROS, check_log, check_next},
    operation::{Operation, PlcData, Service},
    render::{render_data, render_document},
};

/// Why an operation or a log is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field is missing, unknown or outside its limits.
    #[error("operation field {field}: {problem}")]
    Field {
        /// The field's name on the wire; `operation` for the whole.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The signature has a wrong form or belongs to no key that may sign here (PL-4, PL-7).
    #[error("operation signature: {0}")]
    Signature(String),
    /// The operation does not fit into the log (PL-10 to PL-12).
    #[error("operation log: {0}")]
    Log(String),
    /// PL-13
    #[error("operation is {bytes} bytes; at most {max} are accepted")]
    TooLarge {
        /// Size of the signed operation as CBOR.
        bytes: usize,
        /// [`OPERATION_BYTES_MAX`].
        max: usize,
    },
    /// PL-14
    #[error("{limit} operations within {window}; wait before sending another")]
    RateLimited {
        /// How many operations the window allows.
        limit: usize,
        /// `an hour`, `a day` or `a week`.
        window: &'static str,
    },
}

impl Error {
    fn field(field: &'static str, problem: impl Into<String>) -> Error {
        Error::Field { field, problem: problem.into() }
    }
}
