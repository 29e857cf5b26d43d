//! The test harness: a world (the whole system, or a deployment), clients that check every answer, and peers that fail
//! on command.

pub mod authenticator;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod code;
pub mod dynamodb;
pub mod endpoints;
pub mod kms;
pub mod oauth;
pub mod observed;
pub mod operations;
pub mod passkey;
pub mod peers;
#[cfg(target_os = "linux")]
pub mod process;
pub mod programs;
pub mod round_trips;
pub mod service;
pub mod shapes;
pub mod smtp;
pub mod tls;
pub mod token;
pub mod workspace;
pub mod world;

pub use authenticator::Authenticator;
pub use client::{Account, Answer, Client};
pub use workspace::template;
pub use world::{World, until};
