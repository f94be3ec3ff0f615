//! com.atproto.sync.subscribeRepos: the firehose over a websocket (sections 8 and 9).
//!
//! One task per subscriber: take frames, send them, wait. What the client sends is read and ignored (EV-6).

use std::time::Duration;

use axum::{
    Extension,
    extract::{
        State, WebSocketUpgrade,
        ws::{close_code, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    service::firehose::{SubscribeError, Subscriber},
    store::lane::leave_public_lane,
    task,
    xrpc::{
        Params, XrpcError, query,
        websocket::{self, switching_protocols},
    },
};

type Socket = websocket::Socket<TokioIo<Upgraded>>;

/// How long a client may take for one frame before it is `ConsumerTooSlow` (EV-10).
const SEND_SECS_MAX: u64 = 30;
/// How often a connection is pinged (EV-13).
const PING_SECS: u64 = 30;
/// How long a client may be silent, pongs included, before it counts as gone.
const SILENT_SECS_MAX: u64 = 120;
/// How long the end of a connection may take.
const CLOSE_SECS_MAX: u64 = 5;

/// GET with upgrade only: 405 for other verbs, 426 without upgrade (EV-11).
pub(super) fn route() -> MethodRouter<App> {
    query(subscribe_repos).fallback(|method: Method| async move {
        let message = format!("{method} is not possible here: connect a websocket with GET");
        XrpcError::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidRequest", message)
    })
}

/// The upgrade is axum's to check, and then carried out here: axum's own socket copies each frame for each subscriber.
async fn subscribe_repos(
    State(app): State<App>,
    Params(params): Params<SubscribeReposParams>,
    headers: HeaderMap,
    upgraded: Option<Extension<OnUpgrade>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, XrpcError> {
    let (Ok(_), Some(Extension(upgraded))) = (upgrade, upgraded) else { return Ok(upgrade_required()) };
    let Some(response) = switching_protocols(&headers) else { return Ok(upgrade_required()) };
    let seat = app.firehose.seat().map_err(XrpcError::busy)?;
    // Seats are few already.
    leave_public_lane();
    // Before the answer: a client that is connected misses nothing of what happens from then on.
    let started = seat.start(params.cursor).await;
    let stopping = app.stopping.clone();
    app.tasks.spawn(task::boxed(async move {
        match upgraded.await {
            Ok(upgraded) => serve(Socket::new(TokioIo::new(upgraded)).await, started, stopping).await,
            Err(error) => tracing::debug!(%error, "a subscriber was gone before it started"),
        }
    }));
    Ok(response)
}

/// 426 with what to ask for.
fn upgrade_required() -> Response {
    let error = XrpcError::new(
        StatusCode::UPGRADE_REQUIRED,
        "InvalidRequest",
        "connect a websocket here to subscribe",
    );
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
    ];
    (headers, error).into_response()
}

#[derive(Deserialize)]
struct SubscribeReposParams {
    cursor: Option<i64>,
}

/// Why a connection ends.
enum End {
    /// The client went away.
    Gone,
    /// We end it.
    Cut(SubscribeError),
    /// The server stops.
    Stopping,
}

impl From<SubscribeError> for End {
    fn from(error: SubscribeError) -> End {
        End::Cut(error)
    }
}

async fn serve(mut socket: Socket, started: Result<Subscriber, SubscribeError>, stopping: CancellationToken) {
    let end = match started {
        Ok(mut subscriber) => tokio::select! {
            end = pump(&mut socket, &mut subscriber) => end,
            () = stopping.cancelled() => End::Stopping,
        },
        Err(error) => End::Cut(error),
    };
    // A client that does not read does not hear why either.
    let _ = timeout(Duration::from_secs(CLOSE_SECS_MAX), close(socket, end)).await;
}

/// Sends what there is until one side ends it.
async fn pump(socket: &mut Socket, subscriber: &mut Subscriber) -> End {
    let mut pings = interval(Duration::from_secs(PING_SECS));
    pings.reset();
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    loop {
        let sent = tokio::select! {
            // What came in while frames went out is heard before the client is taken for silent.
            biased;
            message = socket.receive() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
                Some(Ok(_)) => {
                    heard_at = Instant::now();
                    Ok(())
                }
            },
            _ = pings.tick() => {
                if heard_at.elapsed() > Duration::from_secs(SILENT_SECS_MAX) {
                    return End::Gone;
                }
                in_time(socket.send_last(Message::Ping(Bytes::new()))).await
            }
            frames = subscriber.next() => match frames {
                Ok(frames) => send(socket, frames).await,
                Err(error) => Err(error.into()),
            },
        };
        if let Err(end) = sent {
            return end;
        }
    }
}

/// Sends frames, each within the time that one may take.
async fn send(socket: &mut Socket, frames: Vec<Bytes>) -> Result<(), End> {
    socket.line_up(frames);
    while socket.has_unsent() {
        in_time(socket.send_some()).await?;
    }
    Ok(())
}

async fn in_time(sending: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    match timeout(Duration::from_secs(SEND_SECS_MAX), sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Cut(SubscribeError::ConsumerTooSlow)),
    }
}

/// Says why, closes, and reads on until the client has closed too: closing a socket with unread input would throw away
/// what was just sent.
async fn close(mut socket: Socket, end: End) {
    let (code, reason) = match &end {
        End::Gone => return,
        End::Stopping => (close_code::AWAY, ""),
        End::Cut(error) => match (error.frame(), error.name()) {
            (Some(frame), Some(name)) => {
                if socket.send_last(Message::Binary(frame)).await.is_err() {
                    return;
                }
                (close_code::POLICY, name)
            }
            _ => {
                tracing::error!(%error, "a subscriber was cut");
                (close_code::ERROR, "")
            }
        },
    };
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    if socket.send_last(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = socket.receive().await {}
    }
}
