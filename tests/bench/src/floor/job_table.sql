-- The tables of the floor "job table". JOBS is replaced by the number of jobs.
create table floor_jobs (
    id bigint generated always as identity primary key,
    task text not null default 'two_inserts',
    payload text not null,
    priority int not null default 0,
    run_at timestamptz not null default now(),
    attempts int not null default 0,
    max_attempts int not null default 25,
    locked_at timestamptz,
    locked_by text
);
create index floor_jobs_next on floor_jobs (priority, run_at, id) where locked_at is null;
create table floor_events (id bigint primary key, body text not null);
create table floor_scores (event bigint primary key, uid text not null, score int not null);
create index floor_scores_uid on floor_scores (uid);
insert into floor_jobs (payload) select repeat('x', 600) from generate_series(1, JOBS);
analyze floor_jobs;
checkpoint;
