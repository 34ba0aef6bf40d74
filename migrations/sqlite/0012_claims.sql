-- Claims and receipts, by the number of their event. Keys begin with the number and not with the
-- route: without statistics SQLite takes the first column of a key for selective, and would read
-- through all rows of a route.
drop index receipts_event;
drop index receipts_number;
alter table receipts rename to receipts_10;
alter table claims rename to claims_10;

-- Where an event stands on a route. `running` is only ever seen inside the transaction that
-- claimed it, unless a handler ended that transaction by itself. The key serves every claim and
-- settlement, and what is shown of one event.
create table claims (
    event integer not null references events (number),
    route text not null,
    state text not null check (state in ('running', 'done', 'retrying', 'dead')),
    attempts integer not null check (attempts >= 0),
    claimed_at integer not null,
    settled_at integer,
    primary key (event, route)
) strict, without rowid;

-- A row whose event is not stored has no number, so that it makes the migration fail.
insert into claims (event, route, state, attempts, claimed_at, settled_at)
select e.number, c.route, c.state, c.attempts, c.claimed_at, c.settled_at
from claims_10 as c left join events as e on e.event_id = substr(c.event_id, 1, 16)
order by e.number, c.route;

-- The outcome of every accepted request on every route. The key serves the search for receipts that
-- are settled already; ids of receipts begin with a time, so new rows come last.
create table receipts (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    event integer not null,
    outcome text not null
        check (outcome in ('done', 'duplicate', 'conflict', 'retrying', 'dead')),
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

insert into receipts (receipt_id, route, event, outcome, key_id, instance, number, traceparent,
                      received_at, settled_at, other_digest)
select r.receipt_id, r.route, e.number, r.outcome, r.key_id, r.instance, r.number, r.traceparent,
       r.received_at, r.settled_at, r.other_digest
from receipts_10 as r left join events as e on e.event_id = substr(r.event_id, 1, 16)
order by r.receipt_id, r.route;

-- Serves the outcome of a retry or replay, the receipt that stands for a retry, the list of an
-- event's receipts, and the foreign key.
create index receipts_event on receipts (event, route);
-- Serves the accounting: numbers of an ingest that were used twice, or that it never reported.
create index receipts_number on receipts (instance, number);
