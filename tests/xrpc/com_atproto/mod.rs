mod admin;
mod identity;
mod moderation;
mod repo;
mod server;
mod sync;
mod temp;
