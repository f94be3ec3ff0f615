-- What a did:plc directory was asked for an account, from before it is asked until our own rows say so too. A crash in
-- between leaves the row behind; at the next start the change is finished or undone (service/account/pending.rs).
CREATE TABLE pending_identity (
    did        TEXT    PRIMARY KEY,
    kind       TEXT    NOT NULL,                -- create, handle or operation
    handle     TEXT    UNIQUE,                  -- held for this DID meanwhile; null when the handle stays
    started_at INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL DEFAULT 0       -- 1: being undone, must not be finished any more
) STRICT;
