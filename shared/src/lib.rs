//! The code that the functions share. A module uses the ones below it and none above; `shared/tests/direction.rs` checks
//! it.
//!
//! - [`serve`]: the loop, the three ways to serve requests, rate limits;
//! - [`auth`]: use cases that several endpoints share, such as authentication, lockout, the second factor;
//! - [`http`]: requests, bodies, cookies and answers, as API Gateway carries them;
//! - [`error`]: the closed list of errors that a client can get;
//! - [`api`]: the contract, a type for each request and each answer;
//! - [`store`]: DynamoDB and Redis, every check-then-write in one atomic call;
//! - [`telemetry`], [`timing`], [`clock`], [`random`]: log lines and metrics, bounded work, time, randomness;
//! - [`config`]: the environment variables, read once and reported all at once;
//! - [`domain`]: the rules, pure: time and randomness are arguments.

pub mod api;
pub mod auth;
pub mod aws;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod random;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod timing;

pub use config::StartError;
