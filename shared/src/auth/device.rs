//! The device that a request comes from, if its account has signed in from it before.

use http::header::HeaderName;

use crate::domain::device_token::{Device, DeviceTokenVerifier};
use crate::domain::user::{User, UserId};
use crate::http::{Request, cookies};

const DEVICE_TOKEN: HeaderName = HeaderName::from_static("x-device-token");

/// Whether the device's token is void: a new password voids those of before.
pub fn is_void(device: Device, user: &User) -> bool {
    let since = user.device_tokens_since;
    since.is_some_and(|since| device.id.time() < since)
}

/// The device of this user whose token the request carries, in its header or a cookie. A token that is
/// not valid is none: it must help nobody, and hinder nobody either.
pub fn presented(
    verifier: &DeviceTokenVerifier,
    user_id: UserId,
    request: &Request,
) -> Option<Device> {
    let (header, cookie) = (
        request.header(&DEVICE_TOKEN),
        request.cookie(cookies::DEVICE),
    );
    let mut devices = header
        .into_iter()
        .chain(cookie)
        .filter_map(|token| verifier.verify(token, request.received_at()));
    devices.find(|device| device.user_id == user_id)
}
