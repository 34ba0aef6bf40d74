-- How often a handler was started on a receipt in a process that nobody has heard of since. Only
-- for receipts that came again, so the ordinary way writes nothing here; a row goes as soon as a
-- process has survived the attempt, whatever its outcome. What is left names the suspects.
CREATE TABLE starts (
    route TEXT NOT NULL,
    receipt_id UUID NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    starts INTEGER NOT NULL CHECK (starts >= 1),
    started_by UUID NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (receipt_id, attempt, route)
);
