//! The system's limit on open files, which is one on connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: the database, its readers and exports, uploads, requests to others.
const OTHER_FILES: u64 = 512;
/// A connection, and the blob that it is being sent.
const FILES_PER_CONNECTION: u64 = 2;

/// Raises the limit of this process as far as `connections_max` needs and the system lets it. Returns how many
/// connections there are files for, at most `connections_max`.
pub fn raise(connections_max: usize) -> usize {
    let wanted = connections_max as u64 * FILES_PER_CONNECTION + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < wanted {
        let raised = wanted.min(maximum.unwrap_or(u64::MAX));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            allowed = raised;
        }
    }
    let possible = connections_for(allowed).min(connections_max);
    if possible < connections_max {
        tracing::warn!(
            open_files_max = allowed,
            connections_max = possible,
            "the system lets this process open too few files for server.connections_max; raise its limit (LimitNOFILE \
             of the systemd unit, ulimit -n) to {wanted}"
        );
    }
    possible
}

/// How many connections `files` are enough for; at least one.
fn connections_for(files: u64) -> usize {
    let connections = files.saturating_sub(OTHER_FILES) / FILES_PER_CONNECTION;
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_over_is_for_connections() {
        assert_eq!(connections_for(0), 1);
        assert_eq!(connections_for(1024), 256);
        assert_eq!(connections_for(65_536), 32_512);
        assert_eq!(connections_for(u64::MAX), (u64::MAX as usize - 512) / 2);
    }

    #[test]
    fn raising_never_lowers_and_says_what_is_possible() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(raise(1), 1);
        assert!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) >= before);
        assert!(raise(usize::MAX / 4) < usize::MAX / 4);
    }
}
