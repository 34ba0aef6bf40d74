-- What hookbox keeps in PostgreSQL: the inbox.
--
-- There are no foreign keys: each would cost a look-up and a shared row lock for every receipt,
-- and the rows of one event are always written in one transaction. `hookbox reconcile` checks
-- what they would. Keys begin with the event, so that one index answers for one route and for
-- all of them. Bodies are bytes, never jsonb or text: a signed body may hold anything.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row per event, whichever routes it took.
CREATE TABLE events (
    event_id BYTEA PRIMARY KEY CHECK (octet_length(event_id) = 32),
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    content_digest BYTEA NOT NULL CHECK (octet_length(content_digest) = 32),
    body BYTEA NOT NULL,
    seal TEXT,
    received_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX events_received_at ON events (received_at);

-- Where an event stands on a route. `running` is only ever seen inside the transaction that
-- claimed it, unless a handler ended that transaction by itself.
--
-- Every claim is inserted as running and updated once before the commit. Pages that are filled
-- to the half only have room for that second version, so that it needs no new index entry.
CREATE TABLE claims (
    route TEXT NOT NULL,
    event_id BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'retrying', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    claimed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    settled_at TIMESTAMPTZ,
    PRIMARY KEY (event_id, route)
) WITH (fillfactor = 50);

-- The outcome of every accepted request on every route.
CREATE TABLE receipts (
    route TEXT NOT NULL,
    receipt_id UUID NOT NULL,
    event_id BYTEA NOT NULL,
    outcome TEXT NOT NULL
        CHECK (outcome IN ('done', 'duplicate', 'conflict', 'retrying', 'dead')),
    key_id TEXT NOT NULL,
    instance UUID NOT NULL,
    number BIGINT NOT NULL,
    traceparent TEXT,
    received_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (route, receipt_id)
);

CREATE INDEX receipts_event ON receipts (event_id, route);
CREATE INDEX receipts_number ON receipts (instance, number);

-- Every failed attempt, and the one that succeeded after a failure.
CREATE TABLE attempts (
    route TEXT NOT NULL,
    event_id BYTEA NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    outcome TEXT NOT NULL,
    error TEXT,
    took_ms BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, route, attempt)
);

-- Events that wait for another attempt. `attempt` is the next one to run; `attempts_before` is
-- where the present round of attempts began.
CREATE TABLE retries (
    route TEXT NOT NULL,
    event_id BYTEA NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    attempts_before INTEGER NOT NULL CHECK (attempts_before >= 0),
    not_before TIMESTAMPTZ NOT NULL,
    queued_at TIMESTAMPTZ,
    PRIMARY KEY (event_id, route)
);

CREATE INDEX retries_not_before ON retries (not_before);

-- Events that a route has given up on.
CREATE TABLE dead_letters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    event_id BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dead', 'replayed', 'discarded')),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    died_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (event_id, route)
);

-- The newest refused requests: digests, not bodies.
CREATE TABLE refusals (
    request UUID PRIMARY KEY,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    body_digest TEXT,
    body_bytes BIGINT NOT NULL,
    peer TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL
);

CREATE INDEX refusals_at ON refusals (at, request);

-- What operators did and saw. Rows are only ever added.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
);

CREATE TABLE instances (
    instance UUID PRIMARY KEY,
    role TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL
);
