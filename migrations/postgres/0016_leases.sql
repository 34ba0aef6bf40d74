-- External calls: an event is leased by the transaction that claims it, and the call is made after
-- the commit. The number of an event's leases on a route, which only grows.
alter table claims add column epoch integer;

-- Of a leased event: the target of its call, and when the lease began. The lease ends at
-- `not_before`. Of the attempt `leased_attempt`: how many of its leases have no outcome yet. A
-- version that does not know these columns leaves them as they are when it records an attempt. The
-- row then waits for another attempt than `leased_attempt`, so that it is no lease any more.
alter table retries
    add column target text,
    add column leased_at timestamptz,
    add column leased_attempt integer,
    add column leases integer;

-- For the calls that are in flight to a target.
create index retries_target on retries (target, not_before) where target is not null;

-- What all workers know of the targets of external calls.
create table targets (
    name text primary key,
    -- Calls in a row that met a fault of the target, and the event of the last of them.
    faults integer not null default 0 check (faults >= 0),
    last_fault bigint,
    -- How often the breaker was opened since it was closed, and until when it is open.
    openings integer not null default 0 check (openings >= 0),
    open_until timestamptz,
    -- Until when the target asked for a pause.
    wait_until timestamptz,
    -- Up to when the rate is used.
    rate_until timestamptz,
    -- Why the last call that did not reach the target failed, or how the target asked for a pause;
    -- and when. They are kept when the target answers again.
    last_error text,
    last_error_at timestamptz
);

-- A role that may write retries is a worker's.
do $$
declare
    given record;
begin
    for given in
        select acl.privilege_type,
               case acl.grantee when 0 then 'public'
                    else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee,
               case when acl.is_grantable then ' with grant option' else '' end as option
        from pg_class, aclexplode(relacl) as acl
        where pg_class.oid = 'retries'::regclass and acl.grantee <> relowner
          and acl.privilege_type in ('SELECT', 'INSERT', 'UPDATE')
    loop
        execute format('grant %s on targets to %s%s', given.privilege_type, given.grantee,
                       given.option);
    end loop;
end
$$;

-- The status of an HTTP answer ("answered 404") belongs to the cause of a dead letter, so the letters
-- with one are grouped again.
update dead_letters set grouped_at = null where detail like '%answered %';
