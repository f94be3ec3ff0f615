-- App passwords, reserved signing keys, and the orders in which invite codes are listed.

-- Passwords for programs, each with a name that its owner gave it. `hash` is an HMAC under a key of the server: the
-- secret is 80 random bits, so a slow hash would add nothing, and one look at the index finds the password whatever
-- the number of its siblings.
CREATE TABLE app_password (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    privileged INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, name)
) STRICT;
CREATE UNIQUE INDEX app_password_hash ON app_password (account_id, hash);

-- Signing keys handed out before their account exists, sealed under the master key.
CREATE TABLE reserved_signing_key (
    did_key     TEXT    PRIMARY KEY,
    did         TEXT    UNIQUE,                 -- null: for nobody in particular
    sealed      BLOB    NOT NULL,
    reserved_at INTEGER NOT NULL
) STRICT;
CREATE INDEX reserved_signing_key_age ON reserved_signing_key (reserved_at);

CREATE INDEX invite_code_account ON invite_code (for_account, created_at);
CREATE INDEX invite_code_created ON invite_code (created_at, code);
CREATE INDEX invite_code_use_by ON invite_code_use (used_by);
