//! The device that a request comes from, if its account has signed in from it before.

use http::header::HeaderName;

use super::{Request, cookies};
use crate::domain::device_token::{Device, DeviceTokenVerifier};

const DEVICE_TOKEN: HeaderName = HeaderName::from_static("x-device-token");

/// The device whose token the request carries, in its header or a cookie. A token that is not valid
/// is none: it must help nobody, and hinder nobody either.
pub fn presented(verifier: &DeviceTokenVerifier, request: &Request) -> Option<Device> {
    let header = request.header(&DEVICE_TOKEN);
    let token = header.or_else(|| request.cookie(cookies::DEVICE))?;
    verifier.verify(token, request.received_at())
}
