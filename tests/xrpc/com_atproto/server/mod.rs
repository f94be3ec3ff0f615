mod create_account;
mod describe_server;
mod session;
