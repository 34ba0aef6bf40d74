-- What hookbox keeps in one SQLite file: the inbox, and the queues that lead to it.
--
-- Moments are microseconds since the Unix epoch, by the clock of the process that wrote them.
-- Bodies come last in their rows, so that reading the other columns does not read through them.
-- Keys begin with the id and not with the route: without statistics SQLite takes the first column
-- of a key for selective, and would read through all rows of a route.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per event, whichever routes it took.
CREATE TABLE events (
    event_id BLOB NOT NULL PRIMARY KEY CHECK (length(event_id) = 32),
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    content_digest BLOB NOT NULL CHECK (length(content_digest) = 32),
    seal TEXT,
    received_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX events_received_at ON events (received_at);

-- Where an event stands on a route. `running` is only ever seen inside the transaction that
-- claimed it, unless a handler ended that transaction by itself.
CREATE TABLE claims (
    route TEXT NOT NULL,
    event_id BLOB NOT NULL REFERENCES events (event_id),
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'retrying', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    claimed_at INTEGER NOT NULL,
    settled_at INTEGER,
    PRIMARY KEY (event_id, route)
) STRICT, WITHOUT ROWID;

-- The outcome of every accepted request on every route.
CREATE TABLE receipts (
    route TEXT NOT NULL,
    receipt_id BLOB NOT NULL CHECK (length(receipt_id) = 16),
    event_id BLOB NOT NULL,
    outcome TEXT NOT NULL
        CHECK (outcome IN ('done', 'duplicate', 'conflict', 'retrying', 'dead')),
    key_id TEXT NOT NULL,
    instance BLOB NOT NULL CHECK (length(instance) = 16),
    number INTEGER NOT NULL,
    traceparent TEXT,
    received_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    PRIMARY KEY (receipt_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_event ON receipts (event_id, route);
CREATE INDEX receipts_number ON receipts (instance, number);

-- Every failed attempt, and the one that succeeded after a failure.
CREATE TABLE attempts (
    route TEXT NOT NULL,
    event_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    outcome TEXT NOT NULL,
    error TEXT,
    took_ms INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (event_id, route, attempt),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT, WITHOUT ROWID;

-- Events that wait for another attempt. `attempt` is the next one to run; `attempts_before` is
-- where the present round of attempts began.
CREATE TABLE retries (
    route TEXT NOT NULL,
    event_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    attempts_before INTEGER NOT NULL CHECK (attempts_before >= 0),
    not_before INTEGER NOT NULL,
    queued_at INTEGER,
    PRIMARY KEY (event_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX retries_not_before ON retries (not_before);

-- Events that a route has given up on.
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    route TEXT NOT NULL,
    event_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dead', 'replayed', 'discarded')),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    UNIQUE (event_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT;

-- The newest refused requests: digests, not bodies.
CREATE TABLE refusals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    request BLOB NOT NULL UNIQUE CHECK (length(request) = 16),
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    body_digest TEXT,
    body_bytes INTEGER NOT NULL,
    peer TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- What operators did and saw. Rows are only ever added.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TABLE instances (
    instance BLOB NOT NULL PRIMARY KEY CHECK (length(instance) = 16),
    role TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;

-- The queues. A message is free when its lease is over; taking it changes no column's width, so
-- SQLite rewrites one page of it and not its whole body.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    topic TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_receipt BLOB NOT NULL CHECK (length(first_receipt) = 16),
    published_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0 CHECK (deliveries >= 0),
    -- A random token of the subscription that took it; sixteen zeros when none has.
    taken_by BLOB NOT NULL CHECK (length(taken_by) = 16),
    lease_until INTEGER NOT NULL,
    died_in TEXT,
    bytes BLOB NOT NULL
) STRICT;

CREATE INDEX messages_queue ON messages (queue, id);
