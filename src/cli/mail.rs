//! `rookery mail`: does mail work, and what could not be sent.

use anyhow::{Context as _, bail};
use atproto::syntax::Datetime;
use clap::{Args, Subcommand};

use crate::{
    cli::local::{Local, LocalArgs},
    config::smtp_url::{Encryption, SmtpServer},
    service::mail::{smtp, template},
    time::{Clock, Entropy},
};

/// What can be done about mail.
#[derive(Debug, Subcommand)]
pub enum MailCommand {
    /// Send a mail to an address, as the server would, and say what went wrong if anything did
    ///
    /// Reads the configuration alone; the server may be running or not.
    Test(TestArgs),
    /// Show the mails that nobody sent, with their codes
    ///
    /// Without an SMTP server every mail is here; with one, those that it did not take. The newest hundred of the last day are
    /// kept, sealed under the master key: whoever reads them can open the accounts that they are for.
    Outbox(OutboxArgs),
}

/// Arguments of `mail test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Who gets the mail: an address that you read
    #[arg(value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    local: LocalArgs,
}

/// Arguments of `mail outbox`.
#[derive(Debug, Args)]
pub struct OutboxArgs {
    /// Print one JSON object per mail for programs
    #[arg(long)]
    json: bool,
    /// Remove the mails after showing them
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs a command of `rookery mail`.
pub async fn run(command: MailCommand) -> anyhow::Result<()> {
    match command {
        MailCommand::Test(args) => test(args).await,
        MailCommand::Outbox(args) => outbox(args).await,
    }
}

async fn test(args: TestArgs) -> anyhow::Result<()> {
    let config = args.local.config()?;
    let Some(mail_config) = config.mail else {
        bail!(
            "this server sends no mail: set mail.smtp_url and mail.from (config.example.toml says how). Until then \
             `rookery mail outbox` shows the mails with their codes"
        );
    };
    let (server, hostname) = (&mail_config.smtp, &config.server.hostname);
    eprintln!("sending a mail from {} to {} {}", mail_config.from, args.address, describe(server));
    let mail = template::notice(
        &args.address,
        &format!("Mail from {hostname} works"),
        &[
            &format!("This is the mail that the operator of {hostname} asked for with `rookery mail test`."),
            "Codes for new passwords, changed addresses and deletions will reach people in the same way.",
        ],
        hostname,
    );
    let id = Entropy::system().bytes::<16>();
    let sent = match smtp::compose(&mail, &mail_config.from, hostname, &id, Clock::system().now()) {
        Ok(message) => smtp::send(server, hostname, &message).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        bail!("{error}\nWhat to do: {}", error.advice());
    }
    println!("{} took the mail for {}", server.host, args.address);
    eprintln!(
        "If it does not arrive, look into the folder for unwanted mail, and into the log of the mail server."
    );
    Ok(())
}

fn describe(server: &SmtpServer) -> String {
    let encryption = match server.encryption {
        Encryption::Tls => "TLS",
        Encryption::StartTls => "STARTTLS",
        Encryption::StartTlsIfOffered => "STARTTLS if it is offered",
        Encryption::Never => "no encryption",
    };
    let user = match &server.credentials {
        Some((user, _)) => format!("as user {user:?}"),
        None => "without a user name".to_owned(),
    };
    format!("through {} port {}, {encryption}, {user}", server.host, server.port)
}

async fn outbox(args: OutboxArgs) -> anyhow::Result<()> {
    let local = Local::open(&args.local).await?;
    let mails = local.app.mailer.outbox().await.context("cannot read the outbox")?;
    for mail in &mails {
        let created_at = Datetime::from_micros(mail.created_at);
        if args.json {
            let mut object = serde_json::to_value(mail)?;
            object["createdAt"] = created_at.as_str().into();
            println!("{object}");
            continue;
        }
        println!("{}  to {}: {}", created_at.as_str(), mail.to, mail.subject);
        if let Some(problem) = &mail.problem {
            println!("  not sent: {problem}");
        }
        for line in mail.text.lines() {
            println!("  | {line}");
        }
        println!();
    }
    if mails.is_empty() {
        eprintln!("the outbox is empty");
    }
    if args.clear {
        local.app.mailer.clear_outbox().await?;
    }
    local.close().await;
    Ok(())
}
