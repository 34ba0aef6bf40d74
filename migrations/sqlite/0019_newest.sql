-- Routes that apply only the newest event of each key (`newest` in docs/CONFIG.md). An event that is
-- older than one of its key that is done is stale: its handler does not run.

-- The checks of three tables allow one more word. SQLite cannot change a check, and a copy of
-- `claims` would need a copy of every table that refers to it. So their definitions are changed in
-- place, as SQLite's documentation of ALTER TABLE describes it for checks: the rows stay as they are.
-- `reset` makes this connection read the schema again; the new table below makes the others do so.
pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, '''retrying'', ''dead'')', '''retrying'', ''dead'', ''stale'')')
where type = 'table' and name in ('claims', 'receipts');
update sqlite_schema
set sql = replace(sql, '''dead'', ''discarded'')', '''dead'', ''discarded'', ''stale'')')
where type = 'table' and name = 'ends';
pragma writable_schema = reset;

-- The newest version of each key that is done on a route. The key of the table serves the versions
-- of the keys in a batch, when they are compared and when they rise.
create table newest (
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
