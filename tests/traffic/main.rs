//! A small machine that everybody links to, against the real program: it stays small, nobody can keep others out, and
//! the owner's writes go on.
//!
//! Bounds of time are generous here, because test machines are busy. The numbers to reach are in the tests that are
//! ignored: `cargo test --release --test traffic -- --ignored --nocapture --test-threads 1`, on a calm machine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connections;
mod exports;
mod program;
mod reads;
mod sign_ins;
mod slow_clients;
