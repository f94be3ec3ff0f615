//! Keys and signatures of both curves, in every form they can be refused in.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const CURVES: [Curve; 2] = [Curve::K256, Curve::P256];

fn key(curve: Curve, seed: u8) -> SigningKey {
    SigningKey::from_bytes(curve, &[seed; 32]).unwrap()
}

/// The other signature that the same key and message allow: r, n - s.
fn with_other_s(curve: Curve, signature: &[u8; 64]) -> Vec<u8> {
    match curve {
        Curve::K256 => {
            let (r, s) = k256::ecdsa::Signature::from_slice(signature).unwrap().split_scalars();
            k256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_vec()
        }
        Curve::P256 => {
            let (r, s) = p256::ecdsa::Signature::from_slice(signature).unwrap().split_scalars();
            p256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_vec()
        }
    }
}

#[test]
fn a_known_scalar_gives_its_known_did_key() {
    // CR-4: the generators of the two curves, by the scalar 1.
    let mut one = [0; 32];
    one[31] = 1;
    let did_key = |curve| SigningKey::from_bytes(curve, &one).unwrap().public_key().did_key();
    assert_eq!(did_key(Curve::K256), "did:key:zQ3shVc2UkAfJCdc1TR8E66J85h48P43r93q8jGPkPpjF9Ef9");
    assert_eq!(did_key(Curve::P256), "did:key:zDnaepsL7AXenJkVYdkh5KuKsSU7Ykh7kyXaLLU7auN9FWSiZ");
}

#[test]
fn scalars_outside_the_group_are_refused() {
    for curve in CURVES {
        assert!(SigningKey::from_bytes(curve, &[0; 32]).is_err());
        assert!(SigningKey::from_bytes(curve, &[0xff; 32]).is_err());
        assert_eq!(*key(curve, 7).to_bytes(), [7; 32]);
        assert_eq!(key(curve, 7).curve(), curve);
    }
}

#[test]
fn debug_shows_nothing_of_a_private_key() {
    let shown = format!("{:?}", key(Curve::K256, 0xab));
    assert_eq!(shown, "SigningKey(K256, ..)");
}

#[test]
fn signatures_are_64_bytes_and_deterministic() {
    // CR-2, CR-7
    for curve in CURVES {
        assert_eq!(key(curve, 1).sign(b"m"), key(curve, 1).sign(b"m"));
        assert_ne!(key(curve, 1).sign(b"m"), key(curve, 1).sign(b"n"));
    }
}

#[test]
fn other_forms_of_a_good_signature_are_refused() {
    // CR-2
    for curve in CURVES {
        let signature = key(curve, 1).sign(b"m");
        let public = key(curve, 1).public_key();
        let der = match curve {
            Curve::K256 => {
                k256::ecdsa::Signature::from_slice(&signature).unwrap().to_der().as_bytes().to_vec()
            }
            Curve::P256 => {
                p256::ecdsa::Signature::from_slice(&signature).unwrap().to_der().as_bytes().to_vec()
            }
        };
        for bad in [&der[..], &signature[..63], &[&signature[..], &[0]].concat(), &[], &[0; 64], &[0xff; 64]]
        {
            assert_eq!(public.verify(b"m", bad), Err(Error::SignatureForm), "{} bytes", bad.len());
            assert_eq!(public.verify_any_s(b"m", bad), Err(Error::SignatureForm));
        }
    }
}

#[test]
fn texts_that_are_no_key_are_refused() {
    // CR-4, CR-5
    let multikey = |bytes: &[u8]| multibase::encode(multibase::Base::Base58Btc, bytes);
    let public = key(Curve::K256, 1).public_key();
    let point = multibase::decode(public.multikey()).unwrap().1[2..].to_vec();
    let PublicKey::K256(inner) = &public else { unreachable!() };
    let uncompressed = inner.to_sec1_point(false).as_bytes().to_vec();

    let mut off_curve = vec![0xe7, 0x01, 0x02];
    off_curve.extend([0xff; 32]);
    for bad in [
        String::new(),
        "z".to_owned(),
        "zQ3sh0OIl".to_owned(),
        public.multikey().replacen('z', "m", 1),
        public.multikey() + "1",
        multikey(&point),
        multikey(&[&[0xed, 0x01], point.as_slice()].concat()),
        multikey(&[&[0xe7, 0x01], &point[..32]].concat()),
        multikey(&[&[0xe7, 0x01], uncompressed.as_slice()].concat()),
        multikey(&off_curve),
        "z".repeat(100_000),
    ] {
        assert!(PublicKey::from_multikey(&bad).is_err(), "{bad:.80}");
    }
    assert!(PublicKey::from_did_key(&public.multikey()).is_err());
    assert!(PublicKey::from_did_key(&public.did_key().to_uppercase()).is_err());
}

#[test]
fn legacy_documents_write_the_bare_point() {
    // DI-8
    for curve in CURVES {
        let public = key(curve, 3).public_key();
        let points = match &public {
            PublicKey::K256(key) => [true, false].map(|c| key.to_sec1_point(c).as_bytes().to_vec()),
            PublicKey::P256(key) => [true, false].map(|c| key.to_sec1_point(c).as_bytes().to_vec()),
        };
        for point in points {
            let text = multibase::encode(multibase::Base::Base58Btc, point);
            assert_eq!(PublicKey::from_legacy_multibase(curve, &text).as_ref(), Ok(&public));
        }
        assert!(PublicKey::from_legacy_multibase(curve, &public.multikey()).is_err());
    }
}

proptest! {
    #[test]
    fn only_the_low_s_form_verifies(seed in 1..255u8, message in any::<Vec<u8>>()) {
        // CR-1, CR-3
        for curve in CURVES {
            let (key, other) = (key(curve, seed), key(curve, seed % 254 + 1));
            let public = key.public_key();
            let signature = key.sign(&message);
            prop_assert_eq!(public.verify(&message, &signature), Ok(()));
            prop_assert_eq!(check_signature_form(&signature), Ok(()));
            let high = with_other_s(curve, &signature);
            prop_assert_eq!(public.verify(&message, &high), Err(Error::HighS));
            prop_assert_eq!(public.verify_any_s(&message, &high), Ok(()));

            prop_assert_eq!(public.verify(b"another message", &signature), Err(Error::Mismatch));
            prop_assert_eq!(other.public_key().verify(&message, &signature), Err(Error::Mismatch));
        }
    }

    #[test]
    fn a_public_key_survives_its_text(seed in 1..255u8) {
        // CR-4
        for curve in CURVES {
            let public = key(curve, seed).public_key();
            prop_assert_eq!(PublicKey::from_did_key(&public.did_key()), Ok(public.clone()));
            prop_assert_eq!(PublicKey::from_multikey(&public.multikey()), Ok(public));
        }
    }
}
