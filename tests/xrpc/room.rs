//! A disk with less free space than the reserve: what is refused, and what goes on.

use serde_json::{Value as Json, json};

use crate::support::{Answer, Call, PASSWORD, TestAccount, TestServer};

const NOTE: &str = "com.example.note";
const RESERVE_BYTES: u64 = 128 << 20;

struct Bench {
    server: TestServer,
    alice: TestAccount,
    car: Vec<u8>,
    blob: Json,
}

impl Bench {
    async fn new() -> Bench {
        let server = TestServer::start().await;
        let alice = server.create_account("alice").await;
        server.put_record(&alice, "com.example.note/a", json!({ "text": "before" })).await;
        let blob = server.upload(&alice, "text/plain", "a blob").await;
        server.put_record(&alice, "com.example.note/b", json!({ "text": "before", "blob": blob })).await;
        let car = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await.bytes;
        Bench { server, alice, car, blob }
    }

    fn post(&self, nsid: &str, input: Json) -> Call<'_> {
        self.server.procedure(nsid).auth(&self.alice).json(&input)
    }

    fn writes(&self, writes: Json) -> Call<'_> {
        self.post("com.atproto.repo.applyWrites", json!({ "repo": self.alice.did, "writes": writes }))
    }

    /// Everything that grows by what clients send.
    async fn grow(&self, n: usize) -> Vec<Answer> {
        let (server, alice) = (&self.server, &self.alice);
        let record = json!({ "$type": NOTE, "text": "more" });
        let create =
            json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": NOTE, "value": record });
        let upload = server.procedure("com.atproto.repo.uploadBlob").auth(alice);
        let import = server.procedure("com.atproto.repo.importRepo").auth(alice);
        let preference = json!({ "$type": "app.bsky.actor.defs#adultContentPref", "enabled": true });
        let calls = [
            self.post(
                "com.atproto.repo.createRecord",
                json!({ "repo": alice.did, "collection": NOTE, "record": record }),
            ),
            self.post(
                "com.atproto.repo.putRecord",
                json!({ "repo": alice.did, "collection": NOTE, "rkey": format!("p{n}"), "record": record }),
            ),
            self.writes(json!([create])),
            upload.body("text/plain", "another blob"),
            import.body("application/vnd.ipld.car", self.car.clone()),
            self.post("app.bsky.actor.putPreferences", json!({ "preferences": [preference] })),
            server.procedure("com.atproto.server.createAccount").json(&server.sign_up(&format!("new{n}"))),
        ];
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.send().await);
        }
        answers
    }
}

#[tokio::test]
async fn what_grows_is_refused_while_less_is_free_than_the_reserve() {
    let bench = Bench::new().await;
    bench.server.set_free_bytes(RESERVE_BYTES - 1);
    for answer in bench.grow(1).await {
        let message = answer.error(503, "InsufficientStorage");
        assert!(message.contains("not carried out"), "{message}");
        assert_eq!(answer.header("retry-after"), Some("300"));
    }
    let health = bench.server.get("/xrpc/_health").await.ok();
    assert!(health["warning"].as_str().unwrap().contains("little disk space"), "{health}");

    bench.server.set_free_bytes(RESERVE_BYTES + (1 << 20));
    for answer in bench.grow(2).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(bench.server.get("/xrpc/_health").await.ok().get("warning").is_none());
}

#[tokio::test]
async fn reading_signing_in_and_deleting_go_on_within_the_reserve() {
    let bench = Bench::new().await;
    let (server, did) = (&bench.server, &bench.alice.did);
    server.set_free_bytes(0);
    let cid = bench.blob["ref"]["$link"].as_str().unwrap();
    for (nsid, params) in [
        ("com.atproto.repo.getRecord", vec![("repo", did.as_str()), ("collection", NOTE), ("rkey", "a")]),
        ("com.atproto.repo.listRecords", vec![("repo", did), ("collection", NOTE)]),
        ("com.atproto.sync.getRepo", vec![("did", did)]),
        ("com.atproto.sync.getBlob", vec![("did", did), ("cid", cid)]),
    ] {
        let call = params.iter().fold(server.query(nsid), |call, (name, value)| call.param(name, value));
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{nsid}: {}", answer.text());
    }
    let sign_in = json!({ "identifier": did, "password": PASSWORD });
    let session = server.procedure("com.atproto.server.createSession").json(&sign_in).send().await.ok();
    let refresh = session["refreshJwt"].as_str().unwrap();
    let session = server.procedure("com.atproto.server.refreshSession").bearer(refresh).send().await.ok();
    let refresh = session["refreshJwt"].as_str().unwrap();
    server.procedure("com.atproto.server.deleteSession").bearer(refresh).send().await.empty();

    server.delete_record(&bench.alice, "com.example.note/a").await;
    let delete = json!({ "$type": "com.atproto.repo.applyWrites#delete", "collection": NOTE, "rkey": "b" });
    bench.writes(json!([delete])).send().await.ok();
    bench.post("com.atproto.server.deactivateAccount", json!({})).send().await.empty();
    let gone = server.procedure("com.atproto.admin.deleteAccount").admin().json(&json!({ "did": did }));
    gone.send().await.empty();
}

#[tokio::test]
async fn an_upload_that_would_not_leave_the_reserve_is_refused_by_its_length() {
    let bench = Bench::new().await;
    bench.server.set_free_bytes(RESERVE_BYTES + 1000);
    let upload = |n_bytes: usize| {
        let call = bench.server.procedure("com.atproto.repo.uploadBlob").auth(&bench.alice);
        call.body("text/plain", vec![b'x'; n_bytes])
    };
    upload(1001).send().await.error(503, "InsufficientStorage");
    upload(1000).send().await.ok();
}
