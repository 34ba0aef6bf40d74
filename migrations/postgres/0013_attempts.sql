-- Attempts, retries and dead letters have the number of their event in place of its id.

-- A worker that was not stopped could otherwise write to these tables after the rows are copied.
lock table attempts, retries, dead_letters in access exclusive mode;

-- Dropping a table would drop the triggers that others have on it.
do $$
declare
    found record;
begin
    for found in
        select tgrelid::regclass as place, tgname from pg_trigger
        where tgrelid in ('attempts'::regclass, 'retries'::regclass) and not tgisinternal
    loop
        raise exception 'table % has the trigger %: drop it, and create it again afterwards',
            found.place, found.tgname;
    end loop;
end
$$;

create table new_attempts (
    route text not null,
    event bigint not null,
    attempt integer not null check (attempt >= 1),
    outcome text not null,
    error text,
    took_ms bigint not null,
    at timestamptz not null default now()
);

create table new_retries (
    route text not null,
    event bigint not null,
    attempt integer not null check (attempt >= 1),
    attempts_before integer not null check (attempts_before >= 0),
    not_before timestamptz not null,
    queued_at timestamptz,
    deferred_attempt integer,
    deferred_reason text,
    deferred_since timestamptz
);

-- A row whose event is not stored has no number, so that it makes the migration fail.
insert into new_attempts (route, event, attempt, outcome, error, took_ms, at)
select a.route, e.number, a.attempt, a.outcome, a.error, a.took_ms, a.at
from attempts a left join events e on e.event_id = substring(a.event_id from 1 for 16)
order by e.number, a.route, a.attempt;

insert into new_retries (route, event, attempt, attempts_before, not_before, queued_at,
                         deferred_attempt, deferred_reason, deferred_since)
select r.route, e.number, r.attempt, r.attempts_before, r.not_before, r.queued_at,
       r.deferred_attempt, r.deferred_reason, r.deferred_since
from retries r left join events e on e.event_id = substring(r.event_id from 1 for 16)
order by e.number, r.route;

-- Dead letters are few, and their ids are known to people, so that the table stays and only the
-- column changes.
alter table dead_letters add column event bigint;
update dead_letters d set event =
    (select number from events e where e.event_id = substring(d.event_id from 1 for 16));
alter table dead_letters alter column event set not null;
alter table dead_letters drop column event_id;
-- For the dead letter of an event on a route, and for all dead letters of one event.
alter table dead_letters add constraint dead_letters_event_route_key unique (event, route);

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
        where pg_class.oid in ('attempts'::regclass, 'retries'::regclass)
          and acl.grantee <> relowner
    loop
        execute format('grant %s on %I to %s%s', given.privilege_type, 'new_' || given.relname,
                       given.grantee, given.option);
    end loop;
end
$$;

drop table attempts;
alter table new_attempts rename to attempts;
alter table attempts rename constraint new_attempts_attempt_check to attempts_attempt_check;
-- For an attempt that is recorded again, and for the attempts of one event.
alter table attempts add primary key (event, route, attempt);

drop table retries;
alter table new_retries rename to retries;
alter table retries rename constraint new_retries_attempt_check to retries_attempt_check;
alter table retries rename constraint new_retries_attempts_before_check
    to retries_attempts_before_check;
-- For the retry of an event on a route, and for all retries of one event.
alter table retries add primary key (event, route);
-- For the retries that are due, and for the list of retries.
create index retries_not_before on retries (not_before);
