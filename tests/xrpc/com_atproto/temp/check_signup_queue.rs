use rookery::service::auth::Scope;
use serde_json::json;

use crate::support::TestServer;

const NSID: &str = "com.atproto.temp.checkSignupQueue";

#[tokio::test]
async fn nobody_waits_here() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    assert_eq!(server.query(NSID).auth(&alice).send().await.ok(), json!({ "activated": true }));
    server.query(NSID).send().await.error(401, "AuthMissing");
}

/// Entryways issue such sessions. They ask how long the wait is and who they are, nothing else.
#[tokio::test]
async fn a_session_of_someone_who_waits_opens_two_doors() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let queued = server.app.tokens.issue_access(&alice.did.parse().unwrap(), Scope::SignupQueued);
    server.query(NSID).bearer(&queued).send().await.ok();
    server.query("com.atproto.server.getSession").bearer(&queued).send().await.ok();
    for method in ["com.atproto.server.listAppPasswords", "com.atproto.repo.listMissingBlobs"] {
        let message = server.query(method).bearer(&queued).send().await.error(400, "InvalidToken");
        assert_eq!(message, "Bad token scope", "{method}");
    }
}
