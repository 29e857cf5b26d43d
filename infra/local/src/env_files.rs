//! Files with the functions' variables, for other tools that run the functions: `sam local`, `cargo lambda`. They
//! contain this stack's secrets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Error;
use crate::identity::REGION;
use crate::lambda::Lambda;

/// Writes the file for `sam local --env-vars`: by resource, the variables that the template declares; `host` is this
/// machine's name in a container.
///
/// # Errors
/// If the JSON cannot be written.
pub fn for_sam<'a>(
    lambdas: impl Iterator<Item = &'a Lambda>,
    host: &str,
) -> Result<Vec<u8>, Error> {
    let by_resource: BTreeMap<&str, Value> = lambdas
        .map(|lambda| {
            let is_declared = |name: &str| lambda.function.variables.contains_key(name);
            let variables = lambda.variables().iter();
            let variables: BTreeMap<&str, String> = variables
                .filter(|(name, _)| is_declared(name))
                .map(|(name, value)| (name.as_str(), reachable(name, value, host)))
                .collect();
            (lambda.function.resource.as_str(), json!(variables))
        })
        .collect();
    Ok(serde_json::to_vec_pretty(&by_resource)?)
}

/// Replaces this machine's address in variables that the function itself connects to; links in mails are opened by a
/// browser and stay.
fn reachable(name: &str, value: &str, host: &str) -> String {
    match name.starts_with("AWS_ENDPOINT_URL") || name == "REDIS_URL" {
        true => value.replacen("127.0.0.1", host, 1),
        false => value.to_owned(),
    }
}

/// Writes the file for `cargo lambda watch --env-file`: the variables of all functions, which agree on common names,
/// and the region and keys, which Lambda and `sam local` provide and this tool does not.
pub fn for_cargo_lambda<'a>(lambdas: impl Iterator<Item = &'a Lambda>) -> Vec<u8> {
    let variables = lambdas.flat_map(|lambda| lambda.variables());
    let mut variables: BTreeMap<&str, &str> = variables
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    variables.extend([
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ]);
    let lines = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty() && !value.contains('\n'))
        .map(|(name, value)| format!("{name}={value}\n"));
    lines.collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_function_calls_is_rewritten() {
        for (name, value, expected) in [
            ("REDIS_URL", "redis://127.0.0.1:6379", "redis://docker:6379"),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                "http://127.0.0.1:1",
                "http://docker:1",
            ),
            (
                "FRONTEND_URL",
                "http://127.0.0.1:3000",
                "http://127.0.0.1:3000",
            ),
        ] {
            assert_eq!(reachable(name, value, "docker"), expected);
        }
    }
}
