-- The tables of this example. They belong to you, not to hookbox: keep them in a schema of your own,
-- and change them with your own migrations.
create schema if not exists scoring;

create table scoring.scores (
    event bigint primary key,           -- the number of the event in hookbox's table `events`
    uid text not null,
    score numeric not null,
    scored_at timestamptz,
    body json not null
);

create table scoring.newest (
    uid text primary key,
    score numeric not null,
    events bigint not null
);
