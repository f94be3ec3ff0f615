mod get_recommended_did_credentials;
mod pending;
mod refresh_identity;
mod resolve_did;
mod resolve_handle;
mod resolve_identity;
mod sign_plc_operation;
mod submit_plc_operation;
mod update_handle;

use atproto::event::{Frame, Identity};
use rookery::service::identity::PlcClient;
use serde_json::Value as Json;

use crate::support::{
    TestServer,
    plc_gate::{Gate, PlcGate},
};

/// A server whose directory stands behind a gate.
async fn gated() -> (TestServer, PlcGate) {
    let gate = PlcGate::start().await;
    let server = TestServer::start_with(|settings| settings.plc_url = gate.url.clone()).await;
    gate.lead_to(&server.plc_url);
    gate.set(Gate::Open);
    (server, gate)
}

/// What the directory says of a DID, asked past any gate.
async fn plc_data(server: &TestServer, did: &str) -> Json {
    PlcClient::new(&server.plc_url).data(&did.parse().unwrap()).await.unwrap().unwrap()
}

/// How many operations the directory has of a DID.
async fn operations(server: &TestServer, did: &str) -> usize {
    PlcClient::new(&server.plc_url).audit_log(&did.parse().unwrap()).await.unwrap().len()
}

/// Events after `seq`, all of them `#identity`.
fn identities_after(server: &TestServer, seq: i64) -> Vec<Identity> {
    let frames = server.app.store.ring().after(seq, 100, 1 << 20).unwrap();
    frames
        .iter()
        .map(|(_, frame)| match Frame::decode(frame).unwrap() {
            Frame::Identity(identity) => identity,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn last_seq(server: &TestServer) -> i64 {
    *server.app.store.ring().last_seq().borrow()
}

async fn handle_of(server: &TestServer, did: &str) -> Json {
    let info = server.query("com.atproto.repo.describeRepo").param("repo", did).send().await.ok();
    info["handle"].clone()
}
