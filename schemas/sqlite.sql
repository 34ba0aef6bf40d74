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
    event integer not null,
    route text not null,
    attempt integer not null check (attempt >= 1),
    outcome text not null,
    error text,
    took_ms integer not null,
    at integer not null,
    primary key (event, route, attempt),
    foreign key (event, route) references claims (event, route)
) strict, without rowid;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TABLE begini_applications (
    event integer primary key,
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
    event integer not null,
    position integer not null,
    key text not null,
    -- Integers and decimals alike, by their text.
    value text not null,
    risk_band text,
    other text not null,
    primary key (event, position)
) strict, without rowid;

CREATE TABLE begini_scores (
    event integer primary key,
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

CREATE TABLE bodies (
    event integer primary key references events (number),
    seal text,
    body blob not null
) strict;

CREATE TABLE broker_witnesses (
    id integer primary key,
    bytes blob not null
) strict;

CREATE TABLE claims (
    event integer not null references events (number),
    route text not null,
    state text not null check (state in ('running', 'done', 'retrying', 'dead', 'stale')),
    attempts integer not null check (attempts >= 0),
    claimed_at integer not null,
    settled_at integer, epoch integer,
    primary key (event, route)
) strict, without rowid;

CREATE TABLE dead_letters (
    id integer primary key autoincrement,
    event integer not null,
    route text not null,
    state text not null check (state in ('dead', 'replayed', 'discarded')),
    reason text not null,
    detail text not null,
    attempts integer not null,
    died_at integer not null,
    -- The group, by route, reason and cause. It holds while `grouped_at` is when the letter died.
    group_id text,
    grouped_at integer, round integer check (round >= 1),
    unique (event, route),
    foreign key (event, route) references claims (event, route)
) strict;

CREATE INDEX dead_letters_group on dead_letters (group_id, id);

CREATE INDEX dead_letters_ungrouped on dead_letters (id) where grouped_at is not died_at;

CREATE TABLE earlier_deaths (
    dead_letter integer not null references dead_letters (id),
    died_at integer not null,
    reason text not null,
    detail text not null,
    attempts integer not null check (attempts >= 0),
    replayed_at integer not null,
    replayed_by text not null,
    primary key (dead_letter, died_at)
) strict, without rowid;

CREATE TABLE ends (
    position integer primary key,
    event integer not null,
    route text not null,
    outcome text not null check (outcome in ('done', 'dead', 'discarded', 'stale')),
    -- The round is that of the attempts: 1, or after a replay the number of its first attempt.
    round integer not null check (round >= 1),
    attempts integer not null check (attempts >= 0),
    ended_at integer not null
) strict;

CREATE TABLE events (
    -- Rises in the order in which events are stored, and is never given twice.
    number integer primary key autoincrement,
    -- The unique index serves deduplication, and the search for an event by a prefix of its id.
    event_id blob not null unique check (length(event_id) = 16),
    source text not null,
    topic text not null,
    content_digest blob not null check (length(content_digest) = 32),
    received_at integer not null,
    created_at integer not null
) strict;

CREATE INDEX events_received_at on events (received_at);

CREATE VIEW hookbox_ends as
select (select incarnation from incarnations order by id desc limit 1) as incarnation,
       ends.position, ends.event, ends.route, events.event_id, events.topic, ends.outcome,
       ends.round, ends.attempts, ends.ended_at
from ends cross join events on events.number = ends.event;

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

CREATE TABLE newest (
    route text not null,
    -- A digest of the values that are the key, and of the rule by which they were found.
    key blob not null check (length(key) = 16),
    -- The version as it was written, a time in UTC. Null: no event of the key is done yet.
    version text,
    -- The event of that version, and when it was done.
    event integer,
    done_at integer,
    -- The event for which an external call is in flight, and until when at most.
    calling integer,
    calling_until integer,
    primary key (route, key),
    check ((version is null) = (event is null)),
    check ((version is null) = (done_at is null)),
    check ((calling is null) = (calling_until is null))
) strict, without rowid;

CREATE TABLE open_receipts (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    told_at integer not null,
    primary key (receipt_id, route)
) strict, without rowid;

CREATE TABLE receipts (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    event integer not null,
    outcome text not null
        check (outcome in ('done', 'duplicate', 'conflict', 'retrying', 'dead', 'stale')),
    key_id text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    traceparent text,
    received_at integer not null,
    settled_at integer not null,
    -- What the body of this very receipt says, where its event is stored with another body and the
    -- source's config lets the id decide (`on_conflict = "duplicate"`).
    other_digest blob,
    primary key (receipt_id, route),
    foreign key (event, route) references claims (event, route)
) strict, without rowid;

CREATE INDEX receipts_event on receipts (event, route);

CREATE INDEX receipts_number on receipts (instance, number);

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
    event integer not null,
    route text not null,
    attempt integer not null check (attempt >= 1),
    attempts_before integer not null check (attempts_before >= 0),
    not_before integer not null,
    queued_at integer,
    -- Of an event that is put off without an attempt: why, and since when. The row is a deferral
    -- while it still waits for the attempt that was put off.
    deferred_attempt integer,
    deferred_reason text,
    deferred_since integer, target text, leased_at integer, leased_attempt integer, leases integer,
    primary key (event, route),
    foreign key (event, route) references claims (event, route)
) strict, without rowid;

CREATE INDEX retries_not_before on retries (not_before);

CREATE INDEX retries_target on retries (target, not_before) where target is not null;

CREATE TABLE route_controls (
    route text not null primary key,
    -- The pause: since when, by which operator and why. All three are null while the route runs.
    paused_at integer,
    paused_by text,
    paused_why text,
    -- When the last pause ended.
    resumed_at integer,
    -- The limits of each worker process. Null: no limit beside that of the config.
    events_per_1000_s integer check (events_per_1000_s > 0),
    concurrency integer check (concurrency > 0),
    check ((paused_at is null) = (paused_by is null)),
    check ((paused_at is null) = (paused_why is null))
) strict, without rowid;

CREATE TABLE starts (
    route TEXT NOT NULL,
    receipt_id BLOB NOT NULL CHECK (length(receipt_id) = 16),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    starts INTEGER NOT NULL CHECK (starts >= 1),
    started_by BLOB NOT NULL CHECK (length(started_by) = 16),
    started_at INTEGER NOT NULL, isolated INTEGER NOT NULL DEFAULT 0, unproven INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (receipt_id, attempt, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
    name text primary key,
    -- Calls in a row that met a fault of the target, and the event of the last of them.
    faults integer not null default 0 check (faults >= 0),
    last_fault integer,
    -- How often the breaker was opened since it was closed, and until when it is open.
    openings integer not null default 0 check (openings >= 0),
    open_until integer,
    -- Until when the target asked for a pause.
    wait_until integer,
    -- Up to when the rate is used.
    rate_until integer,
    -- Why the last call that did not reach the target failed, or how the target asked for a pause;
    -- and when. They are kept when the target answers again.
    last_error text,
    last_error_at integer
) strict, without rowid;

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
