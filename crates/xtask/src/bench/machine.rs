//! What the figures were measured on.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::repository;

/// Cores, memory, kernel and versions; what a system does not tell is null.
pub(super) fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "date": said("date", &["-u", "+%F"]),
        "cores": cores,
        "processor": field("/proc/cpuinfo", "model name"),
        "memory_mib": kib("/proc/meminfo", "MemTotal").map(|kib| kib / 1024),
        "kernel": said("uname", &["-sr"]),
        "file_system": said("stat", &["-f", "-c", "%T", &temporary()]),
        "load": fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|text| text.split_whitespace().next().map(str::to_owned)),
        "rustc": said("rustc", &["--version"]),
        // With `-dirty` when the tree is not what was committed.
        "commit": said("git", &["describe", "--always", "--dirty", "--exclude", "*"]),
    })
}

/// The most memory that a process has had so far (`VmHWM`).
pub(super) fn peak_memory_kib(process: u32) -> Option<u64> {
    kib(&format!("/proc/{process}/status"), "VmHWM")
}

fn temporary() -> String {
    std::env::temp_dir().to_string_lossy().into_owned()
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command
        .current_dir(repository::root())
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    value(&text, name).map(str::to_owned)
}

fn kib(file: &str, name: &str) -> Option<u64> {
    field(file, name)?.strip_suffix(" kB")?.parse().ok()
}

/// The value of the first line `name: value`.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let text = "VmPeak:\t  9 kB\nVmHWM:\t   1234 kB\nmodel name\t: A: B\n";
        assert_eq!(value(text, "VmHWM"), Some("1234 kB"));
        assert_eq!(value(text, "model name"), Some("A: B"));
        assert_eq!(value(text, "VmRSS"), None);
    }
}
