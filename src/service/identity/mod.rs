//! Identities: DID documents of anyone, and the did:plc directory.
//!
//! Not for: accounts here (`service::account`), and the form of documents and operations (`atproto`).

pub mod plc_client;
pub mod resolver;

pub use self::{
    plc_client::{PlcClient, PlcError},
    resolver::{DidResolver, Freshness, ResolveError},
};
