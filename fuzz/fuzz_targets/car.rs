//! A CAR arrives in pieces: however it is cut, the same items and the same verdict come out.
#![no_main]

use atproto::repo::car::{Decoder, Item};
use libfuzzer_sys::fuzz_target;

const BLOCK_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece_bytes, car) = input;
    let whole = decode([car].into_iter());
    let pieces = decode(car.chunks(usize::from(piece_bytes).max(1)));
    assert_eq!(whole, pieces);
});

/// The items before the first error, and that error's text.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Item>, Option<String>) {
    let mut decoder = Decoder::new(BLOCK_BYTES_MAX);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error.to_string())),
            }
        }
    }
    (items, decoder.finish().err().map(|error| error.to_string()))
}
