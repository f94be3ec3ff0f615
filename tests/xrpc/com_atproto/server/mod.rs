mod account_status;
mod activation;
mod app_password;
mod create_account;
mod delete_account;
mod describe_server;
mod email;
mod get_service_auth;
mod invite_code;
mod move_in;
mod password;
mod reserve_signing_key;
mod session;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

/// A part of a token, read: 0 is the header, 1 the claims.
fn part(token: &str, number: usize) -> Json {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

/// The claims of a token.
fn claims(token: &str) -> Json {
    part(token, 1)
}
