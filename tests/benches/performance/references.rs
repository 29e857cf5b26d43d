//! Measures one Argon2id hash with three implementations: the lower bound for a login.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use harness::process;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::median;

/// Production's cost: KiB, passes, lanes.
const COST: (u32, u32, u32) = (65_536, 3, 4);

/// The CPU time of one hash.
#[derive(Clone, Copy)]
pub struct References {
    /// The crate `argon2`, reusing the same memory.
    pub retained: Duration,
    /// The crate `argon2`, with new memory each time.
    pub fresh: Duration,
    /// The C reference implementation (the program `argon2`), if it is installed.
    pub c: Option<Duration>,
}

/// Bare hashes, without a function around them.
pub struct Bare {
    argon2: Argon2<'static>,
    blocks: Vec<Block>,
    /// One thread, as in the functions.
    thread: ThreadPool,
    retained: Vec<Duration>,
    fresh: Vec<Duration>,
    c: Vec<Duration>,
}

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &str = "0123456789abcdef";

impl Bare {
    pub fn new() -> Self {
        let (memory, passes, lanes) = COST;
        let params = Params::new(memory, passes, lanes, Some(32)).expect("a cost");
        let thread = ThreadPoolBuilder::new().num_threads(1).build();
        let mut bare = Self {
            thread: thread.expect("a thread"),
            blocks: vec![Block::default(); params.block_count()],
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            retained: Vec::new(),
            fresh: Vec::new(),
            c: Vec::new(),
        };
        bare.hash_retained(); // touches the memory once before measuring
        bare
    }

    /// Hashes once with each implementation.
    pub fn hash(&mut self) {
        let retained = self.hash_retained();
        self.retained.push(retained);
        let argon2 = &self.argon2;
        let fresh = cpu_time_of(&self.thread, || {
            argon2.hash_password_into(PASSWORD, SALT.as_bytes(), &mut [0; 32])
        });
        self.fresh.push(fresh);
        self.c.extend(c_reference());
    }

    fn hash_retained(&mut self) -> Duration {
        let (argon2, blocks) = (&self.argon2, &mut self.blocks);
        cpu_time_of(&self.thread, || {
            argon2.hash_password_into_with_memory(PASSWORD, SALT.as_bytes(), &mut [0; 32], blocks)
        })
    }

    pub fn measured(self) -> References {
        References {
            retained: median(self.retained),
            fresh: median(self.fresh),
            // Counted in ticks of 10 ms, so a mean is more precise than a median.
            c: u32::try_from(self.c.len())
                .ok()
                .filter(|count| *count > 0)
                .map(|count| self.c.iter().sum::<Duration>() / count),
        }
    }
}

fn cpu_time_of(
    thread: &ThreadPool,
    hash: impl FnOnce() -> Result<(), argon2::Error> + Send,
) -> Duration {
    thread.install(|| {
        let before = process::thread_cpu_time();
        hash().expect("a hash");
        process::thread_cpu_time() - before
    })
}

/// Hashes in a separate process, which costs a millisecond more. Its lanes are threads, so the CPU time is what the
/// kernel counts for ended children.
fn c_reference() -> Option<Duration> {
    let (memory, passes, lanes) = COST;
    let before = children_cpu_time();
    let mut argon2 = Command::new("argon2");
    argon2.arg(SALT).arg("-id").arg("-r");
    argon2.args(["-k", &memory.to_string(), "-t", &passes.to_string()]);
    argon2.args(["-p", &lanes.to_string(), "-l", "32"]);
    let mut process = argon2
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = process.stdin.take().expect("an input");
    input.write_all(PASSWORD).expect("a pipe");
    drop(input);
    assert!(process.wait().expect("an end").success(), "argon2 fails");
    Some(children_cpu_time() - before)
}

/// Returns the CPU time of ended children: `cutime` and `cstime` of `/proc/self/stat`, in ticks of 10 ms.
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
