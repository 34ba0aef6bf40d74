-- External calls: an event is leased by the transaction that claims it, and the call is made after
-- the commit. The number of an event's leases on a route, which only grows.
alter table claims add column epoch integer;

-- Of a leased event: the target of its call, and when the lease began. The lease ends at
-- `not_before`. Of the attempt `leased_attempt`: how many of its leases have no outcome yet. A
-- version that does not know these columns leaves them as they are when it records an attempt. The
-- row then waits for another attempt than `leased_attempt`, so that it is no lease any more.
alter table retries add column target text;
alter table retries add column leased_at integer;
alter table retries add column leased_attempt integer;
alter table retries add column leases integer;

-- Serves the calls that are in flight to a target.
create index retries_target on retries (target, not_before) where target is not null;

-- What all workers know of the targets of external calls.
create table targets (
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

-- The status of an HTTP answer ("answered 404") belongs to the cause of a dead letter, so the letters
-- with one are grouped again.
update dead_letters set grouped_at = null where detail like '%answered %';
