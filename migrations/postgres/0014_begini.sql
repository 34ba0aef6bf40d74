-- The typed rows of the `begini` handler have the number of their event in place of its id. They
-- have no foreign keys: each row is written in the transaction that settles its event, and checking
-- the foreign keys took 23 µs for each event.

-- A worker that was not stopped could otherwise write to these tables after the rows are copied.
lock table begini_scores, begini_score_traits, begini_applications in access exclusive mode;

-- Dropping a table would drop the triggers that others have on it.
do $$
declare
    found record;
begin
    for found in
        select tgrelid::regclass as place, tgname from pg_trigger
        where tgrelid in ('begini_scores'::regclass, 'begini_score_traits'::regclass,
                          'begini_applications'::regclass) and not tgisinternal
    loop
        raise exception 'table % has the trigger %: drop it, and create it again afterwards',
            found.place, found.tgname;
    end loop;
end
$$;

create table new_begini_scores (
    event bigint not null,
    integration_id text not null,
    uid text not null,
    kind text not null,
    platform text,
    score bigint not null,
    risk_band text,
    score_confidence text,
    application_started_at bigint,
    application_completed_at bigint,
    scored_at bigint,
    -- Every field that has no column, as one JSON object with numbers and strings as they came.
    other text not null
);

create table new_begini_score_traits (
    event bigint not null,
    position integer not null,
    key text not null,
    -- Integers and decimals alike, by their text.
    value text not null,
    risk_band text,
    other text not null
);

create table new_begini_applications (
    event bigint not null,
    integration_id text not null,
    uid text not null,
    status text not null,
    started_at bigint,
    ended_at bigint,
    -- A JSON object of the percentages, decimal strings as they came.
    percentages text not null,
    -- A JSON array.
    reasons text,
    other text not null
);

-- A row whose event is not stored has no number, so that it makes the migration fail.
insert into new_begini_scores
select e.number, b.integration_id, b.uid, b.kind, b.platform, b.score, b.risk_band,
       b.score_confidence, b.application_started_at, b.application_completed_at, b.scored_at,
       b.other
from begini_scores b left join events e on e.event_id = substring(b.event_id from 1 for 16)
order by e.number;

insert into new_begini_score_traits
select e.number, b.position, b.key, b.value, b.risk_band, b.other
from begini_score_traits b left join events e on e.event_id = substring(b.event_id from 1 for 16)
order by e.number, b.position;

insert into new_begini_applications
select e.number, b.integration_id, b.uid, b.status, b.started_at, b.ended_at, b.percentages,
       b.reasons, b.other
from begini_applications b left join events e on e.event_id = substring(b.event_id from 1 for 16)
order by e.number;

-- The rights that roles have on the old tables are given on the new ones.
do $$
declare
    given record;
begin
    for given in
        select acl.privilege_type, relname,
               case acl.grantee when 0 then 'public'
                    else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee,
               case when acl.is_grantable then ' with grant option' else '' end as option
        from pg_class, aclexplode(relacl) as acl
        where pg_class.oid in ('begini_scores'::regclass, 'begini_score_traits'::regclass,
                               'begini_applications'::regclass)
          and acl.grantee <> relowner
    loop
        execute format('grant %s on %I to %s%s', given.privilege_type, 'new_' || given.relname,
                       given.grantee, given.option);
    end loop;
end
$$;

drop table begini_score_traits;
drop table begini_scores;
drop table begini_applications;
alter table new_begini_scores rename to begini_scores;
alter table new_begini_score_traits rename to begini_score_traits;
alter table new_begini_applications rename to begini_applications;

-- For the row of one event.
alter table begini_scores add primary key (event);
alter table begini_score_traits add primary key (event, position);
alter table begini_applications add primary key (event);
-- For the rows of one person.
create index begini_scores_by_uid on begini_scores (uid);
create index begini_applications_by_uid on begini_applications (uid);
