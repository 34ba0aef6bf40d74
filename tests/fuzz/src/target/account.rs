//! The target `account`: decodes accept reports.

use hookbox_event::Account;

use super::{Target, class};

pub struct Accounts;

impl Target for Accounts {
    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"HKBA",
            b"\"accepted\":[]",
            b"\"closing\":true",
            b"\"first\":1",
            b"\"last\":0",
            b"\"receipts\":[]",
            b"\"routes\":[\"scores\"]",
            b"18446744073709551615",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let account = match Account::decode(input) {
            Ok(account) => account,
            Err(error) => return Ok(class(error.to_string())),
        };
        if Account::decode(&account.encode()).as_ref() != Ok(&account) {
            return Err("the report changes when it is encoded and decoded again".to_owned());
        }
        // The arithmetic on the sequence numbers of the report must not overflow.
        let receipts: usize = account.accepted.iter().map(|it| it.receipts.len()).sum();
        let span = account.last.checked_sub(account.first.saturating_sub(1));
        if span.is_none_or(|span| (receipts as u64) > span) {
            return Err("the report has more receipts than sequence numbers".to_owned());
        }
        Ok(class((
            account.accepted.len().min(4),
            account.closing,
            receipts.min(4),
        )))
    }
}
