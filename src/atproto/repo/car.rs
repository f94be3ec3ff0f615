//! CAR version 1 (section 6): a streaming decoder without IO, and encoders.
//!
//! Not for: the order of blocks (the exporter's choice) or whether a repo is complete (CAR-9).

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use crate::data::{
    Cid, cbor,
    cid::{self, CID_BYTES_MAX},
};

/// Largest header, in bytes: room for several hundred roots, of which one is used (CAR-2).
const HEADER_BYTES_MAX: u64 = 16 * 1024;
/// A length below 2^63 takes at most nine bytes.
const VARINT_BYTES_MAX: usize = 9;

/// Why bytes are not a CAR file (CAR-8).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input ends too early.
    #[error("CAR ends in the middle of a section")]
    Truncated,
    /// What is wrong with the header.
    #[error("CAR header: {0}")]
    Header(String),
    /// What is wrong with a section.
    #[error("CAR section: {0}")]
    Section(String),
    /// CID-6. Also for a hash other than SHA-256, which cannot be checked.
    #[error("block {0} does not match its hash")]
    HashMismatch(Cid),
    /// A block over the limit, found before it is held in memory.
    #[error("block is {bytes} bytes; at most {max} are accepted")]
    BlockTooLarge {
        /// Its size, or the announced size of its section.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

/// A piece of a CAR file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Comes first, once.
    Header {
        /// The first is the commit; more mean nothing (CAR-2).
        roots: Vec<Cid>,
    },
    /// A block whose hash matches. Blocks may repeat and come in any order (CAR-5).
    Block {
        /// Its CID.
        cid: Cid,
        /// Its bytes.
        data: Bytes,
    },
}

/// Push bytes in, take items out.
///
/// Holds what was pushed and not yet taken, so a caller that takes all items between two pushes
/// makes it hold at most one section and one push. After an error it is of no more use, except
/// after [`Error::HashMismatch`]: that section has been passed, and the next one can be taken.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    pushed_bytes: u64,
    block_bytes_max: u64,
    header_seen: bool,
}

impl Decoder {
    /// A block over `block_bytes_max` bytes is refused before it is buffered.
    pub fn new(block_bytes_max: u64) -> Decoder {
        Decoder { buffer: BytesMut::new(), pushed_bytes: 0, block_bytes_max, header_seen: false }
    }

    /// Adds input.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pushed_bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes of the input the items taken so far make up: where the next section begins,
    /// and where the data of a block just taken ends.
    pub fn position(&self) -> u64 {
        self.pushed_bytes - self.buffer.len() as u64
    }

    /// The next item. `Ok(None)`: push more.
    ///
    /// # Errors
    ///
    /// Any but [`Error::Truncated`].
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        if self.header_seen { self.next_block() } else { self.next_header() }
    }

    /// Call at the end of the input, when [`Decoder::next_item`] gives nothing more.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`].
    pub fn finish(self) -> Result<(), Error> {
        if self.header_seen && self.buffer.is_empty() { Ok(()) } else { Err(Error::Truncated) }
    }

    fn next_header(&mut self) -> Result<Option<Item>, Error> {
        let Some((len, varint_len)) = read_varint(&self.buffer).map_err(Error::Header)? else {
            return Ok(None);
        };
        if len > HEADER_BYTES_MAX {
            return Err(Error::Header(format!("it is {len} bytes; at most {HEADER_BYTES_MAX} are accepted")));
        }
        let Some(header) = self.take_section(len, varint_len) else {
            return Ok(None);
        };
        let roots = decode_header(&header)?;
        self.header_seen = true;
        Ok(Some(Item::Header { roots }))
    }

    fn next_block(&mut self) -> Result<Option<Item>, Error> {
        let Some((len, varint_len)) = read_varint(&self.buffer).map_err(Error::Section)? else {
            return Ok(None);
        };
        let max = self.block_bytes_max;
        if len == 0 {
            return Err(Error::Section("its length is zero".to_owned()));
        }
        if len > max.saturating_add(CID_BYTES_MAX as u64) {
            return Err(Error::BlockTooLarge { bytes: len, max });
        }
        let Some(mut section) = self.take_section(len, varint_len) else {
            return Ok(None);
        };
        let mut rest = &*section;
        let cid = Cid::read_bytes(&mut rest)
            .map_err(|error| Error::Section(format!("it does not begin with a CID: {error}")))?;
        let data = section.split_off(section.len() - rest.len());
        if section.len() > CID_BYTES_MAX {
            return Err(Error::Section(format!("its CID is over {CID_BYTES_MAX} bytes")));
        }
        if data.len() as u64 > max {
            return Err(Error::BlockTooLarge { bytes: data.len() as u64, max });
        }
        if !cid::matches(&cid, &data) {
            return Err(Error::HashMismatch(cid));
        }
        Ok(Some(Item::Block { cid, data }))
    }

    /// `None`: it is not all there yet. The callers have checked `len` against a limit.
    fn take_section(&mut self, len: u64, varint_len: usize) -> Option<Bytes> {
        let len = usize::try_from(len).ok()?;
        if self.buffer.len() - varint_len < len {
            return None;
        }
        self.buffer.advance(varint_len);
        Some(self.buffer.split_to(len).freeze())
    }
}

/// The number at the front of `bytes` and how many bytes it takes. `None`: push more.
fn read_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, String> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if *byte == 0 && i > 0 {
                return Err("its length is not in the shortest form".to_owned());
            }
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() < VARINT_BYTES_MAX { Ok(None) } else { Err("its length is too long".to_owned()) }
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// CAR-1: canonical CBOR of exactly `roots` and `version`.
fn decode_header(bytes: &[u8]) -> Result<Vec<Cid>, Error> {
    let shape = |problem: &str| Error::Header(problem.to_owned());
    let cbor = |error: cbor::Error| Error::Header(error.to_string());
    let mut reader = cbor::Reader::new(bytes);
    if reader.map().map_err(cbor)? != 2 || reader.text().map_err(cbor)? != "roots" {
        return Err(shape("it has other fields than roots and version"));
    }
    let count = reader.array().map_err(cbor)?;
    let roots = (0..count).map(|_| reader.link()).collect::<Result<_, _>>().map_err(cbor)?;
    if reader.text().map_err(cbor)? != "version" {
        return Err(shape("it has other fields than roots and version"));
    }
    match reader.integer().map_err(cbor)? {
        1 => {}
        version => return Err(Error::Header(format!("version {version} is not supported"))),
    }
    reader.finish().map_err(cbor)?;
    Ok(roots)
}

/// The first section of a CAR file.
pub fn encode_header(roots: &[Cid]) -> Vec<u8> {
    let mut writer = cbor::Writer::new();
    writer.map(2).text("roots").array(roots.len() as u64);
    for root in roots {
        writer.link(root);
    }
    writer.text("version").integer(1);
    let header = writer.finish();
    let mut out = Vec::with_capacity(header.len() + VARINT_BYTES_MAX);
    write_varint(header.len() as u64, &mut out);
    out.extend_from_slice(&header);
    out
}

/// Appends the section of one block to `out`.
pub fn encode_block(cid: &Cid, data: &[u8], out: &mut Vec<u8>) {
    let cid_len = cid.encoded_len();
    out.reserve(VARINT_BYTES_MAX + cid_len + data.len());
    write_varint((cid_len + data.len()) as u64, out);
    // Writing to a `Vec` cannot fail.
    let _ = cid.write_bytes(&mut *out);
    out.extend_from_slice(data);
}

/// A whole small CAR in memory (slices, proofs), blocks in the order given.
pub fn encode<'a>(
    roots: &[Cid],
    blocks: impl IntoIterator<Item = (&'a Cid, &'a [u8]), IntoIter: Clone>,
) -> Vec<u8> {
    let blocks = blocks.into_iter();
    let mut out = encode_header(roots);
    out.reserve(blocks.clone().map(|(_, data)| VARINT_BYTES_MAX + CID_BYTES_MAX + data.len()).sum());
    for (cid, data) in blocks {
        encode_block(cid, data, &mut out);
    }
    out
}

/// Blocks by their CIDs.
pub type Blocks = BTreeMap<Cid, Vec<u8>>;

/// Roots and blocks of a whole small CAR in memory, every hash checked.
///
/// # Errors
///
/// Any of [`Error`]. No limit but the length of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<(Vec<Cid>, Blocks), Error> {
    let mut decoder = Decoder::new(u64::MAX);
    decoder.push(bytes);
    let mut roots = Vec::new();
    let mut blocks = BTreeMap::new();
    while let Some(item) = decoder.next_item()? {
        match item {
            Item::Header { roots: found } => roots = found,
            Item::Block { cid, data } => {
                blocks.insert(cid, data.to_vec());
            }
        }
    }
    decoder.finish()?;
    Ok((roots, blocks))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn block(n: u8) -> (Cid, Vec<u8>) {
        let data = vec![n; usize::from(n)];
        (cid::for_cbor(&data), data)
    }

    fn car(numbers: &[u8]) -> Vec<u8> {
        let blocks: Vec<_> = numbers.iter().copied().map(block).collect();
        encode(&[block(0).0], blocks.iter().map(|(cid, data)| (cid, &**data)))
    }

    fn decode_all(bytes: &[u8], chunk: usize, max: u64) -> Result<Vec<Item>, Error> {
        let mut decoder = Decoder::new(max);
        let mut items = Vec::new();
        for chunk in bytes.chunks(chunk) {
            decoder.push(chunk);
            while let Some(item) = decoder.next_item()? {
                items.push(item);
            }
        }
        decoder.finish()?;
        Ok(items)
    }

    proptest! {
        /// CAR-1, CAR-5: any order, repeats, and any cut of the input into pieces.
        #[test]
        fn what_is_encoded_is_decoded(numbers: Vec<u8>, chunk in 1usize..400) {
            let items = decode_all(&car(&numbers), chunk, 255).unwrap();
            let mut expected = vec![Item::Header { roots: vec![block(0).0] }];
            expected.extend(numbers.into_iter().map(|n| {
                let (cid, data) = block(n);
                Item::Block { cid, data: data.into() }
            }));
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn no_input_crashes_the_decoder(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = decode(&bytes);
            let mut bytes = car(&[3, 40]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        // CAR-1: length, {roots: [link], version: 1}; length, CID, data.
        let (cid, data) = block(1);
        let car = encode(&[cid], [(&cid, &*data)]);
        let mut expected = vec![58, 0xa2, 0x65];
        expected.extend(b"roots");
        expected.extend([0x81, 0xd8, 0x2a, 0x58, 0x25, 0]);
        expected.extend(cid.to_bytes());
        expected.push(0x67);
        expected.extend(b"version");
        expected.extend([1, 37]);
        expected.extend(cid.to_bytes());
        expected.push(1);
        assert_eq!(car, expected);
    }

    #[test]
    fn a_file_cut_anywhere_but_between_sections_is_refused() {
        // CAR-8, at every byte.
        let whole = car(&[1, 200]);
        let ends: Vec<_> = [car(&[]).len(), car(&[1]).len(), whole.len()].into();
        for len in 0..=whole.len() {
            let cut = decode(&whole[..len]);
            match ends.contains(&len) {
                true => assert!(cut.is_ok(), "{len}"),
                false => assert!(matches!(cut, Err(Error::Truncated)), "{len}"),
            }
        }
    }

    #[test]
    fn broken_sections_are_refused() {
        // CAR-8.
        let after_header = |section: &[u8]| decode(&[&*car(&[]), section].concat()).unwrap_err();
        assert!(after_header(&[0]).to_string().contains("zero"));
        assert!(after_header(&[0x80, 0]).to_string().contains("shortest"));
        assert!(after_header(&[0xff; 10]).to_string().contains("too long"));
        assert!(after_header(&[3, 1, 2, 3]).to_string().contains("CID"));
        let (cid, _) = block(1);
        let mut section = Vec::new();
        encode_block(&cid, b"other", &mut section);
        assert!(matches!(after_header(&section), Error::HashMismatch(found) if found == cid));
    }

    #[test]
    fn large_sections_are_refused_before_they_are_read() {
        // CAR-11. The length alone is pushed.
        let mut decoder = Decoder::new(1000);
        decoder.push(&car(&[]));
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert!(matches!(decoder.next_item(), Ok(Some(Item::Header { .. }))));
        assert!(matches!(decoder.next_item(), Err(Error::BlockTooLarge { max: 1000, .. })));
        assert!(decode_all(&car(&[200]), 10, 200).is_ok());
        let refused = decode_all(&car(&[200]), 10, 199);
        assert!(matches!(refused, Err(Error::BlockTooLarge { bytes: 200, max: 199 })));
    }

    #[test]
    fn headers_of_another_form_are_refused() {
        let header = |fields: u64, version: Option<i64>| {
            let mut writer = cbor::Writer::new();
            writer.map(fields).text("roots").array(0);
            if let Some(version) = version {
                writer.text("version").integer(version);
            }
            let body = writer.finish();
            let mut car = vec![body.len() as u8];
            car.extend(body);
            decode(&car).map(|(roots, _)| roots.len()).map_err(|error| error.to_string())
        };
        assert_eq!(header(2, Some(1)), Ok(0));
        assert!(header(2, Some(2)).unwrap_err().contains("version 2"));
        assert!(header(1, None).unwrap_err().contains("other fields"));
        let huge = [0xff, 0xff, 0x7f];
        assert!(matches!(decode(&huge), Err(Error::Header(_))));
    }
}
