use crate::support::TestServer;

/// XR-13
#[tokio::test]
async fn the_server_describes_itself_to_anyone() {
    let server = TestServer::start_with(|settings| {
        settings.invite_required = true;
        settings.contact_email = Some("operator@example.com".into());
    })
    .await;
    let output = server
        .query("com.atproto.server.describeServer")
        .header("authorization", "Bearer nonsense")
        .send()
        .await
        .ok();
    assert_eq!(output["did"], "did:web:localhost");
    assert_eq!(output["availableUserDomains"], serde_json::json!([".test"]));
    assert_eq!(output["inviteCodeRequired"], true);
    assert_eq!(output["blobUploadLimit"], 5 * 1024 * 1024);
    assert_eq!(output["contact"]["email"], "operator@example.com");
}
