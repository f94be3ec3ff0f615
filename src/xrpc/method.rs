//! How a method is called: its arguments are taken in their order, which is the order of checks; then the body that a
//! query must not have, the rate limits, and the method itself.
//!
//! Like axum's `Handler`, with the step in between: a request that an argument refuses is charged nothing.
//!
//! Not for: what the arguments are ([`super::params`], [`super::caller`], [`super::input`]) and what is charged
//! ([`super::rate_limit`]).

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    handler::Handler,
    response::{IntoResponse, Response},
};

use super::{
    input::{content_length, require_no_body},
    rate_limit::Charges,
    trace::RequestNotes,
};
use crate::app::App;

/// An async function whose arguments are extractors. `T` only tells the arities apart.
pub trait Method<T>: Clone + Send + Sync + 'static {
    /// Takes the arguments, passes the gate, calls the function.
    fn call(self, request: Request, app: App, gate: Gate) -> impl Future<Output = Response> + Send;
}

/// What stands between the arguments and the method.
#[derive(Debug)]
pub struct Gate {
    nsid: String,
    notes: RequestNotes,
    charges: Charges,
    /// The body of a query, with its announced length.
    unexpected: Option<(Option<u64>, Body)>,
}

impl Gate {
    async fn pass(self) -> Result<(), super::XrpcError> {
        if let Some((length, body)) = self.unexpected {
            require_no_body(length, body).await?;
        }
        self.charges.charge_method(&self.nsid, self.notes.did())
    }
}

/// Whether a method reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    /// The method's last argument does.
    Taken,
    /// There must not be one.
    Refused,
}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A [`Method`] behind a pointer, so that what the router needs around one exists once, and not once for each of them:
/// the machine code for that was a tenth of the program.
#[derive(Clone)]
pub(super) struct Erased {
    call: Arc<dyn Fn(Request, App, Gate) -> Answering + Send + Sync>,
    bodies: Bodies,
}

impl Erased {
    pub(super) fn new<M, T>(method: M, bodies: Bodies) -> Erased
    where
        M: Method<T>,
        T: 'static,
    {
        let call =
            move |request, app, gate| -> Answering { Box::pin(method.clone().call(request, app, gate)) };
        Erased { call: Arc::new(call), bodies }
    }
}

impl Handler<(), App> for Erased {
    type Future = Answering;

    fn call(self, request: Request, app: App) -> Answering {
        let (parts, body) = request.into_parts();
        let (body, unexpected) = match self.bodies {
            Bodies::Taken => (body, None),
            Bodies::Refused => (Body::empty(), Some((content_length(&parts.headers), body))),
        };
        let gate = Gate {
            nsid: parts.uri.path().strip_prefix("/xrpc/").unwrap_or_default().to_owned(),
            notes: parts.extensions.get().cloned().unwrap_or_default(),
            charges: parts.extensions.get().cloned().unwrap_or_default(),
            unexpected,
        };
        (self.call)(Request::from_parts(parts, body), app, gate)
    }
}

macro_rules! methods {
    ($([$($part:ident),*] $last:ident;)*) => {$(
        impl<F, Fut, Res, Via, $($part,)* $last> Method<(Via, $($part,)* $last,)> for F
        where
            F: FnOnce($($part,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Res> + Send,
            Res: IntoResponse,
            $($part: FromRequestParts<App> + Send,)*
            $last: FromRequest<App, Via> + Send,
        {
            #[allow(non_snake_case, unused_mut)]
            async fn call(self, request: Request, app: App, gate: Gate) -> Response {
                let (mut parts, body) = request.into_parts();
                $(
                    let $part = match $part::from_request_parts(&mut parts, &app).await {
                        Ok(part) => part,
                        Err(refused) => return refused.into_response(),
                    };
                )*
                let $last = match $last::from_request(Request::from_parts(parts, body), &app).await {
                    Ok(last) => last,
                    Err(refused) => return refused.into_response(),
                };
                match gate.pass().await {
                    Ok(()) => self($($part,)* $last).await.into_response(),
                    Err(refused) => refused.into_response(),
                }
            }
        }
    )*};
}

methods! {
    [] A;
    [A] B;
    [A, B] C;
    [A, B, C] D;
    [A, B, C, D] E;
    [A, B, C, D, E] G;
    [A, B, C, D, E, G] H;
    [A, B, C, D, E, G, H] I;
}
