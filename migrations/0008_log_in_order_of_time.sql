-- Times in the event log never go back, so that its numbers are an order by time already (store/repo_seq.rs searches in
-- it); one index less to write with each event.
DROP INDEX repo_seq_created;
