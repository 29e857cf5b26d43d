//! What the functions share. A request passes through it from top to bottom:
//!
//! - [`lambda`]: the loop, events from Lambda and answers to it;
//! - [`api`]: the contract, a type for each request and each answer;
//! - [`http`]: serve a Lambda function, parse a request, authenticate its caller, render the answer;
//! - [`config`]: the environment variables, read once and reported all at once;
//! - [`domain`]: the rules, pure: no AWS, no Redis, no HTTP, time and randomness are arguments;
//! - [`store`]: DynamoDB and Redis, every check-then-write in one atomic call;
//! - [`telemetry`]: log lines, audit log events, metrics;
//! - [`error`]: the closed list of what a client can be told went wrong.
//!
//! Direction: `main → http → handler → domain → store`. Nothing here knows a particular endpoint.

pub mod api;
mod aws;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod lambda;
pub mod random;
pub mod store;
pub mod telemetry;

pub use config::StartError;
