-- From this version on, the claim of a first attempt is inserted as done, and the receipt that ends it
-- is written after the handlers in the same transaction. So a claim is written once, and not twice as
-- migration 12 says, and needs no free space beside it. A claim that is done without such a receipt
-- was committed by a handler. `running` is the state of a retry in the transaction that claimed it,
-- and stays only where a handler has committed that transaction.
alter table claims reset (fillfactor);

-- The number of the first event whose receipts are all stored. Receipts of events with lower numbers
-- may be dropped one day, and the claims of these events count without a receipt. What drops
-- receipts raises this number in the same transaction.
insert into meta (key, value) values ('receipts_kept_from', '0');
