//! One HTTP/1.1 connection that is kept open, as cheap as it can be: the load program shares its machine with the server
//! that it measures. Not a general client: no TLS, no redirects, no compression, one request at a time.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 128 * 1024;
/// So much of a body is kept; the rest is read and counted.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// The longest line of a head, and of a chunk's size.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines in a head.
const HEAD_LINES_MAX: usize = 100;
/// A call that takes longer has failed.
const CALL_SECS_MAX: u64 = 900;

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    authority: String,
    /// What has been read: `buffer[start..end]` is still to be looked at.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    head: String,
}

/// What goes with a request.
pub enum Body<'a> {
    /// A GET.
    None,
    /// A POST.
    Bytes(&'static str, &'a [u8]),
    /// A POST of what a file holds.
    File(&'static str, &'a Path),
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, or the first mebibyte of it.
    pub body: Vec<u8>,
    /// Bytes of the whole body.
    pub body_bytes: u64,
}

/// How the end of a body is told.
enum Framing {
    Length(u64),
    Chunked,
}

impl Connection {
    /// Connects to `authority`, an address and a port.
    pub async fn open(authority: &str) -> Result<Connection> {
        let stream =
            TcpStream::connect(authority).await.with_context(|| format!("cannot reach {authority}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            authority: authority.to_owned(),
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            head: String::new(),
        })
    }

    /// Sends a request and reads the answer. `target` is path and query.
    ///
    /// An error means that the connection cannot be used any more; a refusal of the server is no error.
    pub async fn call(&mut self, target: &str, token: Option<&str>, body: Body<'_>) -> Result<Response> {
        let exchange = async {
            self.send(target, token, body).await?;
            self.receive().await
        };
        match timeout(Duration::from_secs(CALL_SECS_MAX), exchange).await {
            Ok(answer) => answer.with_context(|| target.chars().take(100).collect::<String>()),
            Err(_) => bail!("{target}: no answer within {CALL_SECS_MAX} s"),
        }
    }

    async fn send(&mut self, target: &str, token: Option<&str>, body: Body<'_>) -> Result<()> {
        let (method, length) = match &body {
            Body::None => ("GET", None),
            Body::Bytes(_, bytes) => ("POST", Some(bytes.len() as u64)),
            Body::File(_, path) => ("POST", Some(tokio::fs::metadata(path).await?.len())),
        };
        self.head.clear();
        write!(self.head, "{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.authority)?;
        if let Some(token) = token {
            write!(self.head, "authorization: Bearer {token}\r\n")?;
        }
        if let (Body::Bytes(kind, _) | Body::File(kind, _), Some(length)) = (&body, length) {
            write!(self.head, "content-type: {kind}\r\ncontent-length: {length}\r\n")?;
        }
        self.head.push_str("\r\n");
        match body {
            Body::None => self.stream.write_all(self.head.as_bytes()).await?,
            Body::Bytes(_, bytes) => {
                // One packet, one system call.
                let mut whole = Vec::with_capacity(self.head.len() + bytes.len());
                whole.extend_from_slice(self.head.as_bytes());
                whole.extend_from_slice(bytes);
                self.stream.write_all(&whole).await?;
            }
            Body::File(_, path) => {
                self.stream.write_all(self.head.as_bytes()).await?;
                let mut file = tokio::fs::File::open(path).await?;
                file.set_max_buf_size(READ_BYTES * 8);
                let mut part = vec![0; READ_BYTES * 8];
                loop {
                    let n_read = file.read(&mut part).await?;
                    if n_read == 0 {
                        break;
                    }
                    self.stream.write_all(part.get(..n_read).unwrap_or_default()).await?;
                }
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Response> {
        let (status, framing) = self.receive_head().await?;
        let mut response = Response { status, body: Vec::new(), body_bytes: 0 };
        match framing {
            Framing::Length(length) => self.take(length, &mut response).await?,
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let length =
                    u64::from_str_radix(digits, 16).with_context(|| format!("chunk size {digits:?}"))?;
                if length == 0 {
                    while !self.line().await?.is_empty() {}
                    break;
                }
                self.take(length, &mut response).await?;
                ensure!(self.line().await?.is_empty(), "a chunk that is longer than it said");
            },
        }
        Ok(response)
    }

    /// Status and framing; the rest of the head is skipped.
    async fn receive_head(&mut self) -> Result<(u16, Framing)> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.with_context(|| format!("not an HTTP answer: {line:?}"))?;
        let mut framing = Framing::Length(0);
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((status, framing));
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            }
        }
        bail!("more than {HEAD_LINES_MAX} headers");
    }

    /// Reads once more; at least one byte.
    async fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let n_read = self.stream.read(self.buffer.get_mut(self.end..).unwrap_or_default()).await?;
        ensure!(n_read > 0, "the server closed the connection");
        self.end += n_read;
        Ok(())
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// A line of ASCII, without its end.
    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(length) = self.unread().iter().position(|byte| *byte == b'\n') {
                let bytes = self.unread().get(..length).unwrap_or_default();
                let line = String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned();
                self.start += length + 1;
                return Ok(line);
            }
            ensure!(self.unread().len() < LINE_BYTES_MAX, "a line of more than {LINE_BYTES_MAX} bytes");
            self.fill().await?;
        }
    }

    async fn take(&mut self, mut length: u64, response: &mut Response) -> Result<()> {
        response.body_bytes += length;
        while length > 0 {
            if self.start == self.end {
                self.fill().await?;
            }
            let n_taken = self.unread().len().min(usize::try_from(length).unwrap_or(usize::MAX));
            let n_kept = n_taken.min(KEPT_BYTES_MAX - response.body.len());
            response.body.extend_from_slice(self.unread().get(..n_kept).unwrap_or_default());
            self.start += n_taken;
            length -= n_taken as u64;
        }
        Ok(())
    }

    /// Asks to speak the websocket protocol from here on. Gives the stream and what was read beyond the answer.
    pub async fn upgrade(mut self, target: &str) -> Result<(TcpStream, Vec<u8>)> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: cm9va2VyeS1iZW5jaC1sZA==\r\n\r\n",
            self.authority
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (status, _) = self.receive_head().await?;
        ensure!(status == 101, "{target}: the server answered {status} instead of a websocket");
        let rest = self.unread().to_vec();
        Ok((self.stream, rest))
    }
}
