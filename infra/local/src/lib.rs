//! The cloud on one machine, for development and tests: the same binaries behind the same
//! protocols, driven by the same `template.yaml`.
//!
//! - [`Local`]: the handle of the running system, which tests hold; `stack` starts and stops its parts;
//! - [`template`]: functions, routes, tables, variables and CORS out of `template.yaml`;
//! - [`build`]: builds the functions' binaries;
//! - [`dynamodb`]: DynamoDB in this process, over HTTP;
//! - [`iam`]: what each function's role allows there;
//! - [`redis`]: a real `valkey-server` or `redis-server` as a child;
//! - [`lambda`]: the Runtime API and the functions' processes;
//! - [`stream`]: a table's stream to the function that reads it;
//! - [`mail`]: SES, and the inbox;
//! - [`env_files`]: the functions' variables for other tools that run them;
//! - [`containers`]: the way of `sam local`'s containers to this machine;
//! - [`hosts`]: the names that all of these answer to;
//! - [`gateway`]: API Gateway's HTTP API, payload 2.0.

pub mod build;
mod configuration;
pub mod containers;
pub mod dynamodb;
pub mod env_files;
pub mod gateway;
mod hosts;
pub mod iam;
mod identity;
mod info;
pub mod lambda;
mod local;
pub mod log;
pub mod mail;
mod options;
mod pages;
pub mod redis;
mod stack;
pub mod stream;
pub mod template;

pub use info::Info;
pub use local::Local;
pub use options::Options;

/// Why the stack, or a part of it, does not start: a sentence for the person in front of it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
