-- The tables of this example. They belong to you, not to hookbox: give them a prefix of your own, and
-- change them with your own migrations.
create table scoring_scores (
    event integer primary key,          -- the number of the event in hookbox's table `events`
    uid text not null,
    score text not null,                -- as text, so that every digit stays
    scored_at integer,
    body text not null
) strict;

create table scoring_newest (
    uid text primary key,
    score text not null,
    events integer not null
) strict;
