mod apply_writes;
mod create_record;
mod delete_record;
mod describe_repo;
mod get_record;
mod import_repo;
mod list_missing_blobs;
mod list_records;
mod put_record;
mod upload_blob;

use serde_json::{Value as Json, json};

use crate::support::{Answer, TestAccount, TestServer};

const NOTE: &str = "com.example.note";

/// A call of a write method, `repo` filled in.
async fn call(server: &TestServer, account: &TestAccount, method: &str, mut input: Json) -> Answer {
    if input.get("repo").is_none() {
        input["repo"] = json!(account.did);
    }
    server.procedure(&format!("com.atproto.repo.{method}")).auth(account).json(&input).send().await
}

async fn put(server: &TestServer, account: &TestAccount, rkey: &str, text: &str) -> Json {
    let input = json!({ "collection": NOTE, "rkey": rkey, "record": { "text": text } });
    call(server, account, "putRecord", input).await.ok()
}
