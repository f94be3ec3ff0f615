//! The form of a signature when the key is not known.

use super::Error;

/// Half the order of secp256k1, rounded down. P-256's half order is below it.
const K256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Checks the form of a signature whose key is not known: 64 bytes, and not high-S on whichever
/// curve it is. What passes can still be high-S on P-256; [`super::PublicKey::verify`] knows.
pub fn check_signature_form(signature: &[u8]) -> Result<(), Error> {
    let signature: &[u8; 64] = signature.try_into().map_err(|_| Error::SignatureForm)?;
    let (r, s) = signature.split_at(32);
    if r == [0; 32] || s == [0; 32] {
        return Err(Error::SignatureForm);
    }
    // Big-endian numbers of one length order as their bytes do.
    if s > K256_HALF_ORDER.as_slice() { Err(Error::HighS) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_s(s: [u8; 32]) -> [u8; 64] {
        let mut signature = [1; 64];
        signature[32..].copy_from_slice(&s);
        signature
    }

    #[test]
    fn the_half_order_is_the_largest_low_s() {
        // CR-3
        assert_eq!(check_signature_form(&with_s(K256_HALF_ORDER)), Ok(()));
        let mut above = K256_HALF_ORDER;
        above[31] += 1;
        assert_eq!(check_signature_form(&with_s(above)), Err(Error::HighS));
    }

    #[test]
    fn other_lengths_and_zero_are_refused() {
        // CR-2
        assert_eq!(check_signature_form(&[1; 63]), Err(Error::SignatureForm));
        assert_eq!(check_signature_form(&[1; 70]), Err(Error::SignatureForm));
        assert_eq!(check_signature_form(&with_s([0; 32])), Err(Error::SignatureForm));
    }
}
