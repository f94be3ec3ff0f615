mod account_info;
mod invite_codes;
mod moderator;
mod search_accounts;
mod send_email;
mod subject_status;
mod update_account_handle;
mod update_account_signing_key;
mod update_subject_status;

use serde_json::{Value as Json, json};

use crate::support::{Answer, TestAccount, TestServer};

/// A DID that has no account here.
const NOBODY: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

/// `com.atproto.admin.defs#repoRef`
fn repo_ref(account: &TestAccount) -> Json {
    json!({ "$type": "com.atproto.admin.defs#repoRef", "did": account.did })
}

/// `com.atproto.repo.strongRef` of what putRecord answered.
fn strong_ref(written: &Json) -> Json {
    json!({ "$type": "com.atproto.repo.strongRef", "uri": written["uri"], "cid": written["cid"] })
}

/// `com.atproto.admin.defs#repoBlobRef`
fn blob_ref(account: &TestAccount, blob: &Json) -> Json {
    json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": account.did, "cid": blob["ref"]["$link"] })
}

async fn update(server: &TestServer, input: Json) -> Answer {
    server.procedure("com.atproto.admin.updateSubjectStatus").admin().json(&input).send().await
}

/// Takes the subject down.
async fn take_down(server: &TestServer, subject: &Json) {
    let takedown = json!({ "applied": true, "ref": "case 7" });
    let output = update(server, json!({ "subject": subject, "takedown": takedown })).await.ok();
    assert_eq!(output, json!({ "subject": subject, "takedown": takedown }));
}

/// Gives the subject back.
async fn give_back(server: &TestServer, subject: &Json) {
    let takedown = json!({ "applied": false });
    let output = update(server, json!({ "subject": subject, "takedown": takedown })).await.ok();
    assert_eq!(output, json!({ "subject": subject, "takedown": takedown }));
}
