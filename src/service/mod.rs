//! Rules and effects: transactions, network, keys. Knows nothing of HTTP requests.

pub mod account;
pub mod auth;
pub mod blob;
pub mod client_address;
pub mod firehose;
pub mod http;
pub mod identity;
pub mod keys;
pub mod mail;
pub mod moderation;
pub mod outbound;
pub mod pace;
pub mod places;
pub mod preferences;
pub mod proxy;
pub mod rate_limit;
pub mod read_after_write;
pub mod recent;
pub mod relays;
pub mod repo;
pub mod sequence;
pub mod settings;
pub mod word_filter;
