-- What ingests say they have answered 200 (docs/ACCOUNTING.md). A message tells of a range of one
-- instance's numbers; a range that follows another becomes one row with it, so an instance that
-- told of everything has one row, from 1. More rows are gaps.
create table accounts (
    instance blob not null check (length(instance) = 16),
    first integer not null check (first >= 1),
    last integer not null check (last >= first - 1),
    closing integer not null check (closing in (0, 1)),
    told_at integer not null,
    primary key (instance, first)
) strict, without rowid;

-- How many receipts were told of, for each route.
create table accepted (
    route text not null primary key,
    receipts integer not null check (receipts >= 0)
) strict, without rowid;

-- Receipts that were told of and had no outcome then: few, and for a short time, unless they are
-- lost.
create table open_receipts (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    told_at integer not null,
    primary key (receipt_id, route)
) strict, without rowid;
