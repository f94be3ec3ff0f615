-- Private settings of an account (app.bsky.actor.getPreferences), one row each, in the order in which they were put.
CREATE TABLE account_pref (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    name       TEXT    NOT NULL,                -- its $type
    value      TEXT    NOT NULL                 -- JSON
) STRICT;
CREATE INDEX account_pref_account ON account_pref (account_id, id);
