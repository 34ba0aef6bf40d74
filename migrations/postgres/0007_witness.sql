-- What tells a store that was restored from one that is whole (docs/ACCOUNTING.md): each life of
-- the store has a random name, and each witness that it gives its broker a number that grows.
create table incarnations (
    id bigint generated always as identity primary key,
    incarnation uuid not null unique default gen_random_uuid(),
    began_at timestamptz not null default now(),
    -- Of a life that began because a person accepted that store and broker contradicted each
    -- other: who, why, and the contradiction with its span.
    accepted_by text,
    why text,
    what text
);

insert into incarnations default values;

-- The newest witness, as it travels, and the highest number that the broker has confirmed. One row.
create table witness (
    id integer primary key check (id = 1),
    newest bytea,
    confirmed bigint not null check (confirmed >= 0)
);

insert into witness (id, confirmed) values (1, 0);

-- When an ingest last reported anything: each report writes a row anew.
alter table accounts add column heard_at timestamptz not null default now();
