//! The error of a broker or store that cannot be reached, or whose answer is lost.

use hookbox_driver::{Fault as OurFault, FaultKind};

pub(crate) fn unavailable(doing: &str) -> OurFault {
    OurFault::plain(FaultKind::Unavailable, doing)
}
