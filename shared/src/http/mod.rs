//! From a Lambda event to a handler and back.

pub mod authentication;
pub mod body;
pub mod representation;
mod request;
mod response;
mod serve;

pub use http::Method;
pub use request::Request;
pub use response::Response;
pub use serve::serve;
