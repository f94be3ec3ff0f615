-- Leaving: accounts that are deleted, codes sent by mail, and mail that nobody could send.

-- Accounts that have been deleted. What hung on them (events, blobs, repositories) goes in small steps afterwards; `did`
-- stands until nothing of it is left. The row stays: its number is never given out again, so that neither a file nor a
-- key in memory can come to belong to somebody else.
CREATE TABLE deleted_account (
    id         INTEGER PRIMARY KEY,             -- account.id that was
    did        TEXT,                            -- null once nothing is left to remove
    seq        INTEGER NOT NULL,                -- the event that says so; the only one of the account that stays
    deleted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_account_left ON deleted_account (id) WHERE did IS NOT NULL;

-- Accounts whose owners have set a date.
CREATE INDEX account_delete_after ON account (delete_after) WHERE delete_after IS NOT NULL;

-- Repositories and blobs outlive their account by those steps, and so must not refer to its row. SQLite takes a
-- reference out of a table only by making the table anew; triggers that name it have to be made anew too.
DROP TRIGGER record_inserted;
DROP TRIGGER mst_node_inserted;
CREATE TABLE repo_next (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    commit_cid BLOB,                            -- null while staged
    commit_block BLOB,
    rev        INTEGER,
    data_cid   BLOB,
    records    INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO repo_next
    SELECT id, account_id, commit_cid, commit_block, rev, data_cid, records, created_at FROM repo;
-- Numbers go on where they were, also when the last generation is gone. (No row yet: nothing was ever numbered.)
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'repo') WHERE name = 'repo_next';
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'repo_next', seq FROM sqlite_sequence
    WHERE name = 'repo' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'repo_next');
DROP TABLE repo;
ALTER TABLE repo_next RENAME TO repo;
CREATE INDEX repo_account ON repo (account_id);
CREATE TRIGGER record_inserted AFTER INSERT ON record
WHEN (SELECT commit_cid FROM repo WHERE id = NEW.repo_id) IS NOT NULL BEGIN
    INSERT INTO record_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
    INSERT INTO backlink SELECT NEW.repo_id, NEW.link_to, NEW.path WHERE NEW.link_to IS NOT NULL;
END;
CREATE TRIGGER mst_node_inserted AFTER INSERT ON mst_node
WHEN (SELECT commit_cid FROM repo WHERE id = NEW.repo_id) IS NOT NULL BEGIN
    INSERT INTO mst_node_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
END;

CREATE TABLE blob_next (
    id           INTEGER PRIMARY KEY,
    account_id   INTEGER NOT NULL,
    cid          TEXT    NOT NULL,              -- text form: listBlobs pages in its order
    mime_type    TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    temporary    INTEGER NOT NULL,              -- 1 until a record refers to it
    takedown_ref TEXT
) STRICT;
INSERT INTO blob_next
    SELECT id, account_id, cid, mime_type, size, created_at, temporary, takedown_ref FROM blob;
DROP TABLE blob;
ALTER TABLE blob_next RENAME TO blob;
CREATE UNIQUE INDEX blob_cid ON blob (account_id, cid);
CREATE INDEX blob_temporary ON blob (created_at) WHERE temporary = 1;

-- Codes sent by mail, as keyed hashes: one for each account and purpose.
CREATE TABLE email_token (
    account_id    INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    purpose       TEXT    NOT NULL,
    token_hash    BLOB    NOT NULL,
    expires_at    INTEGER NOT NULL,
    wrong_guesses INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, purpose)
) STRICT;
CREATE INDEX email_token_hash ON email_token (purpose, token_hash);
CREATE INDEX email_token_expiry ON email_token (expires_at);

-- Mail that was made while no SMTP server was set, for `rookery mail outbox`; the newest few. Codes open accounts, so
-- recipient, subject and text are sealed under the master key.
CREATE TABLE outbox_mail (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    sealed     BLOB    NOT NULL
) STRICT;
