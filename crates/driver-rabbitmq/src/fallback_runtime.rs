//! Creates the fallback runtime of lapin's transport (async-compat) early. The transport creates
//! this runtime when it is used outside of any other, on the thread of a connection that has ended.
//! It is created once for a process. If the creation fails, for example for lack of file
//! descriptors, that thread panics, and so does every later one. So hookbox creates it at the
//! start, and not when the first connection is lost.

use std::io;
use std::thread;

use async_compat::Compat;

/// Creates the runtime, unless it exists.
pub(crate) fn make() -> io::Result<()> {
    thread::scope(|scope| {
        // No async runtime is current on a new plain thread, as on the thread of a connection.
        let outside = thread::Builder::new().spawn_scoped(scope, || drop(Compat::new(())))?;
        let made = outside.join();
        made.map_err(|_panic| {
            io::Error::other("the runtime of the broker's transport could not be created")
        })
    })
}
