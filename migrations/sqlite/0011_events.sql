-- Events are numbered, and everything else is keyed by the number. The id of an event is a digest,
-- so each table or index that is keyed by it has every new row at a random place; only deduplication
-- still needs one such index. Ids are cut to 16 bytes.
--
-- The old tables are renamed, because they refer to each other; 0014 drops them, when nothing
-- refers to them any more.
drop index events_received_at;
alter table events rename to events_10;

-- One row per event, whichever routes it took. The body has a table of its own, so that this one
-- stays small.
create table events (
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

insert into events (event_id, source, topic, content_digest, received_at, created_at)
select substr(event_id, 1, 16), source, topic, content_digest, received_at, created_at
from events_10 order by received_at, created_at, event_id;

-- Serves `hookbox events list` and the names of the newest events, both of which read by time.
create index events_received_at on events (received_at);

-- The body of each event as it was received.
create table bodies (
    event integer primary key references events (number),
    seal text,
    body blob not null
) strict;

insert into bodies (event, seal, body)
select e.number, o.seal, o.body
from events as e left join events_10 as o
    -- All ids that begin with these 16 bytes: a range, so that the search uses the primary key.
    on o.event_id between e.event_id
        and cast(e.event_id || x'ffffffffffffffffffffffffffffffff' as blob)
order by e.number;
