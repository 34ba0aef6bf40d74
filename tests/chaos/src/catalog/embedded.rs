//! The fault cases of one SQLite file that is both broker and store.

use crate::case::{Case, Proof};
use crate::fault::Fault::{LockStore, LongReader};
use crate::power_loss::power_loss;

use crate::pair::FILE;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 68,
        name: "file-killed",
        what: "A process is killed at each crash point, or the power fails while none, some, half \
               or all of the writes since the last sync have reached the disk: every event that \
               was answered 200 is in the file, and the file is not corrupt.",
        proofs: &[
            Proof::Crashes(&["sqlite."]),
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["a_killed_process_loses_nothing_it_confirmed"],
            },
            Proof::Scenario {
                pairs: FILE,
                fast: true,
                is_parallel: false,
                run: power_loss,
            },
        ],
    },
    Case {
        number: 69,
        name: "file-shared",
        what: "Several processes use one file: each waits while another one holds the file's lock, \
            and all make progress.",
        proofs: &[
            Proof::Faults {
                pairs: FILE,
                fast: true,
                faults: &[LockStore(3_000), LockStore(6_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["two_consumers_share_a_queue_without_a_message_twice"],
            },
        ],
    },
    Case {
        number: 70,
        name: "file-long-reader",
        what: "A reader holds an old snapshot of the file: the write-ahead log grows, and \
            processing continues.",
        proofs: &[
            Proof::Faults {
                pairs: FILE,
                fast: true,
                faults: &[LongReader(8_000)],
            },
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["a_long_reader_lets_the_log_grow_and_the_log_shrinks_after_it"],
            },
            Proof::Tests {
                package: "hookbox-tests",
                filters: &["a_log_that_fills_the_disk_is_written_back_when_its_reader_ends"],
            },
        ],
    },
    Case {
        number: 71,
        name: "file-old-library",
        what: "The SQLite library is too old: hookbox refuses to use it.",
        proofs: &[Proof::Tests {
            package: "hookbox-driver-sqlite",
            filters: &["old_libraries_are_refused"],
        }],
    },
];
