//! Checks the shapes of answers against the types of the contract (`shared::api`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use shared::api::change_password::ChangePasswordAnswer;
use shared::api::login::LoginAnswer;
use shared::api::profile::{ProfileAnswer, UpdateProfileAnswer};
use shared::api::refresh::CsrfTokenAnswer;
use shared::api::register::RegisterAnswer;
use shared::api::sessions::SessionsAnswer;
use shared::api::two_factor_setup::TwoFactorSetupAnswer;
use shared::api::two_factor_verify::TwoFactorVerifyAnswer;
use shared::api::{Empty, Failure, Success, Tokens};

/// The operations whose answers have fields besides the message.
static ANSWERS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    BTreeMap::from([
        ("POST register", validator::<Success<RegisterAnswer>>()),
        ("POST login", validator::<Success<LoginAnswer>>()),
        ("POST refresh", validator::<Success<Tokens>>()),
        ("csrf-token", validator::<Success<CsrfTokenAnswer>>()),
        ("GET sessions", validator::<Success<SessionsAnswer>>()),
        (
            "POST change-password",
            validator::<Success<ChangePasswordAnswer>>(),
        ),
        (
            "POST two-factor-setup",
            validator::<Success<TwoFactorSetupAnswer>>(),
        ),
        (
            "POST two-factor-verify",
            validator::<Success<TwoFactorVerifyAnswer<'_>>>(),
        ),
        ("GET profile", validator::<Success<ProfileAnswer>>()),
        ("PUT profile", validator::<Success<UpdateProfileAnswer>>()),
    ])
});
static EMPTY: LazyLock<Validator> = LazyLock::new(validator::<Success<Empty>>);
static FAILURE: LazyLock<Validator> = LazyLock::new(validator::<Failure>);

/// Panics if an answer of this operation does not match its type, or has a field that the type does not have.
pub fn check(operation: &str, is_success: bool, body: &Value) {
    let validator = match is_success {
        true => ANSWERS.get(operation).unwrap_or(&EMPTY),
        false => &FAILURE,
    };
    if let Err(error) = validator.validate(body) {
        let path = error.instance_path();
        panic!("{operation}: {error} at {path}");
    }
}

/// Returns a validator for the type that allows no other fields.
fn validator<T: JsonSchema>() -> Validator {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
    }));
    let schema = settings.into_generator().into_root_schema_for::<T>();
    jsonschema::validator_for(schema.as_value()).expect("a schema")
}
