-- Routes that apply only the newest event of each key (`newest` in docs/CONFIG.md). An event that is
-- older than one of its key that is done is stale: its handler does not run.
alter table claims
    drop constraint claims_state_check,
    add constraint claims_state_check
        check (state in ('running', 'done', 'retrying', 'dead', 'stale'));
alter table receipts
    drop constraint receipts_outcome_check,
    add constraint receipts_outcome_check
        check (outcome in ('done', 'duplicate', 'conflict', 'retrying', 'dead', 'stale'));
alter table ends
    drop constraint ends_outcome_check,
    add constraint ends_outcome_check
        check (outcome in ('done', 'dead', 'discarded', 'stale'));

-- The newest version of each key that is done on a route. Pages have free space, so that a version
-- which rises needs no new index entry.
create table newest (
    route text not null,
    -- A digest of the values that are the key, and of the rule by which they were found.
    key bytea not null check (octet_length(key) = 16),
    -- The version as it was written, a time in UTC. Null: no event of the key is done yet, and an
    -- attempt on one has held the key.
    version text,
    -- The event of that version, and when it was done.
    event bigint,
    done_at timestamptz,
    -- The event for which an external call is in flight, and until when at most.
    calling bigint,
    calling_until timestamptz,
    check ((version is null) = (event is null)),
    check ((version is null) = (done_at is null)),
    check ((calling is null) = (calling_until is null))
) with (fillfactor = 80);
-- For the versions of the keys in a batch, when they are compared and when they rise.
alter table newest add primary key (route, key);

-- A role that may write retries is a worker's. It keeps the witness, too, whose tables have no rights
-- of a role yet, because migration 7 gave none.
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
        execute format('grant %s on newest to %s%s', given.privilege_type, given.grantee,
                       given.option);
        if given.privilege_type in ('SELECT', 'UPDATE') then
            execute format('grant %s on witness to %s%s', given.privilege_type, given.grantee,
                           given.option);
        end if;
        if given.privilege_type = 'SELECT' then
            execute format('grant select on incarnations to %s%s', given.grantee, given.option);
        end if;
    end loop;
end
$$;
