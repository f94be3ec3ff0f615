-- Rookery's one database. Times are microseconds since 1970 (UTC); CIDs and hashes are bytes; a rev is the
-- 64-bit number of its TID. Tables keep a rowid and get their order from indexes: rows keyed by a random
-- hash in a WITHOUT ROWID table cost three times as much to write.

-- A person or program that can sign in here. `id` is this server's own number; the DID is the name.
CREATE TABLE account (
    id                 INTEGER PRIMARY KEY,
    did                TEXT    NOT NULL UNIQUE,
    handle             TEXT    UNIQUE,          -- lower case; null once given up
    email              TEXT    UNIQUE,          -- lower case
    email_confirmed_at INTEGER,
    password_hash      TEXT,                    -- PHC string; null: cannot sign in by password
    invites_disabled   INTEGER NOT NULL DEFAULT 0,
    created_at         INTEGER NOT NULL,
    deactivated_at     INTEGER,
    delete_after       INTEGER,
    takedown_ref       TEXT,
    repo_id            INTEGER                  -- the repo served; null until the first commit
) STRICT;
CREATE INDEX account_created ON account (created_at, did);

-- Signing keys, sealed under the master key.
CREATE TABLE signing_key (
    account_id INTEGER PRIMARY KEY REFERENCES account (id),
    did_key    TEXT NOT NULL,
    sealed     BLOB NOT NULL
) STRICT;

-- Secrets of the server itself (session token key, PLC rotation key), sealed under the master key.
CREATE TABLE server_secret (
    name   TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

-- Refresh tokens by the hash of their `jti`. The successor of a token is derived from it, so that a client that
-- lost the answer gets the same one again within the grace period.
CREATE TABLE refresh_token (
    id_hash           BLOB    PRIMARY KEY,
    account_id        INTEGER NOT NULL REFERENCES account (id),
    expires_at        INTEGER NOT NULL,
    rotated_at        INTEGER,
    app_password_name TEXT
) STRICT;
CREATE INDEX refresh_token_account ON refresh_token (account_id, expires_at);

CREATE TABLE invite_code (
    code           TEXT    PRIMARY KEY,
    available_uses INTEGER NOT NULL,
    disabled       INTEGER NOT NULL DEFAULT 0,
    for_account    TEXT    NOT NULL,
    created_by     TEXT    NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;
CREATE TABLE invite_code_use (
    code    TEXT    NOT NULL REFERENCES invite_code (code),
    used_by TEXT    NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (code, used_by)
) STRICT;

-- One generation of a repository. An import is staged under an id of its own and becomes visible when
-- account.repo_id moves to it; ids that no account points at are removed in small steps.
CREATE TABLE repo (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id),
    commit_cid BLOB,                            -- null while staged
    commit_block BLOB,
    rev        INTEGER,
    data_cid   BLOB,
    records    INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX repo_account ON repo (account_id);

-- Records, keyed as the Merkle search tree is: by path, bytewise.
CREATE TABLE record (
    id           INTEGER PRIMARY KEY,
    repo_id      INTEGER NOT NULL,
    path         TEXT    NOT NULL,
    cid          BLOB    NOT NULL,
    rev          INTEGER NOT NULL,
    indexed_at   INTEGER NOT NULL,
    takedown_ref TEXT,
    link_to      TEXT,                          -- what a like, repost, follow or block points at
    body         BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_path ON record (repo_id, path);
CREATE INDEX record_rev ON record (repo_id, rev);

-- Tree nodes, keyed by where they stand: `low` is the greatest key before the node that stands deeper in the tree.
-- Reading by (low, depth descending), with each record after the nodes whose `low` is smaller, is the depth-first
-- order of the tree. See src/atproto/mst/mod.rs.
CREATE TABLE mst_node (
    id      INTEGER PRIMARY KEY,
    repo_id INTEGER NOT NULL,
    low     TEXT    NOT NULL,
    depth   INTEGER NOT NULL,
    cid     BLOB    NOT NULL,
    rev     INTEGER NOT NULL,
    block   BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX mst_node_place ON mst_node (repo_id, low, depth DESC);

-- Records and nodes in orders that have nothing to do with that of the tree: by CID, and records by what they point
-- at, so that a second like of the same post replaces the first. The triggers keep them for generations that have a
-- commit. An import enters them at its end, sorted: one by one, in the order of the tree, each entry of a large
-- repository would touch another page of the file.
CREATE TABLE record_cid (
    repo_id   INTEGER NOT NULL,
    cid       BLOB    NOT NULL,
    record_id INTEGER NOT NULL,
    PRIMARY KEY (repo_id, cid, record_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE mst_node_cid (
    repo_id INTEGER NOT NULL,
    cid     BLOB    NOT NULL,
    node_id INTEGER NOT NULL,
    PRIMARY KEY (repo_id, cid, node_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE backlink (
    repo_id INTEGER NOT NULL,
    link_to TEXT    NOT NULL,
    path    TEXT    NOT NULL,
    PRIMARY KEY (repo_id, link_to, path)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER record_inserted AFTER INSERT ON record
WHEN (SELECT commit_cid FROM repo WHERE id = NEW.repo_id) IS NOT NULL BEGIN
    INSERT INTO record_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
    INSERT INTO backlink SELECT NEW.repo_id, NEW.link_to, NEW.path WHERE NEW.link_to IS NOT NULL;
END;
CREATE TRIGGER record_updated AFTER UPDATE OF cid, link_to ON record BEGIN
    DELETE FROM record_cid WHERE repo_id = OLD.repo_id AND cid = OLD.cid AND record_id = OLD.id;
    DELETE FROM backlink WHERE repo_id = OLD.repo_id AND link_to = OLD.link_to AND path = OLD.path;
    INSERT INTO record_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
    INSERT INTO backlink SELECT NEW.repo_id, NEW.link_to, NEW.path WHERE NEW.link_to IS NOT NULL;
END;
CREATE TRIGGER record_deleted AFTER DELETE ON record BEGIN
    DELETE FROM record_cid WHERE repo_id = OLD.repo_id AND cid = OLD.cid AND record_id = OLD.id;
    DELETE FROM backlink WHERE repo_id = OLD.repo_id AND link_to = OLD.link_to AND path = OLD.path;
END;
CREATE TRIGGER mst_node_inserted AFTER INSERT ON mst_node
WHEN (SELECT commit_cid FROM repo WHERE id = NEW.repo_id) IS NOT NULL BEGIN
    INSERT INTO mst_node_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
END;
CREATE TRIGGER mst_node_updated AFTER UPDATE OF cid ON mst_node BEGIN
    DELETE FROM mst_node_cid WHERE repo_id = OLD.repo_id AND cid = OLD.cid AND node_id = OLD.id;
    INSERT INTO mst_node_cid VALUES (NEW.repo_id, NEW.cid, NEW.id);
END;
CREATE TRIGGER mst_node_deleted AFTER DELETE ON mst_node BEGIN
    DELETE FROM mst_node_cid WHERE repo_id = OLD.repo_id AND cid = OLD.cid AND node_id = OLD.id;
END;

-- Blobs that an account has uploaded. The bytes are a file named by account and CID.
CREATE TABLE blob (
    id           INTEGER PRIMARY KEY,
    account_id   INTEGER NOT NULL REFERENCES account (id),
    cid          TEXT    NOT NULL,              -- text form: listBlobs pages in its order
    mime_type    TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    temporary    INTEGER NOT NULL,              -- 1 until a record refers to it
    takedown_ref TEXT
) STRICT;
CREATE UNIQUE INDEX blob_cid ON blob (account_id, cid);
CREATE INDEX blob_temporary ON blob (created_at) WHERE temporary = 1;

-- Which record refers to which blob; the blob may be missing after an import.
CREATE TABLE record_blob (
    repo_id INTEGER NOT NULL,
    cid     TEXT    NOT NULL,
    path    TEXT    NOT NULL,
    rev     INTEGER NOT NULL,
    PRIMARY KEY (repo_id, cid, path)
) STRICT;
CREATE INDEX record_blob_path ON record_blob (repo_id, path);

-- Blob files that may have no row in `blob`: noted before a file is put in place and when a row is deleted, so that
-- no crash leaves a file that nobody knows of. The sweep removes those that have none.
CREATE TABLE blob_garbage (
    account_id INTEGER NOT NULL,
    cid        TEXT    NOT NULL,
    PRIMARY KEY (account_id, cid)
) STRICT;

-- The firehose log. A row holds one frame exactly as subscribers receive it.
CREATE TABLE repo_seq (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    did        TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    frame      BLOB    NOT NULL
) STRICT;
CREATE INDEX repo_seq_did ON repo_seq (did);
CREATE INDEX repo_seq_created ON repo_seq (created_at);

-- Resolved DID documents.
CREATE TABLE did_cache (
    did        TEXT    PRIMARY KEY,
    document   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Operations of the small did:plc directory that `rookery dev` runs. Empty on a real server.
CREATE TABLE dev_plc_operation (
    id         INTEGER PRIMARY KEY,
    did        TEXT    NOT NULL,
    cid        TEXT    NOT NULL UNIQUE,
    operation  TEXT    NOT NULL,
    nullified  INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX dev_plc_operation_did ON dev_plc_operation (did, id);
