//! What a process has used, from `/proc`.

use std::fs;
use std::time::Duration;

/// The CPU time of all its threads so far, from `schedstat` (nanoseconds).
pub fn cpu_time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let nanoseconds = threads.filter_map(|thread| {
        let file = thread.ok()?.path().join("schedstat");
        first_number(&fs::read_to_string(file).ok()?) // a thread may just have ended
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The bytes that it has in memory.
pub fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(first_number).expect("a figure in kB");
    kibibytes * 1024
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
