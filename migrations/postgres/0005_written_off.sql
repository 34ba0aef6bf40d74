-- Receipts that were answered 200, are nowhere, and were written off by a person who knows it
-- (docs/ACCOUNTING.md). The books count them, so that the next loss is seen for what it is.
create table written_off (
    route text not null,
    receipt_id uuid not null,
    instance uuid not null,
    number bigint not null,
    why text not null,
    written_off_by text not null,
    written_off_at timestamptz not null default now(),
    primary key (route, receipt_id)
);
