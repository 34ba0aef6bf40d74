-- Claims and receipts have the number of their event in place of its id. Between the previous
-- migration and this one, they still have the whole id.

-- A worker that was not stopped could otherwise write to these tables after the rows are copied.
lock table claims, receipts in access exclusive mode;

-- Dropping a table would drop the triggers that others have on it.
do $$
declare
    found record;
begin
    for found in
        select tgrelid::regclass as place, tgname from pg_trigger
        where tgrelid in ('claims'::regclass, 'receipts'::regclass) and not tgisinternal
    loop
        raise exception 'table % has the trigger %: drop it, and create it again afterwards',
            found.place, found.tgname;
    end loop;
end
$$;

-- Every claim is inserted as running and updated once before the commit. Pages that are filled to
-- the half only have room for that second version, so that it needs no new index entry.
create table new_claims (
    route text not null,
    event bigint not null,
    state text not null check (state in ('running', 'done', 'retrying', 'dead')),
    attempts integer not null check (attempts >= 0),
    claimed_at timestamptz not null default now(),
    settled_at timestamptz
) with (fillfactor = 50);

create table new_receipts (
    route text not null,
    receipt_id uuid not null,
    event bigint not null,
    outcome text not null
        check (outcome in ('done', 'duplicate', 'conflict', 'retrying', 'dead')),
    key_id text not null,
    instance uuid not null,
    number bigint not null,
    traceparent text,
    received_at timestamptz not null,
    settled_at timestamptz not null default now(),
    other_digest bytea
);

-- A row whose event is not stored has no number, so that it makes the migration fail.
insert into new_claims (route, event, state, attempts, claimed_at, settled_at)
select c.route, e.number, c.state, c.attempts, c.claimed_at, c.settled_at
from claims c left join events e on e.event_id = substring(c.event_id from 1 for 16)
order by e.number, c.route;

insert into new_receipts (route, receipt_id, event, outcome, key_id, instance, number,
                          traceparent, received_at, settled_at, other_digest)
select r.route, r.receipt_id, e.number, r.outcome, r.key_id, r.instance, r.number,
       r.traceparent, r.received_at, r.settled_at, r.other_digest
from receipts r left join events e on e.event_id = substring(r.event_id from 1 for 16)
order by r.receipt_id, r.route;

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
        where pg_class.oid in ('claims'::regclass, 'receipts'::regclass)
          and acl.grantee <> relowner
    loop
        execute format('grant %s on %I to %s%s', given.privilege_type, 'new_' || given.relname,
                       given.grantee, given.option);
    end loop;
end
$$;

drop table claims;
alter table new_claims rename to claims;
alter table claims rename constraint new_claims_state_check to claims_state_check;
alter table claims rename constraint new_claims_attempts_check to claims_attempts_check;
-- For the claim of an event on a route, and for all claims of one event.
alter table claims add primary key (event, route);

drop table receipts;
alter table new_receipts rename to receipts;
alter table receipts rename constraint new_receipts_outcome_check to receipts_outcome_check;
-- For one receipt: a receipt that comes again, and the event of a receipt.
alter table receipts add primary key (route, receipt_id);
-- For the receipts of an event on a route, and for all receipts of one event.
create index receipts_event on receipts (event, route);
-- For the sequence numbers of an ingest that have no receipt, or more than one.
create index receipts_number on receipts (instance, number);
