-- The deaths of a dead letter that was replayed: written by the replay, which a person did.
create table earlier_deaths (
    dead_letter bigint not null references dead_letters (id),
    died_at timestamptz not null,
    reason text not null,
    detail text not null,
    attempts integer not null check (attempts >= 0),
    replayed_at timestamptz not null default now(),
    replayed_by text not null,
    primary key (dead_letter, died_at)
);
