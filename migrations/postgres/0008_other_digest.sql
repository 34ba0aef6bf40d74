-- What the body of this very receipt says, where its event is stored with another body and the
-- source's config lets the id decide (`on_conflict = "duplicate"`). A version that does not know
-- the column leaves it empty.
alter table receipts add column other_digest bytea;
