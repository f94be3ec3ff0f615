//! A name server on this machine that knows what a test tells it: TXT records of handles, aliases, and silence.
//!
//! Used by the unit tests of the handle resolver as well.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{CNAME, TXT},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

/// Longest answer over UDP; longer ones are marked as cut off, and asked for again over TCP.
const UDP_BYTES_MAX: usize = 1_200;

/// What the server says of a name.
#[derive(Clone)]
enum Known {
    Txt(Vec<Vec<String>>),
    Alias(Name),
    Silence,
}

/// A running name server; stops when dropped.
pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<HashMap<Name, Known>>>,
    asked: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

impl DnsServer {
    pub async fn start() -> DnsServer {
        // The same port for both, as a name server has it.
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let (zone, asked): (Arc<Mutex<HashMap<_, _>>>, Arc<AtomicUsize>) = Default::default();
        let tasks = vec![
            tokio::spawn(serve_udp(udp, zone.clone(), asked.clone())),
            tokio::spawn(serve_tcp(tcp, zone.clone(), asked.clone())),
        ];
        DnsServer { address, zone, asked, tasks }
    }

    /// TXT records at `_atproto.<handle>`, each of one string.
    pub fn txt(&self, handle: &str, values: &[&str]) {
        let records: Vec<_> = values.iter().map(|value| vec![*value]).collect();
        self.txt_in_strings(handle, &records);
    }

    /// TXT records at `_atproto.<handle>`, each of several strings.
    pub fn txt_in_strings(&self, handle: &str, records: &[Vec<&str>]) {
        let records = records.iter().map(|record| record.iter().map(|text| (*text).into()).collect());
        self.set(&format!("_atproto.{handle}"), Known::Txt(records.collect()));
    }

    /// `from` is another name for `to`.
    pub fn alias(&self, from: &str, to: &str) {
        self.set(from, Known::Alias(name(to)));
    }

    /// Questions about `_atproto.<handle>` are not answered.
    pub fn silence(&self, handle: &str) {
        self.set(&format!("_atproto.{handle}"), Known::Silence);
    }

    /// How many questions came in.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn set(&self, at: &str, known: Known) {
        self.zone.lock().unwrap().insert(name(at), known);
    }
}

type Zone = Arc<Mutex<HashMap<Name, Known>>>;

async fn serve_udp(socket: UdpSocket, zone: Zone, asked: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..bytes]).unwrap();
        let Some(mut answer) = answer(&question, &zone, &asked) else { continue };
        if answer.to_vec().unwrap().len() > UDP_BYTES_MAX {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
    }
}

async fn serve_tcp(listener: TcpListener, zone: Zone, asked: Arc<AtomicUsize>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (zone, asked) = (zone.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok(bytes) = stream.read_u16().await {
                let mut question = vec![0; bytes.into()];
                stream.read_exact(&mut question).await.unwrap();
                let question = Message::from_vec(&question).unwrap();
                let Some(answer) = answer(&question, &zone, &asked) else { continue };
                let answer = answer.to_vec().unwrap();
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
    }
}

fn answer(question: &Message, zone: &Zone, asked: &AtomicUsize) -> Option<Message> {
    asked.fetch_add(1, Ordering::Relaxed);
    let query = question.queries.first()?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    match zone.lock().unwrap().get(query.name()).cloned() {
        Some(Known::Silence) => return None,
        Some(Known::Txt(records)) => {
            for strings in records {
                let data = RData::TXT(TXT::new(strings));
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
        }
        Some(Known::Alias(to)) => {
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, RData::CNAME(CNAME(to))));
        }
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(answer)
}
