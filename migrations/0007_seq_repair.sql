-- Numbers of the firehose were left out because subscribers had seen greater ones (a database restored from a backup), and
-- not every account has been announced again yet. At most one row: how far that has come. It goes on after a restart.
CREATE TABLE seq_repair (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    after_account_id INTEGER NOT NULL           -- accounts up to this number are done
) STRICT;
