#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Curve, SigningKey},
    plc::Service,
    syntax::Handle,
};

const HOUR: i64 = 3_600 * 1_000_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[seed; 32]).unwrap()
}

/// An account whose rotation keys are those of `seeds`, strongest first.
fn account(seeds: &[u8]) -> PlcData {
    PlcData::for_account(
        seeds.iter().map(|seed| key(*seed).public_key().did_key()).collect(),
        &key(100).public_key(),
        &Handle::parse("alice.example").unwrap(),
        "https://pds.example",
    )
}

/// A log that a directory keeps.
struct Directory {
    did: Did,
    log: Vec<LogEntry>,
}

impl Directory {
    /// Rotation keys 1, 2, 3; genesis signed by 2 at time 0.
    fn new() -> Directory {
        let genesis = Operation::sign(account(&[1, 2, 3]), None, &key(2));
        let mut directory = Directory { did: genesis.did().unwrap(), log: Vec::new() };
        directory.submit(genesis, 0).unwrap();
        directory
    }

    /// Returns how many entries the operation nullified.
    fn submit(&mut self, operation: Operation, now_micros: i64) -> Result<usize, Error> {
        let nullified = check_next(&self.did, &self.log, &operation, now_micros)?;
        for entry in &mut self.log {
            entry.nullified |= nullified.contains(&entry.cid);
        }
        self.append(operation, now_micros);
        Ok(nullified.len())
    }

    fn append(&mut self, operation: Operation, created_at_micros: i64) {
        let cid = operation.cid();
        self.log.push(LogEntry { operation, cid, nullified: false, created_at_micros });
    }

    /// A new version of the account after entry `prev`; `n` makes it differ from others.
    fn update(&self, prev: usize, signer: u8, n: usize) -> Operation {
        let mut data = account(&[1, 2, 3]);
        data.also_known_as.push(format!("at://n{n}.example"));
        Operation::sign(data, Some(&self.log[prev].cid), &key(signer))
    }

    fn check(&self) -> Result<Option<PlcData>, Error> {
        check_log(&self.did, &self.log)
    }
}

/// PL-7
#[test]
fn an_update_is_signed_by_a_key_of_the_operation_before_it() {
    let mut directory = Directory::new();
    let handed_over = Operation::sign(account(&[4]), Some(&directory.log[0].cid), &key(3));
    directory.submit(handed_over, 1).unwrap();
    let by_the_old_key = directory.update(1, 1, 0);
    assert!(matches!(directory.submit(by_the_old_key, 2), Err(Error::Signature(_))));
    let by_the_new_key = directory.update(1, 4, 0);
    assert_eq!(directory.submit(by_the_new_key.clone(), 2).unwrap(), 0);
    assert_eq!(directory.check().unwrap(), by_the_new_key.data());
}

/// PL-6, PL-7
#[test]
fn a_genesis_makes_its_own_did_and_is_signed_by_its_own_key() {
    let genesis = Operation::sign(account(&[1]), None, &key(1));
    let other = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    assert!(matches!(check_next(&other, &[], &genesis, 0), Err(Error::Log(_))));
    let stranger = Operation::sign(account(&[1]), None, &key(9));
    let did = stranger.did().unwrap();
    assert!(matches!(check_next(&did, &[], &stranger, 0), Err(Error::Signature(_))));
    let mut directory = Directory::new();
    assert!(matches!(directory.submit(genesis, 1), Err(Error::Log(_))));
    assert!(check_log(&directory.did, &[]).is_err());
}

/// PL-10
#[test]
fn a_stronger_key_undoes_within_72_hours_that_last_instant_included() {
    for (now, accepted) in [(RECOVERY_WINDOW_MICROS + 10, true), (RECOVERY_WINDOW_MICROS + 11, false)] {
        let mut directory = Directory::new();
        directory.submit(directory.update(0, 2, 1), 10).unwrap();
        directory.submit(directory.update(1, 1, 2), now - 1).unwrap();
        let recovery = directory.update(0, 1, 3);
        match directory.submit(recovery.clone(), now) {
            Ok(nullified) => assert!(accepted && nullified == 2),
            Err(problem) => assert!(!accepted && matches!(problem, Error::Log(_))),
        }
        if accepted {
            assert_eq!(directory.check().unwrap(), recovery.data());
        }
    }
}

/// PL-10: authority is measured against the signer of the first operation that is undone.
#[test]
fn an_equal_or_weaker_key_undoes_nothing() {
    for signer in [2, 3] {
        let mut directory = Directory::new();
        directory.submit(directory.update(0, 2, 1), 1).unwrap();
        let recovery = directory.update(0, signer, 2);
        assert!(matches!(directory.submit(recovery, 2), Err(Error::Signature(_))));
    }
}

/// PL-11
#[test]
fn nothing_builds_on_a_nullified_operation() {
    let mut directory = Directory::new();
    directory.submit(directory.update(0, 2, 1), 1).unwrap();
    directory.submit(directory.update(0, 1, 2), 2).unwrap();
    let on_nullified = directory.update(1, 1, 3);
    assert!(matches!(directory.submit(on_nullified, 3), Err(Error::Log(_))));
    directory.submit(directory.update(2, 3, 3), 3).unwrap();
    directory.check().unwrap();
}

/// PL-11
#[test]
fn a_tombstone_ends_a_did_unless_a_recovery_undoes_it() {
    let mut directory = Directory::new();
    let tombstone = Operation::sign_tombstone(&directory.log[0].cid, &key(2));
    directory.submit(tombstone, 1).unwrap();
    assert_eq!(directory.check().unwrap(), None);
    let after = directory.update(1, 1, 1);
    assert!(matches!(directory.submit(after, 2), Err(Error::Log(_))));
    let recovery = directory.update(0, 1, 1);
    assert_eq!(directory.submit(recovery.clone(), 2).unwrap(), 1);
    assert_eq!(directory.check().unwrap(), recovery.data());
}

/// PL-12
#[test]
fn time_never_runs_backwards_and_a_recovery_is_newer_than_what_it_undoes() {
    let mut directory = Directory::new();
    directory.submit(directory.update(0, 2, 1), 5).unwrap();
    assert!(matches!(directory.submit(directory.update(1, 2, 2), 4), Err(Error::Log(_))));
    assert!(matches!(directory.submit(directory.update(0, 1, 2), 5), Err(Error::Log(_))));
    directory.submit(directory.update(0, 1, 2), 6).unwrap();
}

#[test]
fn marks_and_cids_of_a_log_must_agree_with_its_operations() {
    let mut directory = Directory::new();
    directory.submit(directory.update(0, 2, 1), 1).unwrap();
    directory.submit(directory.update(0, 1, 2), 2).unwrap();
    directory.check().unwrap();
    for idx in 0..3 {
        directory.log[idx].nullified ^= true;
        assert!(matches!(directory.check(), Err(Error::Log(_))), "{idx}");
        directory.log[idx].nullified ^= true;
    }
    directory.log[2].cid = directory.log[1].cid;
    assert!(matches!(directory.check(), Err(Error::Log(_))));
}

/// C-10
#[test]
fn history_is_judged_leniently_and_new_operations_by_the_specification() {
    let mut directory = Directory::new();
    let mut data = account(&[]);
    data.services.insert("x".repeat(99), Service { service_type: "T".into(), endpoint: "e".into() });
    let keyless = Operation::sign(data, Some(&directory.log[0].cid), &key(1));
    assert!(matches!(directory.submit(keyless.clone(), 1), Err(Error::Field { .. })));
    directory.append(keyless, 1);
    assert!(directory.check().is_ok());
    let repeated = Operation::sign(account(&[1, 1]), None, &key(1));
    let mut history = Directory { did: repeated.did().unwrap(), log: Vec::new() };
    assert!(history.submit(repeated.clone(), 0).is_err());
    history.append(repeated, 0);
    assert!(history.check().is_ok());
}

#[test]
fn a_log_past_the_limit_is_refused_unread() {
    let directory = Directory::new();
    let endless = vec![directory.log[0].clone(); LOG_ENTRIES_MAX + 1];
    let error = check_log(&directory.did, &endless).unwrap_err();
    assert!(error.to_string().contains("at most 10000"), "{error}");
}

#[test]
fn an_entry_survives_json() {
    let mut directory = Directory::new();
    directory.submit(directory.update(0, 2, 1), 1_700_000_000_123_000).unwrap();
    let json = directory.log[1].to_json(&directory.did);
    assert_eq!(json["createdAt"], "2023-11-14T22:13:20.123Z");
    assert_eq!(LogEntry::from_json(&json).unwrap(), directory.log[1]);
    for field in ["operation", "cid", "nullified", "createdAt"] {
        let mut without = json.clone();
        without.as_object_mut().unwrap().remove(field);
        assert!(matches!(LogEntry::from_json(&without), Err(Error::Field { .. })), "{field}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The oracle is a second bookkeeping: of each operation its parent, signer and fate.
    #[test]
    fn whatever_a_directory_accepts_is_a_valid_log(
        steps in proptest::collection::vec((0usize..8, 1u8..=3, 0i64..40), 1..12),
    ) {
        let mut directory = Directory::new();
        let mut signers = vec![2u8];
        let mut stands = vec![true];
        let mut now = 0;
        for (n, (prev, signer, hours)) in steps.into_iter().enumerate() {
            let prev = prev % directory.log.len();
            now += hours * HOUR + 1;
            let cut: Vec<usize> = (prev + 1..stands.len()).filter(|idx| stands[*idx]).collect();
            let allowed = stands[prev] && cut.first().is_none_or(|first| {
                let age = now - directory.log[*first].created_at_micros;
                signer < signers[*first] && age <= 72 * HOUR
            });
            let operation = directory.update(prev, signer, n);
            let result = directory.submit(operation, now);
            prop_assert_eq!(result.is_ok(), allowed, "{:?}", result);
            if allowed {
                prop_assert_eq!(result.unwrap(), cut.len());
                cut.into_iter().for_each(|idx| stands[idx] = false);
                stands.push(true);
                signers.push(signer);
            }
            let newest = directory.log.last().unwrap().operation.data();
            prop_assert_eq!(directory.check().unwrap(), newest);
        }
    }
}
