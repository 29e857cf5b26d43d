//! The settings of passwords and their hashes.

use std::sync::Arc;

use crate::config::Environment;
use crate::domain::leaked_passwords::LeakedPasswords;
use crate::domain::password::Policy;
use crate::domain::password_hash::{Cost, PasswordHasher};

/// The memory in MB that gives a function one CPU (Lambda developer guide, "Configure Lambda function memory"). With
/// less memory it sees two CPUs and gets a fraction of one.
const MEMORY_OF_A_PROCESSOR: u32 = 1769;

/// The minimum length of a password without rules about its characters (NIST SP 800-63B-4, 3.1.1.2).
const MIN_LENGTH_WITHOUT_CLASSES: usize = 15;

/// The minimum memory in KiB and number of iterations in production (OWASP Password Storage Cheat Sheet: 19 MiB, 2
/// iterations, 1 lane).
const MIN_PRODUCTION_COST: (u32, u32) = (19 * 1024, 2);
/// The same minimum outside production, for fast tests.
const MIN_COST: (u32, u32) = (1024, 1);

impl Policy {
    /// Reads `PASSWORD_COMPOSITION`, `PASSWORD_MIN_LENGTH`, `PASSWORD_REQUIRE_SYMBOL`, `APP_NAME` and
    /// `LEAKED_PASSWORDS`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let composition = environment.optional("PASSWORD_COMPOSITION", "classes or none", |text| {
            ["classes", "none"].contains(&text).then(|| text.to_owned())
        });
        let minimum_length = environment.number("PASSWORD_MIN_LENGTH", 8, 8..=64) as usize;
        let classes_are_required = composition.as_deref() != Some("none");
        if !classes_are_required && minimum_length < MIN_LENGTH_WITHOUT_CLASSES {
            environment.refuse("PASSWORD_COMPOSITION=none needs PASSWORD_MIN_LENGTH=15 or more");
        }
        Self {
            minimum_length,
            classes_are_required,
            leaked: LeakedPasswords::from_env(environment),
            symbol_is_required: environment.boolean("PASSWORD_REQUIRE_SYMBOL", false),
            application_name: environment.text("APP_NAME"),
        }
    }
}

impl LeakedPasswords {
    /// Reads the optional file that `LEAKED_PASSWORDS` names.
    pub fn from_env(environment: &mut Environment) -> Option<Arc<Self>> {
        let form = "a file made by infra/leaked-passwords";
        environment.optional("LEAKED_PASSWORDS", form, |path| {
            Self::read(&std::fs::read(path).ok()?).map(Arc::new)
        })
    }
}

impl PasswordHasher {
    /// Reads `ARGON2_MEMORY_KIB`, `ARGON2_ITERATIONS` and `ARGON2_PARALLELISM`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let (min_memory, min_iterations) = match environment.is_production() {
            true => MIN_PRODUCTION_COST,
            false => MIN_COST,
        };
        // The upper bounds are far above a tolerable login time, and keep every cost within Argon2's own bounds.
        let memory = min_memory..=4 * 1024 * 1024;
        let cost = Cost {
            memory_kib: environment.number("ARGON2_MEMORY_KIB", 65_536, memory),
            iterations: environment.number("ARGON2_ITERATIONS", 3, min_iterations..=1000),
            parallelism: environment.number("ARGON2_PARALLELISM", 4, 1..=64),
        };
        let memory = environment.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0, 0..=u32::MAX);
        let processors = (memory / MEMORY_OF_A_PROCESSOR).max(1);
        let hasher = Self::new(cost, processors as usize);
        // With provisioned concurrency, Lambda freezes an environment as soon as it asks for events; so it prepares
        // before that.
        let kind = environment.optional_text("AWS_LAMBDA_INITIALIZATION_TYPE");
        if kind.as_deref() == Some("provisioned-concurrency") {
            hasher.prepare();
        }
        hasher
    }
}
