-- Records and nodes are no longer kept in the order of their CIDs: each commit touched a dozen random pages of those two
-- tables, for two rare questions (getBlocks, and imports that leave out what is here already). Both now read through
-- the repository once, which costs what getRepo costs. See docs/decisions/0011-no-order-by-cid.md.
DROP TRIGGER record_inserted;
DROP TRIGGER record_updated;
DROP TRIGGER record_deleted;
DROP TRIGGER mst_node_inserted;
DROP TRIGGER mst_node_updated;
DROP TRIGGER mst_node_deleted;
DROP TABLE record_cid;
DROP TABLE mst_node_cid;

-- What points at what is still kept here, for generations that have a commit.
CREATE TRIGGER record_inserted AFTER INSERT ON record
WHEN NEW.link_to IS NOT NULL AND (SELECT commit_cid FROM repo WHERE id = NEW.repo_id) IS NOT NULL BEGIN
    INSERT INTO backlink VALUES (NEW.repo_id, NEW.link_to, NEW.path);
END;
CREATE TRIGGER record_updated AFTER UPDATE OF link_to ON record
WHEN OLD.link_to IS NOT NEW.link_to BEGIN
    DELETE FROM backlink WHERE repo_id = OLD.repo_id AND link_to = OLD.link_to AND path = OLD.path;
    INSERT INTO backlink SELECT NEW.repo_id, NEW.link_to, NEW.path WHERE NEW.link_to IS NOT NULL;
END;
CREATE TRIGGER record_deleted AFTER DELETE ON record
WHEN OLD.link_to IS NOT NULL BEGIN
    DELETE FROM backlink WHERE repo_id = OLD.repo_id AND link_to = OLD.link_to AND path = OLD.path;
END;
