#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::crypto::Curve;
use proptest::prelude::*;
use serde_json::json;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[seed; 32]).unwrap()
}

fn account() -> PlcData {
    PlcData::for_account(
        vec![key(2).public_key().did_key(), key(1).public_key().did_key()],
        &key(3).public_key(),
        &Handle::parse("alice.example").unwrap(),
        "https://pds.example",
    )
}

/// A fact of the public log: the genesis of did:plc:7az4y43gpd5iz3uz5aoiimpn.
fn known_genesis() -> Json {
    json!({
        "type": "plc_operation",
        "prev": null,
        "services": {},
        "alsoKnownAs": [],
        "rotationKeys": ["did:key:zDnaet3CLvFwasyRn1qaCJec6XDqh2pXE4fUoJpG19H9xauUf"],
        "verificationMethods": {},
        "sig": "kWGr1tLkLeFbi2sM1ECfIXVLE11U8F_2JbIjP6SO504Z2YVilrvr37AgtsfcPww_EuBacJoJDYbmwVTRoz3cPQ",
    })
}

/// PL-5, PL-6, PL-7
#[test]
fn a_known_genesis_has_its_cid_did_and_signer() {
    let operation = Operation::from_json(&known_genesis()).unwrap();
    assert_eq!(operation.cid().to_string(), "bafyreihygpghgzty7kgo5gpidscdd3p7krovysfy76uqfyildy5qy6xyqi");
    assert_eq!(operation.did().unwrap().as_str(), "did:plc:7az4y43gpd5iz3uz5aoiimpn");
    assert_eq!(operation.signer(&operation.data().unwrap().rotation_keys).unwrap(), 0);
    assert_eq!(operation.to_json(), known_genesis());
}

/// PL-1, PL-2
#[test]
fn every_field_of_the_type_and_no_other_is_there() {
    let mut broken = Vec::new();
    for field in known_genesis().as_object().unwrap().keys() {
        let mut without = known_genesis();
        without.as_object_mut().unwrap().remove(field);
        broken.push(without);
    }
    let mut unknown = known_genesis();
    unknown["note"] = json!("x");
    broken.push(unknown);
    let mut in_service = known_genesis();
    in_service["services"] = json!({ "a": { "type": "T", "endpoint": "https://a.example", "x": 1 } });
    broken.push(in_service);
    broken.push(json!({ "type": "plc_tombstone", "prev": null, "sig": "" }));
    broken.push(json!({
        "type": "create", "signingKey": "a", "recoveryKey": "b", "handle": "c", "service": "d",
        "prev": "bafy", "sig": "",
    }));
    broken.push(json!(null));
    for json in broken {
        assert!(matches!(Operation::from_json(&json), Err(Error::Field { .. })), "{json}");
    }
}

/// PL-3
#[test]
fn a_legacy_create_reads_as_an_account() {
    let json = json!({
        "type": "create", "signingKey": "did:key:zS", "recoveryKey": "did:key:zR",
        "handle": "a.example", "service": "pds.example", "prev": null, "sig": "",
    });
    let operation = Operation::from_json(&json).unwrap();
    let data = operation.data().unwrap();
    assert_eq!(data.rotation_keys, ["did:key:zR", "did:key:zS"]);
    assert_eq!(data.verification_methods["atproto"], "did:key:zS");
    assert_eq!(data.also_known_as, ["at://a.example"]);
    assert_eq!(data.services["atproto_pds"].endpoint, "https://pds.example");
    assert_eq!(operation.to_json(), json, "the hash is over the legacy form");
}

/// PL-4
#[test]
fn a_signature_has_one_text_only() {
    let operation = Operation::sign(account(), None, &key(1));
    let keys = &account().rotation_keys;
    assert_eq!(operation.signer(keys).unwrap(), 1);
    let sig = operation.sig().to_owned();
    // 64 bytes leave four unused bits in the last of 86 characters.
    let last = sig.chars().last().unwrap();
    let neighbour = char::from(last as u8 + 1);
    let with_bits = format!("{}{neighbour}", &sig[..85]);
    for text in [format!("{sig}=="), format!("{sig}\n"), with_bits, sig[..84].to_owned(), String::new()] {
        let Operation::Plc { data, prev, .. } = operation.clone() else { panic!() };
        let changed = Operation::Plc { data, prev, sig: text.clone() };
        assert!(matches!(changed.signer(keys), Err(Error::Signature(_))), "{text:?}");
    }
}

#[test]
fn an_operation_that_follows_another_makes_no_did() {
    let genesis = Operation::sign(account(), None, &key(1));
    let update = Operation::sign(account(), Some(&genesis.cid()), &key(1));
    let tombstone = Operation::sign_tombstone(&genesis.cid(), &key(1));
    assert!(genesis.did().unwrap().as_str().starts_with("did:plc:"));
    assert!(update.did().is_err());
    assert!(tombstone.did().is_err());
    assert_eq!(tombstone.data(), None);
}

proptest! {
    #[test]
    fn a_signed_operation_survives_json(
        aliases in proptest::collection::vec(".{0,20}", 0..4),
        names in proptest::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..4),
    ) {
        let mut data = account();
        data.also_known_as = aliases;
        data.services = names
            .into_iter()
            .map(|(name, endpoint)| (name, Service { service_type: "T".to_owned(), endpoint }))
            .collect();
        let operation = Operation::sign(data, None, &key(2));
        let again = Operation::from_json(&operation.to_json()).unwrap();
        prop_assert_eq!(again.cid(), operation.cid());
        prop_assert_eq!(again.signer(&account().rotation_keys).unwrap(), 0);
        prop_assert_eq!(again, operation);
    }
}
