-- What ingests say they have answered 200 (docs/ACCOUNTING.md). A message tells of a range of one
-- instance's numbers; a range that follows another becomes one row with it, so an instance that
-- told of everything has one row, from 1. More rows are gaps.
create table accounts (
    instance uuid not null,
    first bigint not null check (first >= 1),
    last bigint not null check (last >= first - 1),
    closing boolean not null,
    told_at timestamptz not null default now(),
    primary key (instance, first)
);

-- How many receipts were told of, for each route.
create table accepted (
    route text primary key,
    receipts bigint not null check (receipts >= 0)
);

-- Receipts that were told of and had no outcome then: few, and for a short time, unless they are
-- lost.
create table open_receipts (
    route text not null,
    receipt_id uuid not null,
    instance uuid not null,
    number bigint not null,
    told_at timestamptz not null default now(),
    primary key (route, receipt_id)
);
