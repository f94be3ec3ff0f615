//! Secrets that live in files of their own: the master key and the admin password.
//!
//! A secret never appears in an error; its file's name does.

use std::{fs, io::Write as _, path::Path};

use zeroize::Zeroizing;

use super::ConfigError;

/// Bytes of the master key.
pub const MASTER_KEY_BYTES: usize = 32;
/// A password file longer than this is not one.
const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// The key that all other keys are sealed under.
pub type MasterKey = Zeroizing<[u8; MASTER_KEY_BYTES]>;

/// Reads the master key from `path`; on the first start, when there is neither the file nor a database in `data_dir`,
/// makes it of `fresh` (random bytes).
///
/// The file holds 64 hexadecimal digits and is readable by its owner only. It appears whole or not at all.
///
/// # Errors
///
/// A database without its key is refused: a new key could never open what the old one sealed.
pub fn load_or_create_master_key(
    path: &Path,
    data_dir: &Path,
    fresh: [u8; MASTER_KEY_BYTES],
) -> Result<MasterKey, ConfigError> {
    let fresh = Zeroizing::new(fresh);
    match fs::read_to_string(path) {
        Ok(text) => parse_hex(Zeroizing::new(text).trim()).ok_or_else(|| {
            refuse(
                path,
                "is not a master key: 64 hexadecimal digits are expected; restore it from your backup",
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let database = data_dir.join("rookery.sqlite");
            if database.exists() {
                let why = format!(
                    "is missing, but {} exists; restore the master key from your backup",
                    database.display()
                );
                return Err(refuse(path, why));
            }
            create_private(path, &to_hex(&fresh[..]))
                .map_err(|error| refuse(path, format!("cannot be created: {error}")))?;
            Ok(fresh)
        }
        Err(error) => Err(refuse(path, format!("cannot be read: {error}"))),
    }
}

/// Reads a password from a file: its text without the line end.
pub fn read_password(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let bytes = fs::metadata(path).map_err(|error| refuse(path, format!("cannot be read: {error}")))?.len();
    if bytes > PASSWORD_FILE_BYTES_MAX {
        return Err(refuse(
            path,
            format!("has {bytes} bytes; a password has at most {PASSWORD_FILE_BYTES_MAX}"),
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| refuse(path, format!("cannot be read: {error}")))?;
    let text = Zeroizing::new(text);
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(refuse(path, "is empty; write the password into it"));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// Writes `text` to a new file that only its owner can read. Temporary files are made with mode 0600.
fn create_private(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

fn refuse(path: &Path, problem: impl Into<String>) -> ConfigError {
    ConfigError::File { path: path.to_owned(), problem: problem.into() }
}

fn to_hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn parse_hex(text: &str) -> Option<MasterKey> {
    if text.len() != 2 * MASTER_KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
    for (idx, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * idx..2 * idx + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_master_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/master.key");

        let made = load_or_create_master_key(&path, dir.path(), [7; 32]).unwrap();
        let read = load_or_create_master_key(&path, dir.path(), [9; 32]).unwrap();

        assert_eq!(*made, [7; 32]);
        assert_eq!(*read, [7; 32]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_database_without_its_master_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rookery.sqlite"), "").unwrap();

        let error =
            load_or_create_master_key(&dir.path().join("master.key"), dir.path(), [7; 32]).unwrap_err();

        assert!(error.to_string().contains("restore the master key"), "{error}");
        assert!(!dir.path().join("master.key").exists());
    }

    #[test]
    fn a_damaged_master_key_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32), &"a".repeat(63)] {
            fs::write(&path, text).unwrap();
            let error = load_or_create_master_key(&path, dir.path(), [7; 32]).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
            assert!(text.len() < 10 || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_password_file_may_end_in_a_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "open sesame \r\n").unwrap();
        assert_eq!(*read_password(&path).unwrap(), "open sesame ");
        fs::write(&path, "\n").unwrap();
        assert!(read_password(&path).is_err());
    }
}
