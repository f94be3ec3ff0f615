mod get_blob;
mod get_blocks;
mod get_checkout;
mod get_head;
mod get_latest_commit;
mod get_record;
mod get_repo;
mod get_repo_status;
mod list_blobs;
mod list_repos;
mod subscribe_repos;

use std::collections::BTreeMap;

use atproto::{
    crypto::PublicKey,
    data::Cid,
    repo::{
        Commit,
        car::{Decoder, Item},
    },
};
use serde_json::json;

use crate::support::{Answer, Call, PASSWORD, TestAccount, TestServer};

/// A DID that has no account here.
const NOBODY: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
/// A CID of nothing that is stored here.
const NOTHING: &str = "bafkreidiq6d5r7cgvkwsl2t5n5ptzyrxepyauipv5tmdv7pzvexdlnh6qa";

/// A CAR that came back.
struct Car {
    roots: Vec<Cid>,
    order: Vec<Cid>,
    blocks: BTreeMap<Cid, Vec<u8>>,
}

impl Car {
    #[track_caller]
    fn of(answer: &Answer) -> Car {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/vnd.ipld.car"));
        let mut decoder = Decoder::new(u64::MAX);
        decoder.push(&answer.bytes);
        let Some(Item::Header { roots }) = decoder.next_item().unwrap() else { panic!("no header") };
        let (mut order, mut blocks) = (Vec::new(), BTreeMap::new());
        while let Some(item) = decoder.next_item().unwrap() {
            let Item::Block { cid, data } = item else { panic!("{item:?}") };
            order.push(cid);
            blocks.insert(cid, data.to_vec());
        }
        decoder.finish().unwrap();
        Car { roots, order, blocks }
    }

    /// The commit, which is the only root and the first block, and whose signature is good.
    #[track_caller]
    fn commit(&self, key: &PublicKey) -> Commit {
        let [root] = self.roots.as_slice() else { panic!("{:?}", self.roots) };
        assert_eq!(self.order.first(), Some(root));
        let commit = Commit::decode(&self.blocks[root]).unwrap();
        commit.verify(key).unwrap();
        commit
    }
}

/// Whether a method takes the tokens of accounts that were taken down.
enum TakendownTokens {
    Accepted,
    Refused,
}

/// What every read of one repo has in common (AC-2, AC-3, MG-12): who is refused, by which name, and who is not.
/// `params` are those beside `did`, good ones.
async fn check_availability(
    server: &TestServer,
    nsid: &str,
    alice: &TestAccount,
    params: &[(&str, &str)],
    tokens: TakendownTokens,
) {
    let bob = server.create_account("bob").await;
    let with = |did: &str| {
        let call = server.query(nsid).param("did", did);
        params.iter().fold(call, |call, (name, value)| call.param(name, value))
    };
    let ask = async |call: Call<'_>| call.send().await;
    let granted = |answer: Answer| assert_eq!(answer.status, 200, "{nsid}: {}", answer.text());

    granted(ask(with(&alice.did)).await);
    ask(with(NOBODY)).await.error(400, "RepoNotFound");
    ask(with(NOBODY).admin()).await.error(400, "RepoNotFound");
    let message = ask(with("nonsense")).await.error(400, "InvalidRequest");
    assert!(message.contains("did"), "{message}");
    let message = ask(server.query(nsid)).await.error(400, "InvalidRequest");
    assert!(message.contains("missing"), "{message}");
    ask(with(&alice.did).param("did", &alice.did)).await.error(400, "InvalidRequest");
    let message = ask(server.procedure(nsid).json(&json!({}))).await.error(400, "InvalidRequest");
    assert_eq!(message, "Incorrect HTTP method (POST) expected GET");

    ask(with(&alice.did).bearer("nonsense")).await.error(400, "InvalidToken");
    ask(with(&alice.did).bearer(&alice.refresh_jwt)).await.error(400, "InvalidToken");
    ask(with(&alice.did).header("authorization", "Digest x")).await.error(400, "InvalidToken");
    ask(with(&alice.did).header("authorization", "Bearer")).await.error(400, "InvalidToken");
    // admin:wrong
    ask(with(&alice.did).header("authorization", "Basic YWRtaW46d3Jvbmc="))
        .await
        .error(401, "AuthenticationRequired");

    server.deactivate(&alice.did).await;
    ask(with(&alice.did)).await.error(400, "RepoDeactivated");
    ask(with(&alice.did).auth(&bob)).await.error(400, "RepoDeactivated");
    granted(ask(with(&alice.did).auth(alice)).await);
    granted(ask(with(&alice.did).admin()).await);

    server.take_down(&alice.did).await;
    ask(with(&alice.did)).await.error(400, "RepoTakendown");
    ask(with(&alice.did).auth(&bob)).await.error(400, "RepoTakendown");
    granted(ask(with(&alice.did).admin()).await);

    let input = json!({ "identifier": alice.did, "password": PASSWORD, "allowTakendown": true });
    let session = server.procedure("com.atproto.server.createSession").json(&input).send().await.ok();
    let answer = ask(with(&alice.did).bearer(session["accessJwt"].as_str().unwrap())).await;
    match tokens {
        TakendownTokens::Accepted => granted(answer),
        TakendownTokens::Refused => drop(answer.error(400, "InvalidToken")),
    }
}

/// Every bad value of a parameter is a 400 that names it.
async fn check_bad_params<'a>(call: impl Fn() -> Call<'a>, bad: &[(&str, &str)]) {
    for (name, value) in bad {
        let message = call().param(name, value).send().await.error(400, "InvalidRequest");
        assert!(message.contains(name), "{name}={value}: {message}");
    }
}
