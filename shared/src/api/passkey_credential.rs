//! The answer of an authenticator.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use validator::ValidationError;

use super::FromJson;
use super::field::wrong_type;

/// The answer of an authenticator, as `PublicKeyCredential.toJSON()` writes it (WebAuthn Level 3, 5.1). Its fields are
/// the browser's: unknown ones are allowed.
#[derive(Clone, Debug)]
pub struct PasskeyCredential(Value);

impl PasskeyCredential {
    /// Returns the JSON.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

impl FromJson for PasskeyCredential {
    fn from_json(value: Value) -> Result<Self, ValidationError> {
        match value {
            Value::Object(_) => Ok(Self(value)),
            _ => Err(wrong_type("object", "must be an object")),
        }
    }
}

impl JsonSchema for PasskeyCredential {
    fn schema_name() -> Cow<'static, str> {
        "PasskeyCredential".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let base64url = json_schema!({ "type": "string", "description": "In base64url." });
        json_schema!({
            "description": "The answer of an authenticator, as PublicKeyCredential.toJSON() writes it.",
            "type": "object",
            "properties": {
                "id": base64url,
                "rawId": base64url,
                "type": { "const": "public-key" },
                "response": {
                    "type": "object",
                    "properties": { "clientDataJSON": base64url },
                    "required": ["clientDataJSON"],
                },
            },
            "required": ["id", "rawId", "type", "response"],
        })
    }
}
