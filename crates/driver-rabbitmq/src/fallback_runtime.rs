//! Creates the fallback runtime of lapin's network layer (async-compat) when the driver opens.
//! async-compat creates this runtime once for a process, at the first use outside of any async
//! runtime. In hookbox, that would be on the thread of a connection that has just ended. If the
//! creation fails there, for example for lack of file descriptors, that thread panics, and so does
//! every later one. So hookbox creates the runtime at the start, and not when the first connection
//! is lost.

use std::io;
use std::thread;

use async_compat::Compat;

/// Creates the fallback runtime, unless it exists already.
pub(crate) fn make() -> io::Result<()> {
    thread::scope(|scope| {
        // A new plain thread runs outside of any async runtime, as the thread of an ended
        // connection does.
        let outside = thread::Builder::new().spawn_scoped(scope, || drop(Compat::new(())))?;
        let made = outside.join();
        made.map_err(|_panic| {
            io::Error::other("the runtime of the broker's transport could not be created")
        })
    })
}
