-- The ends of events on routes, in an order in which a reader can continue: for programs that read
-- along, and for `hookbox events follow`. Rows are only ever added.

-- A worker that was not stopped could otherwise commit an event after the rows below are made, and
-- would write no end for it.
lock table claims, dead_letters in share row exclusive mode;

create table ends (
    -- The transaction that wrote the row. Its number is 0 for what ended before this migration.
    ended_xid xid8 not null,
    event bigint not null,
    ended_at timestamptz not null default now(),
    -- The round is that of the attempts: 1, or after a replay the number of its first attempt.
    round integer not null check (round >= 1),
    attempts integer not null check (attempts >= 0),
    route text not null,
    outcome text not null check (outcome in ('done', 'dead', 'discarded'))
);

-- What has ended before comes first, in the order of the events. A claim that is done without a
-- receipt that ended it was committed by a handler, and has no end.
insert into ends (ended_xid, event, ended_at, round, attempts, route, outcome)
select '0'::xid8, c.event, coalesce(c.settled_at, c.claimed_at),
       1 + coalesce((select max(e.attempts) from dead_letters d
                     join earlier_deaths e on e.dead_letter = d.id
                     where d.event = c.event and d.route = c.route), 0),
       c.attempts, c.route,
       case when c.state = 'dead'
                 and exists (select from dead_letters d
                             where d.event = c.event and d.route = c.route
                               and d.state = 'discarded')
            then 'discarded' else c.state end
from claims c
where c.state = 'dead'
   or c.state = 'done'
      and (exists (select from receipts r
                   where r.event = c.event and r.route = c.route
                     and r.outcome in ('done', 'conflict'))
           or c.event < (select coalesce(max(value::bigint), 0) from meta
                         where key = 'receipts_kept_from'))
order by c.event, c.route;

-- For reading on after a position. New rows come last.
alter table ends add primary key (ended_xid, event, route);

-- The one supported way to read along in SQL (docs/HANDLERS.md). It shows an end only when every
-- transaction with a lower number has ended, so that no end appears before one that was read.
create view hookbox_ends as
select (select incarnation from incarnations order by id desc limit 1) as incarnation,
       ends.ended_xid, ends.event, ends.route, events.event_id, events.topic, ends.outcome,
       ends.round, ends.attempts, ends.ended_at
from ends join events on events.number = ends.event
where ends.ended_xid < pg_snapshot_xmin(pg_current_snapshot());

-- The rights to read and to add rows that roles have on receipts are given on the new table. A role
-- that may change dead letters may add rows, because a discard is an end.
do $$
declare
    given record;
begin
    for given in
        select case acl.privilege_type when 'UPDATE' then 'INSERT'
                    else acl.privilege_type end as privilege_type,
               case acl.grantee when 0 then 'public'
                    else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee,
               case when acl.is_grantable then ' with grant option' else '' end as option
        from pg_class, aclexplode(relacl) as acl
        where acl.grantee <> relowner
          and (pg_class.oid = 'receipts'::regclass and acl.privilege_type in ('SELECT', 'INSERT')
               or pg_class.oid = 'dead_letters'::regclass and acl.privilege_type = 'UPDATE')
    loop
        execute format('grant %s on ends to %s%s', given.privilege_type, given.grantee,
                       given.option);
        if given.privilege_type = 'SELECT' then
            execute format('grant select on hookbox_ends to %s%s', given.grantee, given.option);
        end if;
    end loop;
end
$$;
