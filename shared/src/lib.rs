//! The code shared by all functions. A module uses only the modules below it in this list; `shared/tests/direction.rs`
//! checks it.
//!
//! - [`serve`]: the event loop, the three ways to serve requests, rate limits;
//! - [`auth`]: use cases shared by several endpoints, such as authentication, lockout, the second factor;
//! - [`http`]: requests, bodies, cookies and answers, as API Gateway transports them;
//! - [`error`]: the closed list of errors that a client can get;
//! - [`api`]: the API contract, a type for each request and each answer;
//! - [`store`]: DynamoDB, Redis and KMS, every check-then-write in one atomic call;
//! - [`telemetry`], [`timing`], [`clock`], [`random`]: logs and metrics, bounded work, time, randomness;
//! - [`config`]: the environment variables, read once, with all problems reported at once;
//! - [`domain`]: the rules, as pure functions: time and randomness are arguments.

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
