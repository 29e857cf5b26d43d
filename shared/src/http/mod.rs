//! From a Lambda event to a handler and back.

pub mod authentication;
mod body;
mod bots;
pub mod cookie_mode;
pub mod cookies;
pub mod device;
mod gateway;
pub mod guard;
pub mod link_requests;
pub mod lockout;
pub mod password_check;
pub mod refresh_token;
mod request;
mod response;
pub mod second_factor;
mod serve;
pub mod token_issuer;

pub use http::{Method, header};
pub use request::Request;
pub use response::Response;
pub use serve::{serve, serve_unguarded};
