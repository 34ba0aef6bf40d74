-- Events get a number in the order of their receipt. The id is cut to its first 16 bytes, and only
-- the search for duplicates uses it: ids are random, so an index of ids touches a random page for
-- each insert, while an index of numbers grows at its end. Every other table gets the number in
-- place of the id, in this migration and in the next ones. The bodies get a table of their own, so
-- that the rows of events stay small.
--
-- Two ids whose first 16 bytes are equal make this migration fail at the unique index.

-- A worker that was not stopped could otherwise write to the table after the rows are copied.
lock table events in access exclusive mode;

-- Dropping a table would drop the triggers that others have on it.
do $$
declare
    found record;
begin
    for found in
        select tgrelid::regclass as place, tgname from pg_trigger
        where tgrelid = 'events'::regclass and not tgisinternal
    loop
        raise exception 'table % has the trigger %: drop it, and create it again afterwards',
            found.place, found.tgname;
    end loop;
end
$$;

-- The rows of begini_* refer to events without a foreign key from now on, as all other rows do.
alter table begini_scores drop constraint if exists begini_scores_event_id_fkey;
alter table begini_applications drop constraint if exists begini_applications_event_id_fkey;

create table new_events (
    number bigint not null generated always as identity,
    event_id bytea not null check (octet_length(event_id) = 16),
    source text not null,
    topic text not null,
    content_digest bytea not null check (octet_length(content_digest) = 32),
    received_at timestamptz not null,
    created_at timestamptz not null default now()
);

create table bodies (
    event bigint not null,
    body bytea not null,
    seal text
);

insert into new_events (event_id, source, topic, content_digest, received_at, created_at)
select substring(event_id from 1 for 16), source, topic, content_digest, received_at, created_at
from events
order by received_at, event_id;

-- For duplicates, and for an event that is looked up by its id or a prefix of it.
alter table new_events add constraint new_events_event_id_key unique (event_id);

insert into bodies (event, body, seal)
select new_events.number, events.body, events.seal
from events join new_events on new_events.event_id = substring(events.event_id from 1 for 16);

-- The rights that roles have on the old table are given on the new ones.
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
        where pg_class.oid = 'events'::regclass and acl.grantee <> relowner
    loop
        execute format('grant %s on new_events, bodies to %s%s', given.privilege_type,
                       given.grantee, given.option);
    end loop;
end
$$;

drop table events;
alter table new_events rename to events;
alter table events rename constraint new_events_event_id_key to events_event_id_key;
alter table events rename constraint new_events_event_id_check to events_event_id_check;
alter table events rename constraint new_events_content_digest_check
    to events_content_digest_check;
alter sequence new_events_number_seq rename to events_number_seq;

-- For the rows of other tables, which have the number of their event.
alter table events add primary key (number);
-- For the list of events, and for the names of the newest sources and topics.
create index events_received_at on events (received_at);

-- For the body of one event.
alter table bodies add primary key (event);
