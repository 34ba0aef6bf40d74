//! The runtime that lapin's transport (async-compat) makes for itself where it is used outside of
//! any: on the thread of a connection that has ended. It is made once for a process; where that
//! fails, as for want of file descriptors, that thread panics, and so does every later one. So it
//! is made at the start, while there is room, and not when the first connection is lost.

use std::io;
use std::thread;

use async_compat::Compat;

/// Makes it, unless it exists.
pub(crate) fn make() -> io::Result<()> {
    thread::scope(|scope| {
        // On a plain thread of its own no async runtime is current, like on a connection's thread.
        let outside = thread::Builder::new().spawn_scoped(scope, || drop(Compat::new(())))?;
        let made = outside.join();
        made.map_err(|_panic| io::Error::other("its transport has no runtime"))
    })
}
