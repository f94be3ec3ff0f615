//! Serves a router on a listener: HTTP/1 and HTTP/2, upgrades, and an orderly end. Nobody is waited for without end, and
//! nobody's connections keep others out.
//!
//! - Connections are counted; [`connections`] says who goes when there are too many. One that finds no place is told 503.
//! - Heads have to arrive, and answers have to be taken, within bounds of time ([`Limits`]). Bodies are `xrpc`'s.
//!
//! Not for: what is served (`app`), and TLS (a proxy in front).

mod again;
mod connections;
pub mod open_files;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::StatusCode,
    response::Response,
};
use hyper::{Request, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, Sleep, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use self::{
    again::again,
    connections::{Busy, Connections, Place},
};
use crate::{
    service::{client_address::is_in, pace::Pace, settings::Settings},
    task::{self, Task},
};

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Of each request's body, and of each answer, held for an HTTP/2 client that does not read on, in bytes.
const STREAM_BYTES_MAX: u32 = 128 * 1024;
/// Of all bodies of one HTTP/2 connection, in bytes.
const STREAMS_BYTES_MAX: u32 = 512 * 1024;
/// How long requests under way may take to end when the server stops, in seconds.
const DRAIN_SECS_MAX: u64 = 10;
/// How long a connection may take to close that was told to, in seconds.
const CLOSE_SECS_MAX: u64 = 1;
/// How often connections are looked for that have idled for too long, in milliseconds.
const IDLE_LOOK_MILLIS: u64 = 500;
/// Pause after the system refuses a connection (no file descriptors left), in milliseconds.
const ACCEPT_PAUSE_MILLIS: u64 = 100;
/// Connections that have to go then, if they idle.
const DISMISSED_WITHOUT_FILES: usize = 64;
/// Clients at a time that are told that there is no place; others just find the connection closed.
const TURNED_AWAY_MAX: usize = 64;
/// When they should come back, in seconds.
const TURNED_AWAY_RETRY_SECS: u64 = 5;

/// How many are served, and how long they are waited for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections, upgraded ones among them.
    pub connections_max: usize,
    /// How long a connection may do nothing between two requests, and how long the head of a request may take.
    pub idle_max: Duration,
    /// How long a client is waited for that does not take its answer, or takes it too slowly (see [`Pace`]).
    pub patience: Duration,
    /// Networks whose connections carry many clients. Others have a share of the connections.
    pub trusted_proxies: Vec<IpNet>,
}

impl Limits {
    /// What the operator has set.
    pub fn of(settings: &Settings) -> Limits {
        Limits {
            connections_max: settings.connections_max,
            idle_max: settings.connection_idle_max,
            patience: settings.client_patience,
            trusted_proxies: settings.trusted_proxies.clone(),
        }
    }
}

/// Serves until `shutdown` ends; then takes no more connections and waits for requests under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    serve_until(listener, router, limits, task::boxed(shutdown)).await;
}

async fn serve_until(listener: TcpListener, router: Router, limits: Limits, shutdown: Task) {
    let server = Server {
        connections: Connections::new(limits.connections_max),
        http: http(&limits),
        router,
        limits,
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
        turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
    };
    tokio::select! {
        () = shutdown => {}
        () = server.accept(&listener) => {}
        () = server.dismiss_idle() => {}
    }
    drop(listener);
    server.stopping.cancel();
    server.tasks.close();
    if timeout(Duration::from_secs(DRAIN_SECS_MAX), server.tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not end within {DRAIN_SECS_MAX} seconds and are cut off");
    }
}

struct Server {
    connections: Connections,
    http: Builder<Tasks>,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
    tasks: TaskTracker,
    turned_away: Arc<Semaphore>,
}

/// Runs what HTTP/2 starts for each stream.
#[derive(Clone, Copy)]
struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        task::spawn(future);
    }
}

fn http(limits: &Limits) -> Builder<Tasks> {
    let mut http = Builder::new(Tasks);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_max)
        .max_buf_size(HEAD_BYTES_MAX)
        // The connection can; the builder's wrapper around it does not say so, and bodies would be copied once more.
        .writev(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_BYTES_MAX)
        .initial_connection_window_size(STREAMS_BYTES_MAX)
        .max_send_buf_size(STREAM_BYTES_MAX as usize)
        .keep_alive_interval(limits.idle_max);
    http
}

impl Server {
    /// Takes connections without end.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    let dismissed = self.connections.dismiss_oldest(DISMISSED_WITHOUT_FILES);
                    tracing::warn!(%error, dismissed, "a connection could not be accepted");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MILLIS)).await;
                }
            }
        }
    }

    async fn dismiss_idle(&self) {
        let mut looks = interval(Duration::from_millis(IDLE_LOOK_MILLIS));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.connections.dismiss_idle(self.limits.idle_max, Instant::now());
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let client = Some(address).filter(|address| !is_in(*address, &self.limits.trusted_proxies));
        let Ok(place) = self.connections.place(client, Instant::now()) else {
            return self.turn_away(stream);
        };
        // Frames and small answers go out at once.
        let _ = stream.set_nodelay(true);
        let pace = Pace::new(self.limits.patience);
        let io = TokioIo::new(Client { stream, pace, blocked: None, _place: place.clone() });
        let (router, held) = (self.router.clone(), place.clone());
        let service = service_fn(move |request| answer(router.clone(), held.busy(), peer, request));
        let connection = self.http.serve_connection_with_upgrades(io, service).into_owned();
        let stopping = self.stopping.clone();
        self.tasks.spawn(task::boxed(again(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = place.go().cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    match timeout(Duration::from_secs(CLOSE_SECS_MAX), connection.as_mut()).await {
                        Ok(ended) => ended,
                        // A request has come in at the last moment: it is answered.
                        Err(_) if place.is_busy() => connection.await,
                        Err(_) => return,
                    }
                }
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        })));
    }

    /// Says 503 to a client that finds no place, if not too many are being told.
    fn turn_away(&self, mut stream: TcpStream) {
        let Ok(permit) = self.turned_away.clone().try_acquire_owned() else { return };
        self.tasks.spawn(task::boxed(async move {
            let _permit = permit;
            let told = async {
                stream.write_all(turned_away_answer().as_bytes()).await?;
                stream.shutdown().await?;
                // A socket that is closed with unread input is reset, and the answer lost with it.
                while stream.read(&mut [0; 1024]).await? > 0 {}
                Ok::<_, io::Error>(())
            };
            let _ = timeout(Duration::from_secs(CLOSE_SECS_MAX), told).await;
        }));
    }
}

fn turned_away_answer() -> String {
    let body = r#"{"error":"NotEnoughResources","message":"this server has as many connections as it takes; try again in a few seconds"}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: {TURNED_AWAY_RETRY_SECS}\r\naccess-control-allow-origin: *\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers one request. The connection counts as busy until the answer's body has ended.
async fn answer(
    router: Router,
    busy: Busy,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        busy.until_closed();
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(Answering { body, _busy: busy })))
}

/// The body of an answer.
struct Answering {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection that has a place for as long as it is open, also after an upgrade, and that fails when its client does
/// not take what is written.
struct Client {
    stream: TcpStream,
    pace: Pace,
    blocked: Option<Blocked>,
    _place: Arc<Place>,
}

/// A write that waits for the client.
struct Blocked {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl Client {
    /// The outcome of a write, with an end to waiting.
    fn paced(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Some(blocked) = self.blocked.take() {
                self.pace.moved(*written.as_ref().unwrap_or(&0), blocked.since.elapsed());
            }
            return Poll::Ready(written);
        }
        let left = self.pace.left();
        let blocked = self
            .blocked
            .get_or_insert_with(|| Blocked { since: Instant::now(), until: Box::pin(sleep(left)) });
        match blocked.until.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let problem = "the client does not take its answer, or takes it too slowly";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
            }
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.paced(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
