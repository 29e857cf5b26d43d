//! HTTP as API Gateway carries it: requests, bodies, cookies and answers. Nothing here asks a store.

pub mod body;
pub mod cookie_mode;
pub mod cookies;
pub(crate) mod gateway;
mod request;
pub(crate) mod response;

pub use http::{Method, header};
pub use request::Request;
pub use response::Response;
