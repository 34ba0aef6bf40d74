-- The tables of this service, in a schema of their own: hookbox never reads or changes it.
create schema own_service;

create table own_service.migrations (
    number integer primary key,
    applied_at timestamptz not null default now()
);

insert into own_service.migrations (number) values (1);

create table own_service.receipts (
    event bigint primary key,
    invoice text not null,
    cents bigint not null,
    currency text not null
);
