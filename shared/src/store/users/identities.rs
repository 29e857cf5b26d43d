//! Changes of a user's record for identities of other providers.

use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::Users;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;
use crate::store::items::{TransactWriteItem, number, text};

impl Users {
    /// Writes the identities of `user`. Refused if the record has changed since it was read.
    #[expect(
        clippy::expect_used,
        reason = "plain structs serialise to plain attributes"
    )]
    pub fn update_identities(&self, user: &User, now: Timestamp) -> TransactWriteItem {
        let identities = to_attribute_value(&user.identities).expect("a map of plain structs");
        let update = "SET #identities = :identities, #updated_at = :now, #version = :next";
        let values = vec![
            (":identities", identities),
            (":now", text(now.to_string())),
            (":next", number(user.version + 1)),
        ];
        self.update_if_unchanged(user, update.to_owned(), values)
    }
}
