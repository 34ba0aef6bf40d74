-- What tells a store that was restored from one that is whole (docs/ACCOUNTING.md): each life of
-- the store has a random name, and each witness that it gives its broker a number that grows.
create table incarnations (
    id integer primary key,
    incarnation blob not null unique default (randomblob(16)) check (length(incarnation) = 16),
    began_at integer not null,
    -- Of a life that began because a person accepted that store and broker contradicted each
    -- other: who, why, and the contradiction with its span.
    accepted_by text,
    why text,
    what text
) strict;

insert into incarnations (began_at) values (unixepoch() * 1000000);

-- The newest witness, as it travels, and the highest number that the broker has confirmed. One row.
create table witness (
    id integer primary key check (id = 1),
    newest blob,
    confirmed integer not null check (confirmed >= 0)
) strict;

insert into witness (id, confirmed) values (1, 0);

-- The broker's side: the witnesses that it keeps for its store, which may be another file.
create table broker_witnesses (
    id integer primary key,
    bytes blob not null
) strict;

-- When an ingest last reported anything; null where an older hookbox wrote the row.
alter table accounts add column heard_at integer;
