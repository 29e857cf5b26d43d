//! The cloud on one machine, for development and tests: the same binaries behind the same protocols, driven by the same
//! `template.yaml`.
//!
//! - [`Local`]: the handle of the running system, which tests hold; `stack` starts and stops its parts;
//! - [`template`]: reads functions, routes, tables, variables and CORS from `template.yaml`;
//! - [`build`]: builds the functions' binaries;
//! - [`dynamodb`]: DynamoDB in this process, over HTTP;
//! - [`iam`]: enforces the rights of each function's role;
//! - [`redis`]: runs a real `valkey-server` or `redis-server` as a child process;
//! - [`lambda`]: the Runtime API and the functions' processes;
//! - [`stream`]: delivers a table's stream to the function that reads it;
//! - [`mail`]: SES, and the inbox;
//! - [`env_files`]: writes the functions' variables for other tools that run them;
//! - [`containers`]: connects `sam local`'s containers to this machine;
//! - [`hosts`]: the host names that the servers answer to;
//! - [`gateway`]: API Gateway's HTTP API, payload 2.0.

pub mod build;
mod configuration;
pub mod console;
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

/// The reason why the stack, or a part of it, does not start: a sentence for the user.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
