//! Which identities are being changed by this process: one change of each at a time.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use atproto::syntax::Did;

/// The DIDs under way. As many as requests, which are bounded.
#[derive(Clone, Default)]
pub(super) struct Changing {
    dids: Arc<Mutex<HashSet<Did>>>,
}

/// Ends with the change.
pub(super) struct Claim {
    changing: Changing,
    did: Did,
}

impl Changing {
    /// `None` while another change of the same DID is under way.
    pub(super) fn claim(&self, did: &Did) -> Option<Claim> {
        let fresh = self.dids.lock().unwrap_or_else(PoisonError::into_inner).insert(did.clone());
        fresh.then(|| Claim { changing: self.clone(), did: did.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.changing.dids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.did);
    }
}
