//! Rookery: a Personal Data Server for the AT Protocol in one program.
//!
//! The modules, in the order in which they depend on each other; arrows run down only:
//! `cli -> server -> app -> xrpc | web -> service -> store -> atproto`.

pub mod app;
pub mod cli;
pub mod config;
pub mod server;
pub mod service;
pub mod store;
pub mod task;
pub mod time;
pub mod web;
pub mod xrpc;
