//! Changes of a user's record for passkeys.

use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::Users;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::store::items::{TransactWriteItem, number, text};

impl Users {
    /// Writes the passkeys of `user`. Refused if the record has changed since it was read.
    #[expect(
        clippy::expect_used,
        reason = "plain structs serialise to plain attributes"
    )]
    pub fn update_passkeys(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        let passkeys = to_attribute_value(&user.passkeys).expect("a map of plain structs");
        let update = "SET #passkeys = :passkeys, #updated_at = :now, #version = :next";
        let values = vec![
            (":passkeys", passkeys),
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
        ];
        self.update_if_unchanged(user, update.to_owned(), values)
    }
}
