//! A subscriber that costs next to nothing: it reads the headers of websocket frames, counts messages, and looks into none
//! unless asked to. A thousand of them share one read buffer. Not for anything but listening.

use anyhow::{Result, bail, ensure};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::http::Connection;

/// The longest message, in bytes: events stay below 5 MB.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A frame's header without a mask: two bytes, and eight of length.
const HEADER_BYTES_MAX: usize = 10;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Whether payloads are handed on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payloads {
    /// Messages are only counted.
    Skip,
    /// Messages are handed on whole.
    Keep,
}

/// What the parser found.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A message has come to its end; empty when payloads are skipped.
    Message(Vec<u8>),
    /// The server wants a pong with these bytes.
    Ping(Vec<u8>),
    /// The server is going, with this code.
    Close(u16),
}

/// Takes a stream of bytes apart.
pub struct Parser {
    payloads: Payloads,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// Of the frame under way: its first byte, and how much is to come. `None` while the header is read.
    frame: Option<(u8, u64)>,
    message: Vec<u8>,
    message_bytes: u64,
    control: Vec<u8>,
    control_bytes: u64,
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(payloads: Payloads) -> Parser {
        Parser {
            payloads,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            message: Vec::new(),
            message_bytes: 0,
            control: Vec::new(),
            control_bytes: 0,
        }
    }

    /// Takes the next bytes and tells what they complete.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be a server's: masked, text, or a message over the limit.
    pub fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Item)) -> Result<()> {
        loop {
            let (first, left) = match self.frame {
                Some(frame) => frame,
                None => match self.take_header(&mut bytes)? {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            let n_taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (taken, rest) = bytes.split_at(n_taken);
            bytes = rest;
            let left = left - n_taken as u64;
            if first & 0x08 != 0 {
                self.control.extend_from_slice(taken);
            } else if self.payloads == Payloads::Keep {
                self.message.extend_from_slice(taken);
            }
            if left > 0 {
                self.frame = Some((first, left));
                return Ok(());
            }
            self.frame = None;
            self.end_frame(first, found)?;
        }
    }

    fn end_frame(&mut self, first: u8, found: &mut impl FnMut(Item)) -> Result<()> {
        let last = first & 0x80 != 0;
        match first & 0x0f {
            CONTINUATION | BINARY if last => {
                self.message_bytes = 0;
                found(Item::Message(std::mem::take(&mut self.message)));
            }
            CONTINUATION | BINARY => (),
            CLOSE => {
                let code = match self.control.get(..2) {
                    Some(&[high, low]) => u16::from_be_bytes([high, low]),
                    _ => 1005,
                };
                found(Item::Close(code));
            }
            PING => found(Item::Ping(std::mem::take(&mut self.control))),
            PONG => (),
            TEXT => bail!("a text message, where events are binary"),
            opcode => bail!("opcode {opcode}"),
        }
        if first & 0x08 != 0 {
            self.control.clear();
            self.control_bytes = 0;
        }
        Ok(())
    }

    /// The first byte and the length of the next frame, once its header is whole.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Result<Option<(u8, u64)>> {
        loop {
            let wanted = match (self.header_bytes, self.header[1] & 0x7f) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                _ => 2,
            };
            if self.header_bytes == wanted {
                break;
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            self.header[self.header_bytes] = *byte;
            self.header_bytes += 1;
            *bytes = rest;
        }
        let [first, second, extended @ ..] = self.header;
        ensure!(second & 0x80 == 0, "a server must not mask");
        let length = match second {
            126 => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            127 => u64::from_be_bytes(extended),
            short => u64::from(short),
        };
        self.header_bytes = 0;
        let message_bytes = if first & 0x08 == 0 { &mut self.message_bytes } else { &mut self.control_bytes };
        *message_bytes = message_bytes.saturating_add(length);
        ensure!(*message_bytes <= MESSAGE_BYTES_MAX, "a message of more than {MESSAGE_BYTES_MAX} bytes");
        self.frame = Some((first, length));
        Ok(self.frame)
    }
}

/// An open subscription.
pub struct Subscription {
    stream: TcpStream,
    parser: Parser,
    /// What came together with the answer to the handshake.
    early: Vec<u8>,
}

impl Subscription {
    /// Subscribes to the events after `cursor`, or to what comes from now on.
    pub async fn open(authority: &str, cursor: Option<u64>, payloads: Payloads) -> Result<Subscription> {
        let mut target = "/xrpc/com.atproto.sync.subscribeRepos".to_owned();
        if let Some(cursor) = cursor {
            target += &format!("?cursor={cursor}");
        }
        let (stream, early) = Connection::open(authority).await?.upgrade(&target).await?;
        Ok(Subscription { stream, parser: Parser::new(payloads), early })
    }

    /// Waits for bytes, reads once into `buffer`, and hands on the messages that this completes.
    ///
    /// # Errors
    ///
    /// When the server ends the subscription.
    pub async fn read(
        &mut self,
        buffer: &std::cell::RefCell<Vec<u8>>,
        mut message: impl FnMut(Vec<u8>),
    ) -> Result<()> {
        let mut pongs = Vec::new();
        let mut closed = None;
        let mut found = |item| match item {
            Item::Message(payload) => message(payload),
            Item::Ping(payload) => pongs.push(payload),
            Item::Close(code) => closed = Some(code),
        };
        if self.early.is_empty() {
            self.stream.readable().await?;
            // Borrowed without waiting, so never twice.
            let mut buffer = buffer.borrow_mut();
            match self.stream.try_read(&mut buffer) {
                Ok(0) => bail!("the server ended the subscription"),
                Ok(n_read) => self.parser.feed(buffer.get(..n_read).unwrap_or_default(), &mut found)?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
                Err(error) => return Err(error.into()),
            }
        } else {
            self.parser.feed(&std::mem::take(&mut self.early), &mut found)?;
        }
        for payload in pongs {
            self.pong(&payload).await?;
        }
        match closed {
            Some(code) => bail!("the server closed the subscription with {code}"),
            None => Ok(()),
        }
    }

    async fn pong(&mut self, payload: &[u8]) -> Result<()> {
        // Masked with zeros, which leaves the payload as it is. Control frames are short.
        let length = u8::try_from(payload.len()).unwrap_or(125).min(125);
        let mut frame = vec![0x80 | PONG, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload.get(..usize::from(length)).unwrap_or_default());
        Ok(self.stream.write_all(&frame).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short message, a ping, a message in two frames of different length forms, a close.
    fn stream() -> (Vec<u8>, Vec<Item>) {
        let long = vec![7; 70_000];
        let mut bytes = vec![0x82, 3, b'a', b'b', b'c', 0x89, 1, b'p', 0x02, 126, 1, 0];
        bytes.extend([9; 256]);
        bytes.extend([0x80, 127]);
        bytes.extend((long.len() as u64).to_be_bytes());
        bytes.extend(&long);
        bytes.extend([0x88, 2, 0x03, 0xe8]);
        let joined = [vec![9; 256], long].concat();
        let items = vec![
            Item::Message(b"abc".to_vec()),
            Item::Ping(b"p".to_vec()),
            Item::Message(joined),
            Item::Close(1000),
        ];
        (bytes, items)
    }

    fn parse(bytes: &[u8], at_once: usize, payloads: Payloads) -> Vec<Item> {
        let mut parser = Parser::new(payloads);
        let mut items = Vec::new();
        for part in bytes.chunks(at_once) {
            assert!(parser.feed(part, &mut |item| items.push(item)).is_ok());
        }
        items
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_arrive() {
        let (bytes, items) = stream();
        for at_once in [1, 2, 3, 7, 4096, bytes.len()] {
            assert_eq!(parse(&bytes, at_once, Payloads::Keep), items, "{at_once} bytes at once");
        }
    }

    #[test]
    fn skipped_messages_are_counted_all_the_same() {
        let (bytes, items) = stream();
        assert_eq!(parse(&bytes, 5, Payloads::Skip).len(), items.len());
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for bytes in [&[0x82, 0x80][..], &[0x81, 0], &[0x83, 0], &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(Parser::new(Payloads::Skip).feed(bytes, &mut |_| ()).is_err(), "{bytes:?}");
        }
    }
}
