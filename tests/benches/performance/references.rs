//! One Argon2id, by three implementations: what a login cannot cost less than.

use std::process::Command;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use harness::process;

use crate::median;

const HASHES: usize = 20;
/// What production has: KiB, passes, lanes.
const COST: (u32, u32, u32) = (65_536, 3, 4);

/// The CPU time of one hash.
pub struct References {
    /// The crate `argon2`, in the same memory each time.
    pub retained: Duration,
    /// The same, in new memory each time.
    pub fresh: Duration,
    /// The C reference implementation (the program `argon2`), if it is installed.
    pub c: Option<Duration>,
}

pub fn measure() -> References {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(32)).expect("a cost");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (password, salt, mut output) = (b"correct horse battery staple", [7; 16], [0; 32]);

    let mut blocks = vec![Block::default(); argon2.params().block_count()];
    let retained = each(|| {
        let hashed =
            argon2.hash_password_into_with_memory(password, &salt, &mut output, &mut blocks);
        hashed.expect("a hash");
    });
    drop(blocks);
    let fresh = each(|| {
        let hashed = argon2.hash_password_into(password, &salt, &mut output);
        hashed.expect("a hash");
    });
    References {
        retained,
        fresh,
        c: c_reference(),
    }
}

fn each(mut hash: impl FnMut()) -> Duration {
    hash();
    let one = |_| {
        let before = process::cpu_time(std::process::id());
        hash();
        process::cpu_time(std::process::id()) - before
    };
    median((0..HASHES).map(one).collect())
}

/// By a process for each hash, which costs a millisecond more; its lanes are threads, so the CPU time is
/// asked for, as the kernel counts it for children that have ended.
fn c_reference() -> Option<Duration> {
    let (memory, passes, lanes) = COST;
    let before = children_cpu_time();
    let started = Instant::now();
    for _ in 0..HASHES {
        let mut argon2 = Command::new("argon2");
        argon2.arg("0123456789abcdef").arg("-id").arg("-r");
        argon2.args(["-k", &memory.to_string(), "-t", &passes.to_string()]);
        argon2.args(["-p", &lanes.to_string(), "-l", "32"]);
        let mut process = argon2
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .ok()?;
        let mut input = process.stdin.take().expect("an input");
        std::io::Write::write_all(&mut input, b"correct horse battery staple").expect("a pipe");
        drop(input);
        assert!(process.wait().expect("an end").success(), "argon2 fails");
    }
    assert!(started.elapsed() > Duration::from_millis(10 * HASHES as u64));
    Some((children_cpu_time() - before) / HASHES as u32)
}

/// `cutime` and `cstime` of `/proc/self/stat`, in ticks of 10 ms.
fn children_cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<u64> = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse().expect("a number"))
        .collect();
    Duration::from_millis(10 * fields.iter().sum::<u64>())
}
