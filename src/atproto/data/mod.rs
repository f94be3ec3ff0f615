//! The data model: what a record can hold, as JSON and as canonical DAG-CBOR (sections 1 to 3).
//!
//! Not for: schemas (see [`crate::lexicon`]).

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod blob_ref;
pub mod cbor;
mod check;
pub mod cid;
pub mod json;
mod value;

pub use self::{
    blob_ref::BlobRef,
    check::{CheckError, check_object, check_record},
    cid::Cid,
    value::{Map, Value},
};

/// Containers inside containers, the outermost counted (DM-18).
pub const DEPTH_MAX: usize = 32;
/// Items of one array, or entries of one map (DM-18).
pub const CONTAINER_ELEMENTS_MAX: usize = 131_072;
/// Length of a map key in UTF-8 bytes (DM-18).
pub const MAP_KEY_BYTES_MAX: usize = 8_192;
/// Largest integer that JSON readers everywhere keep exact (DM-3): 2^53 - 1.
pub const SAFE_INTEGER_MAX: i64 = 9_007_199_254_740_991;
