-- Written from the migrated schema; do not edit.

CREATE TABLE accepted (
    route text not null primary key,
    receipts integer not null check (receipts >= 0)
) strict, without rowid;

CREATE TABLE accounts (
    instance blob not null check (length(instance) = 16),
    first integer not null check (first >= 1),
    last integer not null check (last >= first - 1),
    closing integer not null check (closing in (0, 1)),
    told_at integer not null, heard_at integer,
    primary key (instance, first)
) strict, without rowid;

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

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TABLE begini_applications (
    event_id blob primary key references events (event_id),
    integration_id text not null,
    uid text not null,
    status text not null,
    started_at integer,
    ended_at integer,
    -- A JSON object of the percentages, decimal strings as they came.
    percentages text not null,
    -- A JSON array.
    reasons text,
    other text not null
) strict;

CREATE INDEX begini_applications_by_uid on begini_applications (uid);

CREATE TABLE begini_score_traits (
    event_id blob not null references begini_scores (event_id),
    position integer not null,
    key text not null,
    -- Integers and decimals alike, by their text.
    value text not null,
    risk_band text,
    other text not null,
    primary key (event_id, position)
) strict;

CREATE TABLE begini_scores (
    event_id blob primary key references events (event_id),
    integration_id text not null,
    uid text not null,
    kind text not null,
    platform text,
    score integer not null,
    risk_band text,
    score_confidence text,
    application_started_at integer,
    application_completed_at integer,
    scored_at integer,
    -- Every field that has no column, as one JSON object with numbers and strings as they came.
    other text not null
) strict;

CREATE INDEX begini_scores_by_uid on begini_scores (uid);

CREATE TABLE broker_witnesses (
    id integer primary key,
    bytes blob not null
) strict;

CREATE TABLE claims (
    route TEXT NOT NULL,
    event_id BLOB NOT NULL REFERENCES events (event_id),
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'retrying', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    claimed_at INTEGER NOT NULL,
    settled_at INTEGER,
    PRIMARY KEY (event_id, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    route TEXT NOT NULL,
    event_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dead', 'replayed', 'discarded')),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    died_at INTEGER NOT NULL, group_id TEXT, grouped_at INTEGER,
    UNIQUE (event_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT;

CREATE INDEX dead_letters_group ON dead_letters (group_id, id);

CREATE INDEX dead_letters_ungrouped ON dead_letters (id) WHERE grouped_at IS NOT died_at;

CREATE TABLE earlier_deaths (
    dead_letter INTEGER NOT NULL REFERENCES dead_letters (id),
    died_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    replayed_at INTEGER NOT NULL,
    replayed_by TEXT NOT NULL,
    PRIMARY KEY (dead_letter, died_at)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE incarnations (
    id integer primary key,
    incarnation blob not null unique default (randomblob(16)) check (length(incarnation) = 16),
    began_at integer not null,
    -- Of a life that began because a person accepted that store and broker contradicted each
    -- other: who, why, and the contradiction with its span.
    accepted_by text,
    why text,
    what text
) strict;

CREATE TABLE instances (
    instance BLOB NOT NULL PRIMARY KEY CHECK (length(instance) = 16),
    role TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;

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

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE open_receipts (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    told_at integer not null,
    primary key (receipt_id, route)
) strict, without rowid;

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
    settled_at INTEGER NOT NULL, other_digest BLOB,
    PRIMARY KEY (receipt_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_event ON receipts (event_id, route);

CREATE INDEX receipts_number ON receipts (instance, number);

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

CREATE INDEX refusals_at ON refusals (at, request);

CREATE TABLE retries (
    route TEXT NOT NULL,
    event_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    attempts_before INTEGER NOT NULL CHECK (attempts_before >= 0),
    not_before INTEGER NOT NULL,
    queued_at INTEGER, deferred_attempt INTEGER, deferred_reason TEXT, deferred_since INTEGER,
    PRIMARY KEY (event_id, route),
    FOREIGN KEY (route, event_id) REFERENCES claims (route, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX retries_not_before ON retries (not_before);

CREATE TABLE starts (
    route TEXT NOT NULL,
    receipt_id BLOB NOT NULL CHECK (length(receipt_id) = 16),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    starts INTEGER NOT NULL CHECK (starts >= 1),
    started_by BLOB NOT NULL CHECK (length(started_by) = 16),
    started_at INTEGER NOT NULL, isolated INTEGER NOT NULL DEFAULT 0, unproven INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (receipt_id, attempt, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE witness (
    id integer primary key check (id = 1),
    newest blob,
    confirmed integer not null check (confirmed >= 0)
) strict;

CREATE TABLE written_off (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    why text not null,
    written_off_by text not null,
    written_off_at integer not null,
    primary key (receipt_id, route)
) strict, without rowid;
