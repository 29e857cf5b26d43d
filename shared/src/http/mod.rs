//! HTTP as API Gateway transports it: requests, bodies, cookies and answers. This module uses no store.

pub mod body;
pub mod cookie_mode;
pub mod cookies;
pub(crate) mod gateway;
mod request;
pub(crate) mod response;

pub use http::{Method, header};
pub use request::Request;
pub use response::Response;
