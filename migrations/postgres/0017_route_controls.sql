-- What operators have set for routes while workers run (docs/OPERATING.md). A route without a row runs
-- as the config says. The row of the route '*' applies to all routes; it holds a pause and no limits.
create table route_controls (
    route text primary key,
    -- The pause: since when, by which operator and why. All three are null while the route runs.
    paused_at timestamptz,
    paused_by text,
    paused_why text,
    -- When the last pause ended.
    resumed_at timestamptz,
    -- The limits of each worker process. Null: no limit beside that of the config.
    events_per_1000_s bigint check (events_per_1000_s > 0),
    concurrency integer check (concurrency > 0),
    check ((paused_at is null) = (paused_by is null)),
    check ((paused_at is null) = (paused_why is null))
);

-- A role that may read retries is a service's.
do $$
declare
    given record;
begin
    for given in
        select case acl.grantee when 0 then 'public'
                    else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee,
               case when acl.is_grantable then ' with grant option' else '' end as option
        from pg_class, aclexplode(relacl) as acl
        where pg_class.oid = 'retries'::regclass and acl.grantee <> relowner
          and acl.privilege_type = 'SELECT'
    loop
        execute format('grant select on route_controls to %s%s', given.grantee, given.option);
    end loop;
end
$$;
