//! Describes the machine on which the figures were measured.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;
use serde_json::{Value, json};

use crate::repository;

/// How long the bench waits before its start, to measure how much other work the machine does.
const LISTEN: Duration = Duration::from_secs(3);

/// In `/proc`, Linux counts the time of processes in hundredths of a second on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the cores, the memory, the kernel and the versions. A value that the system does not
/// report is null.
pub(crate) fn describe(is_quick: bool) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "date": said("date", &["-u", "+%F"]),
        "cores": cores,
        "processor": field("/proc/cpuinfo", "model name"),
        "memory_mib": kib("/proc/meminfo", "MemTotal").map(|kib| kib / 1024),
        "kernel": said("uname", &["-sr"]),
        "file_system": said("stat", &["-f", "-c", "%T", &temporary()]),
        "other_work_percent": if is_quick { None } else { other_work() },
        "rustc": said("rustc", &["--version"]),
        // The commit gets the suffix `-dirty` if the tree has uncommitted changes.
        "commit": said("git", &["describe", "--always", "--dirty", "--exclude", "*"]),
    })
}

/// Returns the most memory that a process has used so far (`VmHWM`), in MiB.
pub(crate) fn peak_memory(process: u32) -> Option<f64> {
    let kib = kib(&format!("/proc/{process}/status"), "VmHWM")?;
    Some(kib as f64 / 1024.0)
}

/// Returns the processor time that a process has used so far, in seconds.
pub(crate) fn processor_time(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(ticks_of_process(&stat)? as f64 / TICKS_PER_SECOND)
}

/// Returns for how many ticks a process ran, both in its own code and in the kernel.
fn ticks_of_process(stat: &str) -> Option<u64> {
    // The second field, the name of the program in parentheses, may contain spaces and parentheses
    // itself. So the third field begins after the last parenthesis. The ticks are the fields 14 and
    // 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

/// Returns the percentage of all cores that is busy while the bench waits. This is the work of
/// other programs, which makes the figures too low.
fn other_work() -> Option<f64> {
    let before = fs::read_to_string("/proc/stat").ok()?;
    wait_until(LISTEN, || false);
    let after = fs::read_to_string("/proc/stat").ok()?;
    let ((busy, all), (busy_before, all_before)) = (ticks(&after)?, ticks(&before)?);
    let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
    Some((busy.saturating_sub(busy_before) * 100) as f64 / all as f64)
}

/// Returns the ticks in which cores were busy, and all ticks. Stolen ticks, which another virtual
/// machine used, count as busy.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let words = stat.lines().next()?.strip_prefix("cpu ")?;
    // The fields are user, nice, system, idle, iowait, irq, softirq and steal; `user` already
    // includes guests.
    let ticks = words
        .split_whitespace()
        .take(8)
        .map(|word| word.parse().ok());
    let ticks: Vec<u64> = ticks.collect::<Option<_>>()?;
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all: u64 = ticks.iter().sum();
    Some((all - idle, all))
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

/// Returns the value of the first line `name: value`.
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
        let stat = "cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 1 1\n";
        assert_eq!(ticks(stat), Some((16, 100)));
        assert_eq!(ticks("intr 1"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0\n";
        assert_eq!(ticks_of_process(stat), Some(300));
        assert_eq!(ticks_of_process("7 (a) S 1"), None);
    }
}
