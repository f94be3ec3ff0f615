//! Accounts as they have to be.

use std::collections::BTreeMap;

use atproto::{
    crypto::PublicKey,
    data::{Cid, Value, cbor},
    syntax::Did,
};
use rookery::time::Micros;

use crate::whole_repo::Records;

pub struct Account {
    pub did: Did,
    pub handle: String,
    pub key: PublicKey,
    pub records: Records,
    /// Bytes of the blobs that were uploaded and that records refer to.
    pub blobs: BTreeMap<Cid, Vec<u8>>,
    pub is_deactivated: bool,
    pub delete_after: Option<Micros>,
    pub is_taken_down: bool,
}

impl Account {
    pub fn is_active(&self) -> bool {
        !self.is_deactivated && !self.is_taken_down
    }

    pub fn set_records(&mut self, records: Records) {
        let referred: Vec<Cid> = records.values().filter_map(|block| blob_of(block)).collect();
        self.blobs.retain(|cid, _| referred.contains(cid));
        self.records = records;
    }
}

/// The blob that a record of these tests refers to.
fn blob_of(block: &[u8]) -> Option<Cid> {
    cbor::decode(block).unwrap().get("blob")?.get("ref").and_then(Value::as_link).copied()
}
