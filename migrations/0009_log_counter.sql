-- The log without SQLite's own counter, which is one more page to write with each commit. A number is given out once all
-- the same: it is above all rows, and above `repo_seq_floor`, which rises when rows are removed or numbers are left out.
CREATE TABLE repo_seq_floor (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL                        -- numbers up to this one are taken, whether they have a row or not
) STRICT;
INSERT INTO repo_seq_floor
    VALUES (1, IFNULL((SELECT seq FROM sqlite_sequence WHERE name = 'repo_seq'), 0));

ALTER TABLE repo_seq RENAME TO repo_seq_counted;
CREATE TABLE repo_seq (
    seq        INTEGER PRIMARY KEY,
    did        TEXT    NOT NULL,
    created_at INTEGER NOT NULL,                -- never before that of the row above
    frame      BLOB    NOT NULL
) STRICT;
INSERT INTO repo_seq SELECT seq, did, created_at, frame FROM repo_seq_counted ORDER BY seq;
DROP TABLE repo_seq_counted;
CREATE INDEX repo_seq_did ON repo_seq (did);
