use atproto::syntax::Did;
use rookery::service::account::create::Adoption;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use crate::support::{PASSWORD, TestServer};

const NSID: &str = "com.atproto.repo.listMissingBlobs";

/// MG-5: a repo moves from one server to another, its blobs after it.
#[tokio::test]
async fn an_account_that_moved_in_learns_what_to_upload() {
    let (old, new) = (TestServer::start().await, TestServer::start().await);
    let alice = old.create_account("alice").await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let blob = old.upload(&alice, "text/plain", format!("blob {n}")).await;
        old.put_record(&alice, &format!("com.example.media/{n}"), json!({ "media": blob })).await;
        let uri = format!("at://{}/com.example.media/{n}", alice.did);
        expected.push(json!({ "cid": blob["ref"]["$link"], "recordUri": uri }));
    }
    let uploaded_last = expected[4]["cid"].clone();
    expected.sort_by_key(|blob| blob["cid"].as_str().unwrap().to_owned());
    assert_eq!(old.query(NSID).auth(&alice).send().await.ok(), json!({ "blobs": [] }));
    let car = old.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await.bytes;

    let adoption = Adoption {
        did: Did::parse(&alice.did).unwrap(),
        handle: None,
        email: None,
        password: Some(Zeroizing::new(PASSWORD.to_owned())),
    };
    new.app.accounts.adopt(adoption).await.unwrap();
    let input = json!({ "identifier": alice.did, "password": PASSWORD });
    let session = new.procedure("com.atproto.server.createSession").json(&input).send().await.ok();
    let token = session["accessJwt"].as_str().unwrap();
    assert_eq!(new.query(NSID).bearer(token).send().await.ok(), json!({ "blobs": [] }), "nothing imported");
    let import = new.procedure("com.atproto.repo.importRepo").bearer(token);
    assert_eq!(import.body("application/vnd.ipld.car", car).send().await.status, 200);

    for limit in [1, 2, 5, 1000] {
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let call = new.query(NSID).bearer(token).param("limit", limit);
            let call = cursor.iter().fold(call, |call, cursor| call.param("cursor", cursor));
            let page = call.send().await.ok();
            listed.extend(page["blobs"].as_array().unwrap().iter().cloned());
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(Json::from(listed), Json::from(expected.clone()), "limit {limit}");
    }

    // What a record waits for is permanent at once (MG-5).
    let upload = new.procedure("com.atproto.repo.uploadBlob").bearer(token).body("text/plain", "blob 4");
    upload.send().await.ok();
    let blob = new.query("com.atproto.sync.getBlob").param("did", &alice.did).bearer(token);
    assert_eq!(blob.param("cid", uploaded_last.as_str().unwrap()).send().await.bytes, b"blob 4");
    let rest = new.query(NSID).bearer(token).send().await.ok();
    let cids: Vec<_> = rest["blobs"].as_array().unwrap().iter().map(|blob| blob["cid"].clone()).collect();
    assert_eq!(cids.len(), 4);
    assert!(!cids.contains(&uploaded_last));
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.query(NSID).send().await.error(401, "AuthMissing");
    server.query(NSID).admin().send().await.error(400, "InvalidToken");
    for (name, value) in [("limit", "0"), ("limit", "1001"), ("limit", "x"), ("cursor", "nonsense")] {
        let message =
            server.query(NSID).auth(&alice).param(name, value).send().await.error(400, "InvalidRequest");
        assert!(message.contains(name), "{message}");
    }
    server.procedure(NSID).auth(&alice).json(&json!({})).send().await.error(400, "InvalidRequest");
    server.deactivate(&alice.did).await;
    server.query(NSID).auth(&alice).send().await.ok();
    server.take_down(&alice.did).await;
    server.query(NSID).auth(&alice).send().await.error(401, "AccountTakedown");
}
