//! One SQLite file.

use crate::case::{Case, Proof};
use crate::fault::Fault::{LockStore, LongReader};
use crate::power_loss::power_loss;

use crate::pair::FILE;

pub(super) const CASES: &[Case] = &[
    Case {
        number: 68,
        name: "file-killed",
        what: "Killed at each crash point, and the power lost with none, some, all or \
            half of what was not synced left: everything accepted is there, the file is whole.",
        proofs: &[
            Proof::Crashes(&["sqlite."]),
            Proof::Tests {
                package: "hookbox-driver-sqlite",
                filters: &["a_killed_process_loses_nothing_it_confirmed"],
            },
            Proof::Scenario {
                pairs: FILE,
                fast: true,
                run: power_loss,
            },
        ],
    },
    Case {
        number: 69,
        name: "file-shared",
        what: "Several processes on one file: they take turns.",
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
        what: "A reader that does not end: the log grows, and nothing stops.",
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
        what: "An old SQLite is refused.",
        proofs: &[Proof::Tests {
            package: "hookbox-driver-sqlite",
            filters: &["old_libraries_are_refused"],
        }],
    },
];
