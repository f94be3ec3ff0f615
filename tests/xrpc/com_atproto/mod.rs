mod admin;
mod identity;
mod repo;
mod server;
mod sync;
mod temp;
