//! Faults of the disk: a library that is loaded into the program (`shim.c`) and fails the file operation that it is told.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

pub const ENOSPC: u32 = 28;
pub const EIO: u32 = 5;
pub const EACCES: u32 = 13;
/// The disk's ways to fail.
pub const ERRORS: [u32; 3] = [ENOSPC, EIO, EACCES];

/// Which operations count, as bits.
pub const FLUSHES: u32 = 2;
/// What a full disk refuses: growing files and new ones.
pub const GROWTH: u32 = 1 | 4;
/// Everything that changes files or names.
pub const CHANGES: u32 = 1 | FLUSHES | 4 | 8;
pub const READS: u32 = 16;

/// How long it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    Count = 1,
    Once = 2,
    UntilLifted = 3,
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operation from now on, from 1 on.
    pub nth: u32,
    pub error: u32,
    pub kinds: u32,
    pub lasting: Lasting,
}

/// What became of it.
#[derive(Debug)]
pub struct Happened {
    /// Operations.
    pub count: u32,
    /// Of those, how many failed.
    pub failed: u32,
    /// The first that did.
    pub what: String,
}

/// The library and the file that it is told through.
pub struct Faults {
    library: PathBuf,
    control_path: PathBuf,
    control: File,
    below: PathBuf,
}

/// Bytes before the text, and of all.
const TEXT_AT: u64 = 24;
const CONTROL_BYTES: usize = 256;

impl Faults {
    /// Compiles the library into `dir`; `None` on a machine without a C compiler. Faults are for files under `below`,
    /// where `dir` must not be.
    pub fn compile(dir: &Path, below: &Path) -> Option<Faults> {
        let (library, control_path) = (dir.join("shim.so"), dir.join("control"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "tests/faults/shim.c does not compile"),
            Err(error) => {
                println!("skipped: there is no C compiler `cc` ({error})");
                return None;
            }
        }
        let control =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&control_path);
        let control = control.unwrap();
        control.write_all_at(&[0; CONTROL_BYTES], 0).unwrap();
        Some(Faults { library, control_path, control, below: below.to_owned() })
    }

    /// What the program has to find in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".into(), text(&self.library)),
            ("FAULTS_CONTROL".into(), text(&self.control_path)),
            ("FAULTS_DIR".into(), text(&self.below)),
        ]
    }

    /// From now on.
    pub fn arm(&self, fault: Fault) {
        self.lift();
        let Fault { nth, error, kinds, lasting } = fault;
        let mut bytes = [0; CONTROL_BYTES - 4];
        for (at, number) in [nth, error, kinds].into_iter().enumerate() {
            bytes[at * 4..][..4].copy_from_slice(&number.to_ne_bytes());
        }
        self.control.write_all_at(&bytes, 4).unwrap();
        self.control.write_all_at(&(lasting as u32).to_ne_bytes(), 0).unwrap();
    }

    /// The disk works again. Says what happened since the fault was armed.
    pub fn lift(&self) -> Happened {
        self.control.write_all_at(&0_u32.to_ne_bytes(), 0).unwrap();
        self.happened()
    }

    pub fn happened(&self) -> Happened {
        let mut bytes = [0; CONTROL_BYTES];
        self.control.read_exact_at(&mut bytes, 0).unwrap();
        let number = |at: usize| u32::from_ne_bytes(bytes[at..][..4].try_into().unwrap());
        let text = bytes[TEXT_AT as usize..].split(|byte| *byte == 0).next().unwrap();
        Happened { count: number(16), failed: number(20), what: String::from_utf8_lossy(text).into_owned() }
    }
}
