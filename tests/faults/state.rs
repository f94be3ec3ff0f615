//! What the database holds, read beside the program, without faults: before and after a request that failed.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use serde_json::Value as Json;

/// Tables that say nothing of what was asked for: notes that make leftovers of failures go, answers of directories, the
/// sandbox's own directory, mail, and what the program does by itself.
const BESIDE: [&str; 9] = [
    "_sqlx_migrations",
    "blob_garbage",
    "deleted_account",
    "dev_plc_operation",
    "did_cache",
    "outbox_mail",
    "pending_identity",
    // Numbers that a failed commit had are left out.
    "repo_seq_floor",
    "seq_repair",
];

/// Rows and a hash over them, by table.
pub type State = BTreeMap<String, (usize, u64)>;

pub struct Database(Connection);

impl Database {
    pub fn open(data_dir: &Path) -> Database {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Database(Connection::open_with_flags(data_dir.join("rookery.sqlite"), flags).unwrap())
    }

    /// Everything that requests can change.
    pub fn state(&self) -> State {
        self.0.execute_batch("BEGIN").unwrap();
        let tables: Vec<String> = self
            .0
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
            .unwrap()
            .query_map((), |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let is_asked_for = |name: &String| !BESIDE.contains(&name.as_str());
        let state = tables.into_iter().filter(is_asked_for).map(|name| {
            let rows = self.rows(&name);
            (name, rows)
        });
        let state = state.collect();
        self.0.execute_batch("COMMIT").unwrap();
        state
    }

    fn rows(&self, table: &str) -> (usize, u64) {
        let columns = self.0.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let has = |column: &str| columns.column_names().contains(&column);
        // Generations that nobody sees and what deleted accounts have left go by themselves.
        let which = match () {
            () if table == "repo" => "WHERE id IN (SELECT repo_id FROM account)",
            () if has("repo_id") && table != "account" => "WHERE repo_id IN (SELECT repo_id FROM account)",
            () if has("account_id") => "WHERE account_id IN (SELECT id FROM account)",
            () if table == "repo_seq" => "WHERE did IN (SELECT did FROM account)",
            () => "",
        };
        let mut statement = self.0.prepare(&format!("SELECT * FROM {table} {which}")).unwrap();
        let n_columns = statement.column_count();
        let mut rows = statement.query(()).unwrap();
        let (mut n_rows, mut sum) = (0, 0_u64);
        while let Some(row) = rows.next().unwrap() {
            let mut hasher = DefaultHasher::new();
            for column in 0..n_columns {
                match row.get_ref(column).unwrap() {
                    ValueRef::Null => 0.hash(&mut hasher),
                    ValueRef::Integer(number) => number.hash(&mut hasher),
                    ValueRef::Real(number) => number.to_bits().hash(&mut hasher),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.hash(&mut hasher),
                }
            }
            n_rows += 1;
            // Whatever the order.
            sum = sum.wrapping_add(hasher.finish());
        }
        (n_rows, sum)
    }

    /// The event log above `seq`.
    pub fn events_after(&self, seq: i64) -> Vec<(i64, Bytes)> {
        let mut statement =
            self.0.prepare("SELECT seq, frame FROM repo_seq WHERE seq > ?1 ORDER BY seq").unwrap();
        let events = statement.query_map([seq], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?.into())));
        events.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// How many operations on `did` the sandbox's directory has, and what the last one says.
    pub fn operations(&self, did: &str) -> (usize, Json) {
        let mut statement =
            self.0.prepare("SELECT operation FROM dev_plc_operation WHERE did = ?1 ORDER BY id").unwrap();
        let operations: Vec<String> =
            statement.query_map([did], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let mut last: Json = serde_json::from_str(operations.last().unwrap()).unwrap();
        for beside in ["prev", "sig"] {
            last.as_object_mut().unwrap().remove(beside);
        }
        (operations.len(), last)
    }

    /// Changes of identities that are not finished.
    pub fn n_pending(&self) -> i64 {
        self.0.query_row("SELECT COUNT(*) FROM pending_identity", (), |row| row.get(0)).unwrap()
    }

    /// The numbers that have been given out, whether their events are there or not.
    pub fn last_seq(&self) -> i64 {
        let sql = "SELECT MAX(seq, IFNULL((SELECT MAX(seq) FROM repo_seq), 0)) FROM repo_seq_floor";
        self.0.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    /// What waits to be cleared away: files without rows, generations that nobody sees, deleted accounts.
    pub fn left(&self) -> i64 {
        let sql = "SELECT (SELECT COUNT(*) FROM blob_garbage)
            + (SELECT COUNT(*) FROM repo WHERE id NOT IN (SELECT repo_id FROM account WHERE repo_id IS NOT NULL))
            + (SELECT COUNT(*) FROM deleted_account WHERE did IS NOT NULL)";
        self.0.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    /// Each blob has its file. What has a file and no row is noted, to be removed, or has its name in `tmp/` still: then
    /// it will be noted.
    pub fn check_blob_files(&self, data_dir: &Path) {
        let names = |sql: &str| -> BTreeSet<String> {
            let mut statement = self.0.prepare(sql).unwrap();
            let names = statement
                .query_map((), |row| Ok(format!("{}/{}", row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
            names.unwrap().collect::<Result<_, _>>().unwrap()
        };
        let rows = names("SELECT account_id, cid_text FROM (SELECT account_id, cid AS cid_text FROM blob)");
        let noted = names("SELECT account_id, cid FROM blob_garbage");
        let entries = |path: &Path| {
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let files: BTreeSet<String> = entries(&data_dir.join("blobs"))
            .iter()
            .flat_map(|dir| entries(dir))
            .map(|file| file.strip_prefix(data_dir.join("blobs")).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert!(rows.is_subset(&files), "rows without files: {:?}", rows.difference(&files));
        let has_two_names =
            |file: &str| std::fs::metadata(data_dir.join("blobs").join(file)).unwrap().nlink() > 1;
        let lost: Vec<_> =
            files.difference(&rows).filter(|file| !noted.contains(*file) && !has_two_names(file)).collect();
        assert!(lost.is_empty(), "files that nobody knows of: {lost:?}");
    }

    /// What SQLite itself finds wrong with the file.
    pub fn check(&self) {
        let verdict: String = self.0.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let n_dangling =
            self.0.prepare("PRAGMA foreign_key_check").unwrap().query_map((), |_| Ok(())).unwrap().count();
        assert_eq!(n_dangling, 0);
    }
}

/// The tables in which two states differ.
pub fn changed(before: &State, after: &State) -> Vec<String> {
    assert!(before.keys().eq(after.keys()));
    before.iter().filter(|(name, rows)| after[*name] != **rows).map(|(name, _)| name.clone()).collect()
}
