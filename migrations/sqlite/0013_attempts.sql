-- Attempts, retries and dead letters, by the number of their event.
drop index retries_not_before;
drop index dead_letters_group;
drop index dead_letters_ungrouped;
alter table attempts rename to attempts_10;
alter table retries rename to retries_10;
alter table dead_letters rename to dead_letters_10;
alter table earlier_deaths rename to earlier_deaths_10;

-- Every failed attempt, and the one that succeeded after a failure. The key serves what is shown of
-- one event.
create table attempts (
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

-- A row whose event is not stored has no number, so that it makes the migration fail.
insert into attempts (event, route, attempt, outcome, error, took_ms, at)
select e.number, a.route, a.attempt, a.outcome, a.error, a.took_ms, a.at
from attempts_10 as a left join events as e on e.event_id = substr(a.event_id, 1, 16)
order by e.number, a.route, a.attempt;

-- Events that wait for another attempt. `attempt` is the next one to run; `attempts_before` is
-- where the present round of attempts began. The key serves claims of retries, and what is shown of
-- one event.
create table retries (
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
    deferred_since integer,
    primary key (event, route),
    foreign key (event, route) references claims (event, route)
) strict, without rowid;

insert into retries (event, route, attempt, attempts_before, not_before, queued_at,
                     deferred_attempt, deferred_reason, deferred_since)
select e.number, w.route, w.attempt, w.attempts_before, w.not_before, w.queued_at,
       w.deferred_attempt, w.deferred_reason, w.deferred_since
from retries_10 as w left join events as e on e.event_id = substr(w.event_id, 1, 16)
order by e.number, w.route;

-- Serves the search for retries that are due, and the list of retries.
create index retries_not_before on retries (not_before);

-- Events that a route has given up on. The unique index serves a death after a replay, and what is
-- listed of one event.
create table dead_letters (
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
    grouped_at integer,
    unique (event, route),
    foreign key (event, route) references claims (event, route)
) strict;

insert into dead_letters (id, event, route, state, reason, detail, attempts, died_at, group_id,
                          grouped_at)
select d.id, e.number, d.route, d.state, d.reason, d.detail, d.attempts, d.died_at, d.group_id,
       d.grouped_at
from dead_letters_10 as d left join events as e on e.event_id = substr(d.event_id, 1, 16)
order by d.id;

-- Serves the letters of one group.
create index dead_letters_group on dead_letters (group_id, id);
-- Serves the search for letters whose group is to be computed.
create index dead_letters_ungrouped on dead_letters (id) where grouped_at is not died_at;

-- The deaths of a dead letter that was replayed: written by the replay, which a person did.
create table earlier_deaths (
    dead_letter integer not null references dead_letters (id),
    died_at integer not null,
    reason text not null,
    detail text not null,
    attempts integer not null check (attempts >= 0),
    replayed_at integer not null,
    replayed_by text not null,
    primary key (dead_letter, died_at)
) strict, without rowid;

insert into earlier_deaths (dead_letter, died_at, reason, detail, attempts, replayed_at,
                            replayed_by)
select dead_letter, died_at, reason, detail, attempts, replayed_at, replayed_by
from earlier_deaths_10 order by dead_letter, died_at;
