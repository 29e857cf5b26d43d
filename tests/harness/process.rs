//! The resources that a process has used.

use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

/// Returns the CPU time of all threads of a process so far, including those that have ended.
pub fn cpu_time(process: u32) -> Duration {
    let process = Pid::from_raw(process.try_into().expect("a process"));
    now(ClockId::pid_cpu_clock_id(process).expect("a process"))
}

/// Returns the CPU time of the calling thread so far.
pub fn thread_cpu_time() -> Duration {
    now(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn now(clock: ClockId) -> Duration {
    clock.now().expect("a clock").into()
}

/// Returns the resident memory of a process in bytes.
pub fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes
        .expect("a figure in kB")
        .parse()
        .expect("a number");
    kibibytes * 1024
}
