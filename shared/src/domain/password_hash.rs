//! Password hashes: Argon2id as PHC strings. bcrypt and other Argon2 hashes are verified, and then due for replacement
//! (OWASP Password Storage Cheat Sheet).

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use argon2::password_hash::phc::{self, Output, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::password::Password;

const HASH_LENGTH: usize = 32;
/// The maximum work of a stored hash: KiB times passes, four times the default. An imported hash must not determine how
/// long a login takes and how much memory it needs.
const MAX_WORK: u64 = 4 * 3 * 65_536;
/// The maximum bcrypt cost (exponent of its rounds): about a second.
const MAX_BCRYPT_COST: u32 = 14;
/// The number of bytes of a password that bcrypt uses.
const BCRYPT_LENGTH: usize = 72;

/// The only stored form of a password: a PHC string, or an imported bcrypt hash (`$2b$…`).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Restores a hash from its stored form.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// The cost of hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The memory of one hash in KiB.
    pub memory_kib: u32,
    /// The number of passes over the memory.
    pub iterations: u32,
    /// The number of lanes.
    pub parallelism: u32,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The password is wrong.
    Mismatch,
    /// The password is right.
    Match,
    /// The password is right, but hashed in an older way: hash it again and replace the stored hash.
    MatchOutdated,
}

/// A stored hash of an unsupported kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownHash;

/// Hashes passwords, with several lanes in parallel if there are several processors. Keeps its memory from one hash to
/// the next, as newly allocated memory causes page faults.
pub struct PasswordHasher {
    cost: Cost,
    argon2: Argon2<'static>,
    memory: Mutex<Memory>,
    processors: usize,
    threads: OnceLock<ThreadPool>,
}

/// The memory of a hash, reused by the next one.
type Memory = Vec<Block>;

impl PasswordHasher {
    /// Creates a hasher of this cost for this many processors.
    ///
    /// # Panics
    /// If Argon2 does not support the cost (RFC 9106, 3.1); the configuration admits no such cost.
    #[expect(clippy::expect_used, reason = "said in `Panics`")]
    pub fn new(cost: Cost, processors: usize) -> Self {
        Self {
            cost,
            argon2: argon2id(cost).expect("a cost that Argon2 can have"),
            memory: Mutex::default(),
            processors,
            threads: OnceLock::new(),
        }
    }

    /// Allocates the memory and starts the threads now, so that the first hash does not have to.
    pub fn prepare(&self) {
        let needed = self.argon2.params().block_count();
        self.memory().resize(needed, Block::default());
        self.threads();
    }

    /// Returns the cost of the hashes.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Hashes a password with the configured cost and a salt of its own.
    #[expect(
        clippy::expect_used,
        reason = "all inputs are of this function's making"
    )]
    pub fn hash(&self, password: &Password, salt: [u8; 16]) -> PasswordHash {
        let mut output = [0; HASH_LENGTH];
        self.fill(&self.argon2, password, &salt, &mut output)
            .expect("the cost and the lengths are valid");
        self.phc_string(&salt, &output)
    }

    /// Returns a hash that no password has. It is verified if there is no stored hash, so that the answer takes the
    /// same time. Made of random bytes, so creating it costs nothing.
    pub fn decoy(&self, random: [u8; HASH_LENGTH]) -> PasswordHash {
        let (salt, _) = random.split_at(16);
        self.phc_string(salt, &random)
    }

    /// Compares in constant time.
    ///
    /// # Errors
    /// [`UnknownHash`] if the stored text is not of a supported kind, or costs too much.
    pub fn verify(
        &self,
        password: &Password,
        stored: &PasswordHash,
    ) -> Result<Verification, UnknownHash> {
        if stored.0.starts_with("$2") {
            let cost = stored
                .0
                .split('$')
                .nth(2)
                .and_then(|cost| cost.parse().ok());
            if cost.is_none_or(|cost: u32| cost > MAX_BCRYPT_COST) {
                return Err(UnknownHash);
            }
            let matches =
                bcrypt::verify(password.as_bytes(), &stored.0).map_err(|_| UnknownHash)?;
            // bcrypt compared only 72 bytes: the rest may be mistyped, and must not become part of the stored password.
            let is_whole = password.as_bytes().len() <= BCRYPT_LENGTH;
            return Ok(match (matches, is_whole) {
                (false, _) => Verification::Mismatch,
                (true, true) => Verification::MatchOutdated,
                (true, false) => Verification::Match,
            });
        }
        let parsed = phc::PasswordHash::new(&stored.0).map_err(|_| UnknownHash)?;
        let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| UnknownHash)?;
        let version = match parsed.version {
            Some(version) => Version::try_from(version).map_err(|_| UnknownHash)?,
            None => Version::V0x10, // a PHC string without `v=` has the version before `v=` existed
        };
        let params = Params::try_from(&parsed).map_err(|_| UnknownHash)?;
        if work(cost_of(&params)) > MAX_WORK.max(work(self.cost)) {
            return Err(UnknownHash);
        }
        let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else {
            return Err(UnknownHash);
        };

        let argon2 = Argon2::new(algorithm, version, params);
        let mut output = vec![0; expected.len()];
        self.fill(&argon2, password, salt.as_ref(), &mut output)
            .map_err(|_| UnknownHash)?;
        if verify_slices_are_equal(&output, expected.as_bytes()).is_err() {
            return Ok(Verification::Mismatch);
        }
        let is_current = algorithm == Algorithm::Argon2id
            && version == Version::V0x13
            && cost_of(argon2.params()) == self.cost
            && expected.len() == HASH_LENGTH;
        Ok(if is_current {
            Verification::Match
        } else {
            Verification::MatchOutdated
        })
    }

    /// Returns the threads, started by the first hash: idle threads look for work, which would slow down a starting
    /// environment.
    #[expect(
        clippy::expect_used,
        reason = "without threads no password can be hashed"
    )]
    fn threads(&self) -> &ThreadPool {
        self.threads.get_or_init(|| {
            let threads = ThreadPoolBuilder::new()
                .num_threads(self.processors)
                .build();
            threads.expect("the system gives threads")
        })
    }

    /// Locks the memory. Poisoning is ignored: a panic while hashing leaves nothing in the memory that the next hash
    /// would read.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes the hash in the memory that is kept.
    fn fill(
        &self,
        argon2: &Argon2<'_>,
        password: &Password,
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), argon2::Error> {
        let mut memory = self.memory();
        let needed = argon2.params().block_count();
        if memory.len() < needed {
            memory.clear(); // saves copying worthless contents
            memory.resize(needed, Block::default());
        }
        let blocks = &mut memory[..needed];
        let password = password.as_bytes();
        self.threads()
            .install(|| argon2.hash_password_into_with_memory(password, salt, output, blocks))
    }

    #[expect(
        clippy::expect_used,
        reason = "the lengths are constants within the limits of PHC strings"
    )]
    fn phc_string(&self, salt: &[u8], output: &[u8]) -> PasswordHash {
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: self.argon2.params().try_into().expect("parameters fit"),
            salt: Some(Salt::new(salt).expect("16 bytes are a salt")),
            hash: Some(Output::new(output).expect("32 bytes are a hash")),
        };
        PasswordHash(hash.to_string())
    }
}

fn argon2id(cost: Cost) -> Result<Argon2<'static>, argon2::Error> {
    let params = Params::new(
        cost.memory_kib,
        cost.iterations,
        cost.parallelism,
        Some(HASH_LENGTH),
    )?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn work(cost: Cost) -> u64 {
    u64::from(cost.memory_kib) * u64::from(cost.iterations)
}

fn cost_of(params: &Params) -> Cost {
    Cost {
        memory_kib: params.m_cost(),
        iterations: params.t_cost(),
        parallelism: params.p_cost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordVerifier;

    use crate::domain::rule::Parse;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        iterations: 1,
        parallelism: 2,
    };

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[test]
    fn a_hash_is_what_the_crate_itself_verifies() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        let hash = hasher.hash(&password("Abcdef1x"), [7; 16]);

        assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=2$"));
        let parsed = phc::PasswordHash::new(hash.as_str()).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"Abcdef1x", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"Abcdef1y", &parsed)
                .is_err()
        );
    }

    #[test]
    fn only_the_same_password_matches_also_in_used_memory() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        let hash = hasher.hash(&password("Abcdef1x"), [7; 16]);

        for other in ["abcdef1x", "Abcdef1", "Abcdef1x ", "Abcdef1xx"] {
            assert_eq!(
                hasher.verify(&password(other), &hash),
                Ok(Verification::Mismatch)
            );
        }
        assert_eq!(
            hasher.verify(&password("Abcdef1x"), &hash),
            Ok(Verification::Match)
        );
    }

    /// An imported hash must not determine how long a login takes.
    #[test]
    fn a_stored_hash_that_costs_too_much_is_none() {
        let hasher = PasswordHasher::new(CHEAP, 1);
        let cheap = bcrypt::hash("Abcdef1x", 4).unwrap();
        let bcrypt = |cost| cheap.replacen("$04$", &format!("${cost}$"), 1);
        let started = std::time::Instant::now();
        for stored in [
            "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=64,t=100000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2i$v=19$m=786433,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            &bcrypt("15"),
            &bcrypt("31"),
            &bcrypt("x"),
        ] {
            let stored = PasswordHash::from_stored(stored.to_owned());
            let verified = hasher.verify(&password("Abcdef1x"), &stored);
            assert_eq!(verified, Err(UnknownHash), "{}", stored.as_str());
        }
        assert!(started.elapsed().as_millis() < 500, "nothing was hashed");
        let default = Cost {
            memory_kib: 65_536,
            iterations: 3,
            parallelism: 4,
        };
        assert_eq!(MAX_WORK, 4 * work(default));
    }

    #[test]
    fn a_hash_is_not_in_the_log() {
        let hash = PasswordHasher::new(CHEAP, 1).hash(&password("Abcdef1x"), [7; 16]);

        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
    }

    #[test]
    fn hashes_of_another_cost_or_kind_match_and_are_outdated() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        let larger = Cost {
            memory_kib: 128,
            ..CHEAP
        };
        let larger = PasswordHasher::new(larger, 1);
        let bcrypt = PasswordHash::from_stored(bcrypt::hash("Abcdef1x", 4).unwrap());
        let argon2i = Argon2::new(
            Algorithm::Argon2i,
            Version::V0x13,
            Params::new(64, 2, 1, None).unwrap(),
        );
        let mut output = [0; 32];
        argon2i
            .hash_password_into(b"Abcdef1x", &[1; 16], &mut output)
            .unwrap();
        let argon2i = PasswordHash::from_stored(format!(
            "$argon2i$v=19$m=64,t=2,p=1${}${}",
            Salt::new(&[1; 16]).unwrap(),
            Output::new(&output).unwrap()
        ));

        for old in [larger.hash(&password("Abcdef1x"), [7; 16]), bcrypt, argon2i] {
            assert_eq!(
                hasher.verify(&password("Abcdef1x"), &old),
                Ok(Verification::MatchOutdated),
                "{}",
                old.as_str()
            );
            assert_eq!(
                hasher.verify(&password("Abcdef1y"), &old),
                Ok(Verification::Mismatch)
            );
        }
    }

    #[test]
    fn what_bcrypt_did_not_compare_does_not_become_the_password() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        let long = "Abcdef1x".repeat(10);
        let stored = PasswordHash::from_stored(bcrypt::hash(&long[..72], 4).unwrap());

        let verification = hasher.verify(&password(&long), &stored);

        assert_eq!(verification, Ok(Verification::Match));
    }

    #[test]
    fn what_is_no_hash_is_an_error_not_a_mismatch() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        for stored in [
            "",
            "plain",
            "$2b$",
            "$argon2id$v=19$m=64,t=1,p=2",
            "$md5$x$y",
            "$argon2id$v=19$m=64,t=1,p=1$c2Fs$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=99$m=64,t=1,p=2$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let stored = PasswordHash::from_stored(stored.to_owned());
            assert_eq!(
                hasher.verify(&password("Abcdef1x"), &stored),
                Err(UnknownHash),
                "{}",
                stored.as_str()
            );
        }
    }

    #[test]
    fn the_stand_in_has_the_configured_cost_and_matches_nothing() {
        let hasher = PasswordHasher::new(CHEAP, 2);
        let decoy = hasher.decoy([9; 32]);

        assert!(decoy.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=2$"));
        assert_eq!(
            hasher.verify(&password("Abcdef1x"), &decoy),
            Ok(Verification::Mismatch)
        );
    }
}
