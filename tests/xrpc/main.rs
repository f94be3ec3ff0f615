//! The methods as a client meets them, one file each, on a whole server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod com_atproto;
mod frame;
mod rate_limit;
#[path = "../support/mod.rs"]
mod support;
mod web;
