-- Receipts that were answered 200, are nowhere, and were written off by a person who knows it
-- (docs/ACCOUNTING.md). The books count them, so that the next loss is seen for what it is.
create table written_off (
    receipt_id blob not null check (length(receipt_id) = 16),
    route text not null,
    instance blob not null check (length(instance) = 16),
    number integer not null,
    why text not null,
    written_off_by text not null,
    written_off_at integer not null,
    primary key (receipt_id, route)
) strict, without rowid;
