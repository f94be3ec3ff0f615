use serde_json::{Value as Json, json};

use crate::support::TestServer;

fn input(did: &str) -> Json {
    json!({
        "recipientDid": did,
        "senderDid": "did:web:localhost",
        "content": "<p>Please <b>mind</b> the rules.</p>",
        "comment": "first warning",
    })
}

#[tokio::test]
async fn a_moderator_writes_to_an_owner() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = |input: Json| server.procedure("com.atproto.admin.sendEmail").json(&input);
    call(input(&alice.did)).auth(&alice).send().await.error(401, "BadJwtType");
    let sent = call(input(&alice.did)).admin().send().await.ok();
    assert_eq!(sent, json!({ "sent": true }));
    let mail = server.mail_to(&alice).await;
    assert_eq!(mail.subject, "Message via your PDS");
    assert_eq!(mail.text.trim(), "Please mind the rules.");

    let stranger = input("did:plc:ewvi7nxzyoun6zhxrhs64oiz");
    assert_eq!(call(stranger).admin().send().await.error(400, "InvalidRequest"), "Recipient not found");
    let mut two_lines = input(&alice.did);
    two_lines["subject"] = json!("one\r\nBcc: other@example.com");
    let message = call(two_lines).admin().send().await.error(400, "InvalidRequest");
    assert!(message.contains("subject"), "{message}");
}
