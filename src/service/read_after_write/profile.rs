//! Profiles: the asker's own shows what its record says now. What the record leaves out disappears.

use serde_json::Value as Json;

use super::{MergeError, view::Viewer};

/// An answer that is one profile.
pub(super) fn complete_one(output: &mut Json, viewer: &Viewer<'_>) -> Result<(), MergeError> {
    let did = output.get("did").and_then(Json::as_str).ok_or(MergeError::Form("did is missing"))?;
    if did == viewer.account.did.as_str() {
        viewer.refresh_profile(output);
    }
    Ok(())
}

/// An answer with a list of profiles.
pub(super) fn complete_each(output: &mut Json, viewer: &Viewer<'_>) -> Result<(), MergeError> {
    let profiles = output.get_mut("profiles").and_then(Json::as_array_mut);
    for profile in profiles.ok_or(MergeError::Form("profiles is missing"))? {
        complete_one(profile, viewer)?;
    }
    Ok(())
}
