-- How often a handler was started on a receipt in a process that nobody has heard of since. Only
-- for receipts that came again, so the ordinary way writes nothing here; a row goes as soon as a
-- process has survived the attempt, whatever its outcome. What is left names the suspects.
CREATE TABLE starts (
    route TEXT NOT NULL,
    receipt_id BLOB NOT NULL CHECK (length(receipt_id) = 16),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    starts INTEGER NOT NULL CHECK (starts >= 1),
    started_by BLOB NOT NULL CHECK (length(started_by) = 16),
    started_at INTEGER NOT NULL,
    PRIMARY KEY (receipt_id, attempt, route)
) STRICT, WITHOUT ROWID;
