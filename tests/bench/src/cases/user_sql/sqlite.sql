-- The tables of the user, of the same form and with the same indexes as those of `begini`.
create table scoring_scores (
    event integer primary key,
    integration_id text not null,
    uid text not null,
    kind text not null,
    platform text,
    score integer not null,
    risk_band text,
    score_confidence text,
    application_started_at integer,
    application_completed_at integer,
    scored_at integer,
    other text not null
) strict;

create index scoring_scores_by_uid on scoring_scores (uid);

create table scoring_traits (
    event integer not null,
    position integer not null,
    key text not null,
    value text not null,
    risk_band text,
    other text not null,
    primary key (event, position)
) strict, without rowid;
