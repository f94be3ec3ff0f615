//! The AT Protocol engine: bytes, trees, signatures and schemas.
//!
//! Not for: IO of any kind. This crate reads no clock, draws no randomness, opens no file or
//! socket and has no `async`; time and entropy are arguments. See ARCHITECTURE.md.

pub mod crypto;
pub mod data;
pub mod event;
pub mod identity;
pub mod lexicon;
pub mod mst;
pub mod plc;
pub mod repo;
pub mod syntax;
