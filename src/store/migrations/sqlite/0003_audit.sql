-- The audit trail. Each row holds the MAC of the one before it and its own.
CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    happened_at BIGINT NOT NULL,
    event       TEXT NOT NULL,
    success     BOOLEAN NOT NULL,
    actor       TEXT NOT NULL,
    actor_name  TEXT,
    client      TEXT,
    request_id  TEXT,
    target      TEXT,
    target_name TEXT,
    detail      TEXT NOT NULL, -- a JSON object
    key_id      TEXT NOT NULL, -- under which key the link was made
    previous    BLOB NOT NULL,
    link        BLOB NOT NULL
);
CREATE INDEX audit_time ON audit (happened_at);

-- One row: the end of the trail, and up to where old rows may be deleted. Whoever adds a row locks it.
CREATE TABLE audit_head (
    only_row  BIGINT PRIMARY KEY CHECK (only_row = 1),
    seq       BIGINT NOT NULL,
    link      BLOB NOT NULL,
    pruned_to BIGINT NOT NULL
);
INSERT INTO audit_head (only_row, seq, link, pruned_to) VALUES (1, 0, zeroblob(32), 0);

-- Against accidents; against intent there are the MACs.
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit rows are never changed');
END;

CREATE TRIGGER audit_kept BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT pruned_to FROM audit_head)
BEGIN
    SELECT RAISE(ABORT, 'audit rows are only pruned');
END;
