//! The methods as a client meets them, one file each, on a whole server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app_bsky;
mod cache;
mod com_atproto;
mod frame;
mod proxy;
mod rate_limit;
mod room;
#[path = "../support/mod.rs"]
mod support;
mod web;
