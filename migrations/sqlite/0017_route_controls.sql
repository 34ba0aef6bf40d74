-- What operators have set for routes while workers run (docs/OPERATING.md). A route without a row runs
-- as the config says. The row of the route '*' applies to all routes; it holds a pause and no limits.
create table route_controls (
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
