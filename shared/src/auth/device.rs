//! The device of a request, if the user has signed in from it before.

use http::header::HeaderName;

use crate::domain::device_token::{Device, DeviceTokenVerifier};
use crate::domain::user::{User, UserId};
use crate::http::{Request, cookies};

const DEVICE_TOKEN: HeaderName = HeaderName::from_static("x-device-token");

/// Returns whether the device's token is revoked: a new password revokes all earlier ones.
pub fn is_revoked(device: Device, user: &User) -> bool {
    let since = user.device_tokens_since;
    since.is_some_and(|since| device.id.time() < since)
}

/// Returns the user's device whose token the request carries, in its header or a cookie. An invalid token is treated as
/// absent: it must neither help nor hinder anybody.
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
