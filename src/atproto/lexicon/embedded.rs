//! The schemas that come with the program: the record types it validates, the methods it
//! answers, and what these refer to.
//!
//! One line per file; a test holds the list against the folder.

use super::{Catalog, SchemaError};

/// Compiles every embedded document. The parsed JSON lives only as long as this call.
pub(super) fn load() -> Result<Catalog, SchemaError> {
    let mut documents = Vec::with_capacity(DOCUMENTS.len());
    for (file, text) in DOCUMENTS {
        documents.push(
            serde_json::from_str(text)
                .map_err(|problem| SchemaError { id: (*file).to_owned(), problem: problem.to_string() })?,
        );
    }
    Catalog::from_documents(documents)
}

macro_rules! documents {
    ($($file:literal,)*) => {
        &[$(($file, include_str!(concat!("schemas/", $file)))),*]
    };
}

/// File under `schemas/`, and its text.
pub(super) const DOCUMENTS: &[(&str, &str)] = documents![
    "app/bsky/actor/defs.json",
    "app/bsky/actor/getPreferences.json",
    "app/bsky/actor/profile.json",
    "app/bsky/actor/putPreferences.json",
    "app/bsky/actor/status.json",
    "app/bsky/embed/defs.json",
    "app/bsky/embed/external.json",
    "app/bsky/embed/gallery.json",
    "app/bsky/embed/images.json",
    "app/bsky/embed/record.json",
    "app/bsky/embed/recordWithMedia.json",
    "app/bsky/embed/video.json",
    "app/bsky/feed/generator.json",
    "app/bsky/feed/like.json",
    "app/bsky/feed/post.json",
    "app/bsky/feed/postgate.json",
    "app/bsky/feed/repost.json",
    "app/bsky/feed/threadgate.json",
    "app/bsky/graph/block.json",
    "app/bsky/graph/defs.json",
    "app/bsky/graph/follow.json",
    "app/bsky/graph/list.json",
    "app/bsky/graph/listblock.json",
    "app/bsky/graph/listitem.json",
    "app/bsky/graph/starterpack.json",
    "app/bsky/graph/verification.json",
    "app/bsky/labeler/defs.json",
    "app/bsky/labeler/service.json",
    "app/bsky/notification/declaration.json",
    "app/bsky/notification/registerPush.json",
    "app/bsky/notification/unregisterPush.json",
    "app/bsky/richtext/facet.json",
    "chat/bsky/actor/declaration.json",
    "com/atproto/admin/defs.json",
    "com/atproto/admin/disableAccountInvites.json",
    "com/atproto/admin/disableInviteCodes.json",
    "com/atproto/admin/enableAccountInvites.json",
    "com/atproto/admin/getInviteCodes.json",
    "com/atproto/admin/updateAccountHandle.json",
    "com/atproto/identity/defs.json",
    "com/atproto/identity/getRecommendedDidCredentials.json",
    "com/atproto/identity/refreshIdentity.json",
    "com/atproto/identity/resolveDid.json",
    "com/atproto/identity/resolveHandle.json",
    "com/atproto/identity/resolveIdentity.json",
    "com/atproto/identity/submitPlcOperation.json",
    "com/atproto/identity/updateHandle.json",
    "com/atproto/label/defs.json",
    "com/atproto/lexicon/schema.json",
    "com/atproto/moderation/createReport.json",
    "com/atproto/moderation/defs.json",
    "com/atproto/repo/applyWrites.json",
    "com/atproto/repo/createRecord.json",
    "com/atproto/repo/defs.json",
    "com/atproto/repo/deleteRecord.json",
    "com/atproto/repo/describeRepo.json",
    "com/atproto/repo/getRecord.json",
    "com/atproto/repo/importRepo.json",
    "com/atproto/repo/listMissingBlobs.json",
    "com/atproto/repo/listRecords.json",
    "com/atproto/repo/putRecord.json",
    "com/atproto/repo/strongRef.json",
    "com/atproto/repo/uploadBlob.json",
    "com/atproto/server/createAccount.json",
    "com/atproto/server/createAppPassword.json",
    "com/atproto/server/createInviteCode.json",
    "com/atproto/server/createInviteCodes.json",
    "com/atproto/server/createSession.json",
    "com/atproto/server/defs.json",
    "com/atproto/server/deleteSession.json",
    "com/atproto/server/describeServer.json",
    "com/atproto/server/getAccountInviteCodes.json",
    "com/atproto/server/getServiceAuth.json",
    "com/atproto/server/getSession.json",
    "com/atproto/server/listAppPasswords.json",
    "com/atproto/server/refreshSession.json",
    "com/atproto/server/reserveSigningKey.json",
    "com/atproto/server/revokeAppPassword.json",
    "com/atproto/sync/getBlob.json",
    "com/atproto/sync/getBlocks.json",
    "com/atproto/sync/getCheckout.json",
    "com/atproto/sync/getHead.json",
    "com/atproto/sync/getLatestCommit.json",
    "com/atproto/sync/getRecord.json",
    "com/atproto/sync/getRepo.json",
    "com/atproto/sync/getRepoStatus.json",
    "com/atproto/sync/listBlobs.json",
    "com/atproto/sync/listRepos.json",
    "com/atproto/sync/subscribeRepos.json",
    "com/atproto/temp/checkSignupQueue.json",
    "com/germnetwork/declaration.json",
];
