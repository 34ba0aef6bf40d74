//! Switches off core dumps, because a core dump would write keys, passwords and bodies to a disk.

use rustix::io::Result;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Switches core dumps off for this process and its children, irrevocably. The size limit of core
/// files becomes zero. The process also becomes not dumpable: no other process of this user may
/// read its memory (`ptrace`), and no core dump is written even by systems that ignore the limit
/// and pipe core dumps to a program.
pub fn switch_off() -> Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    /// The environment variable that marks the child process of the test.
    const CHILD: &str = "HOOKBOX_TEST_CORE_DUMPS_CHILD";

    /// This test switches core dumps off in a child process, because a process cannot switch them
    /// on again.
    #[test]
    fn they_are_off_for_good() {
        let is_off = || {
            let limit = getrlimit(Resource::Core);
            let dumpable = dumpable_behavior()
                .expect("reading the dumpable attribute of the process must succeed");
            limit.current == Some(0)
                && limit.maximum == Some(0)
                && matches!(dumpable, DumpableBehavior::NotDumpable)
        };
        if std::env::var_os(CHILD).is_some() {
            assert!(
                !is_off(),
                "core dumps must be on before they are switched off"
            );
            switch_off().expect("switching core dumps off must succeed");
            assert!(is_off());
            return;
        }
        let child =
            Command::new(std::env::current_exe().expect("the path of this test must be known"))
                .args(["--exact", "core_dumps::tests::they_are_off_for_good"])
                .env(CHILD, "1")
                .output()
                .expect("starting the child process must succeed");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }
}
