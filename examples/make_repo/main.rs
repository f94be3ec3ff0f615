//! Makes a repository of any size, as a CAR file, to try out what large ones cost:
//!
//! ```text
//! cargo run --release --example make_repo -- 1000000 big.car             blocks depth first
//! cargo run --release --example make_repo -- 1000000 big.car --shuffle   blocks in no useful order
//! ```
//!
//! Prints the DID and the did:key that it is signed with, and forgets the key.

#![allow(clippy::print_stdout)]

mod generate;

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use atproto::{
    crypto::{Curve, SigningKey},
    syntax::Did,
};
use clap::Parser;
use generate::{BlockOrder, Repo, did_from};
use rookery::time::Entropy;

/// Make a repository of any size, as a CAR file.
#[derive(Parser)]
struct Args {
    /// Records in it
    records: u64,
    /// Where to write the CAR file
    file: PathBuf,
    /// Write the blocks in the order of their hashes instead of depth first
    #[arg(long)]
    shuffle: bool,
    /// Whose repository it is; default: a did:plc made up for its key
    #[arg(long)]
    did: Option<Did>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let key = SigningKey::from_bytes(Curve::K256, &Entropy::system().bytes())?;
    let did_key = key.public_key().did_key();
    let did = match args.did {
        Some(did) => did,
        None => did_from(did_key.as_bytes())?,
    };
    let repo = Repo::generate(did.clone(), args.records, &key)?;
    let file = File::create(&args.file).with_context(|| args.file.display().to_string())?;
    let mut out = BufWriter::new(file);
    repo.write(if args.shuffle { BlockOrder::Cid } else { BlockOrder::PreOrder }, &mut out)?;
    out.flush()?;
    println!("{did}\t{did_key}");
    Ok(())
}
