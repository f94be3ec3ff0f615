//! The mark: a small file beside the database that holds the greatest event number that subscribers were shown.
//!
//! A database that was restored from a backup does not know what happened after the backup; the mark does, as long as it
//! was not restored with it. It trails the database by a moment and is never ahead of it: see
//! docs/decisions/0010-numbers-grow-across-a-restore.md.
//!
//! Not for: what to do when the two disagree (`service::sequence`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::StoreError;

/// The file in the data directory, unless told otherwise.
pub const FILE_NAME: &str = "sequence.mark";
/// Digits of the number; always all of them, so that the file never changes its length.
const DIGITS: usize = 20;
/// Longer than any mark.
const READ_BYTES_MAX: u64 = 64;

/// The file, which may not be there yet.
#[derive(Clone, Debug)]
pub struct SequenceMark {
    path: PathBuf,
}

impl SequenceMark {
    /// The mark at `path`.
    pub fn at(path: impl Into<PathBuf>) -> SequenceMark {
        SequenceMark { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number in the file; `None` when there is no file. A file that holds no number is an error.
    pub fn read(&self) -> Result<Option<i64>, StoreError> {
        let mut text = String::new();
        match File::open(&self.path).and_then(|file| file.take(READ_BYTES_MAX).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        }
        let number = text.trim_end().parse::<i64>().ok().filter(|number| *number >= 0);
        let damaged = || io::Error::new(ErrorKind::InvalidData, "is damaged: it should hold one number");
        number.map(Some).ok_or_else(|| self.failed(damaged()))
    }

    /// Writes the number, and leaves it to the system when it reaches the disk: the death of this process loses
    /// nothing, that of the machine up to half a minute. One small write in place; blocks for as long as that takes.
    pub fn write(&self, seq: i64) -> Result<(), StoreError> {
        self.put(seq).map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Writes the number, and returns once it is on the disk.
    pub fn write_durably(&self, seq: i64) -> Result<(), StoreError> {
        let write = || {
            let is_new = !self.path.exists();
            self.put(seq)?.sync_all()?;
            match self.path.parent().filter(|_| is_new) {
                Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
                Some(dir) => File::open(dir)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|error| self.failed(error))
    }

    fn put(&self, seq: i64) -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        let line = format!("{:0DIGITS$}\n", seq.max(0));
        file.write_all_at(line.as_bytes(), 0)?;
        // What a damaged file had more.
        if fs::metadata(&self.path)?.len() > line.len() as u64 {
            file.set_len(line.len() as u64)?;
        }
        Ok(file)
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_mark_holds_what_was_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let mark = SequenceMark::at(dir.path().join(FILE_NAME));
        assert_eq!(mark.read().unwrap(), None);
        mark.write_durably(7).unwrap();
        assert_eq!(mark.read().unwrap(), Some(7));
        for seq in [i64::MAX, 0, 12_345_678_901] {
            mark.write(seq).unwrap();
            assert_eq!(mark.read().unwrap(), Some(seq));
        }
        assert_eq!(fs::read_to_string(mark.path()).unwrap(), "00000000012345678901\n");
    }

    #[test]
    fn a_damaged_mark_is_an_error_that_names_it_and_can_be_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mark = SequenceMark::at(dir.path().join(FILE_NAME));
        for damaged in ["", "\n", "-4\n", "12x\n", "99999999999999999999999\n", "00000000000000000012\nmore"]
        {
            fs::write(mark.path(), damaged).unwrap();
            let error = mark.read().unwrap_err().to_string();
            assert!(error.contains(FILE_NAME) && error.contains("damaged"), "{error}");
            mark.write(12).unwrap();
            assert_eq!(mark.read().unwrap(), Some(12), "{damaged:?}");
        }
    }

    #[test]
    fn a_mark_that_cannot_be_written_names_its_place() {
        let mark = SequenceMark::at("/nowhere/at/all/mark");
        assert!(mark.write_durably(1).unwrap_err().to_string().contains("/nowhere/at/all/mark"));
    }
}
