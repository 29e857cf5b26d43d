//! The functions' configuration: the template's parameters, secrets and other variables, and the folder that keeps
//! them.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey};

use crate::Error;
use crate::identity::STACK;
use crate::lambda::Lambda;
use crate::options::Options;
use crate::template::{Template, scalar};

/// The variables of the secrets that the stack generates.
const SECRETS: [&str; 4] = [
    "JWT_REFRESH_SECRET",
    "GUARD_SECRET",
    "EMAIL_TOKEN_SECRET",
    "DATA_ENCRYPTION_KEY",
];

/// The private key of access tokens, which the stack generates, and the public keys that belong to it.
const PRIVATE_KEY: &str = "JWT_PRIVATE_KEY";
const PUBLIC_KEYS: &str = "JWT_PUBLIC_KEYS";
/// The secret that takes the place of the keys if somebody sets it.
const SECRET_INSTEAD_OF_KEYS: &str = "JWT_SECRET";

/// The variable with more request headers for CORS, which only the gateway has.
const ALLOWED_HEADERS: &str = "CORS_ALLOWED_HEADERS";

/// The origins that are allowed by default: this machine, at any port of a development server.
const OWN_ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "http://[::1]:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
    "https://[::1]:*",
];

/// Returns the template's parameters: no cache, because Redis runs on this machine, and those that the stack's
/// variables set; `url` is the issuer of tokens, if no other is set, and pages of the machine with this `name` may call
/// the API.
pub(crate) fn parameters(options: &Options, url: &str, name: &str) -> BTreeMap<String, String> {
    let network = options.host.map(|_| format!("http://{name}:*"));
    let network = network.filter(|origin| !OWN_ORIGINS.contains(&origin.as_str()));
    let origins = OWN_ORIGINS.iter().map(|origin| (*origin).to_owned());
    let origins: Vec<String> = origins.chain(network).collect();
    let mut parameters = BTreeMap::from([
        ("Cache".to_owned(), "none".to_owned()),
        ("AllowedOrigins".to_owned(), origins.join(",")),
        ("JwtIssuer".to_owned(), url.to_owned()),
    ]);
    for (variable, parameter) in [
        ("CORS_ALLOWED_ORIGINS", "AllowedOrigins"),
        (ALLOWED_HEADERS, "AllowedHeaders"),
        ("JWT_ISSUER", "JwtIssuer"),
        ("JWT_AUDIENCE", "JwtAudience"),
    ] {
        if let Some(value) = options.variables.get(variable) {
            parameters.insert(parameter.to_owned(), value.clone());
        }
    }
    parameters
}

/// Reads an application's template; its parameters are the outputs of the system's template.
pub(crate) fn application(path: &Path, system: &Template) -> Result<Template, Error> {
    let outputs = system.outputs.iter();
    let outputs = outputs.filter_map(|(name, value)| Some((name.clone(), scalar(value)?)));
    let mut parameters: BTreeMap<String, String> = outputs.collect();
    parameters.insert("Gatehouse".to_owned(), STACK.to_owned());
    Template::read(path, &parameters, &system.exports)
}

/// Refuses variables that no function has.
pub(crate) fn refuse_unknown(template: &Template, options: &Options) -> Result<(), Error> {
    let is_known = |name: &String| {
        name == "CORS_ALLOWED_ORIGINS"
            || name == ALLOWED_HEADERS
            || name.starts_with("AWS_")
            || template
                .functions
                .iter()
                .any(|function| function.variables.contains_key(name))
    };
    let unknown: Vec<&String> = options
        .variables
        .keys()
        .filter(|name| !is_known(name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("no function has a variable {unknown:?}").into());
    }
    Ok(())
}

/// Returns the functions with their variables: first the template's, then those that the stack chooses, then those of
/// the options. A variable is set only in functions to which the template gives it.
pub(crate) fn lambdas(
    template: &Template,
    options: &Options,
    chosen: &BTreeMap<String, String>,
) -> Result<Vec<Arc<Lambda>>, Error> {
    let mut lambdas = Vec::new();
    for function in &template.functions {
        let binary = options.binaries.get(&function.name);
        let binary = binary
            .ok_or_else(|| format!("the function {} is not built", function.name))?
            .clone();
        let mut variables = function.variables.clone();
        // Secrets that exist only in the cloud; here no secret has a previous value.
        for value in variables.values_mut() {
            if value.starts_with("{{resolve:secretsmanager:") {
                value.clear();
            }
        }
        for (name, value) in chosen.iter().chain(&options.variables) {
            if name.starts_with("AWS_") || variables.contains_key(name) {
                variables.insert(name.clone(), value.clone());
            }
        }
        lambdas.push(Arc::new(Lambda::new(
            function.clone(),
            binary,
            variables,
            options.log.clone(),
        )));
    }
    Ok(lambdas)
}

/// Locks the folder for one stack: two stacks would write into each other's files.
pub(crate) fn lock_data_dir(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = File::create(folder.join("lock"))?;
    // The lock of a stack that has just ended may be held for a moment by a child process that is starting.
    for _ in 0..20 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(format!("{} is in use by another stack", folder.display()).into())
}

/// Returns the secrets, generated or, with a folder, those of the last run, so that tokens stay valid.
pub(crate) fn secrets(folder: Option<&Path>) -> Result<BTreeMap<String, String>, Error> {
    let file = folder.map(|folder| folder.join("secrets.json"));
    let mut secrets: BTreeMap<String, String> = match file.as_ref().filter(|file| file.exists()) {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?,
        None => BTreeMap::new(),
    };
    // A folder of an earlier release has a secret in the place of the keys.
    secrets.remove(SECRET_INSTEAD_OF_KEYS);
    let known = secrets.len();
    for name in SECRETS {
        if !secrets.contains_key(name) {
            let mut bytes = [0_u8; 32];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no randomness")?;
            secrets.insert(name.to_owned(), hex::encode(bytes));
        }
    }
    if !secrets.contains_key(PRIVATE_KEY) {
        secrets.insert(PRIVATE_KEY.to_owned(), private_key()?);
    }
    if let Some(file) = file.filter(|_| secrets.len() > known) {
        write_private(&file, &serde_json::to_vec_pretty(&secrets)?)?;
    }
    Ok(secrets)
}

/// Adds the public keys of access tokens, or removes the key if `JWT_SECRET` or other keys are given.
pub(crate) fn complete_keys(
    mut secrets: BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let has_own = [SECRET_INSTEAD_OF_KEYS, PRIVATE_KEY, PUBLIC_KEYS];
    if has_own.iter().any(|name| given.contains_key(*name)) {
        secrets.remove(PRIVATE_KEY);
    } else if let Some(key) = secrets.get(PRIVATE_KEY) {
        secrets.insert(PUBLIC_KEYS.to_owned(), public_keys(key)?);
    }
    Ok(secrets)
}

/// Generates a private key for RS256, in PKCS#8 and base64.
fn private_key() -> Result<String, Error> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no randomness")?;
    let key: Pkcs8V1Der = key.as_der().map_err(|_| "a key without a text")?;
    Ok(STANDARD.encode(key.as_ref()))
}

/// Returns the JSON Web Key Set of a private key.
fn public_keys(private: &str) -> Result<String, Error> {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n");
    let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
    let keys = vec![Jwk::from_encoding_key(&key, Algorithm::RS256)?];
    Ok(serde_json::to_string(&JwkSet { keys })?)
}

/// Writes a file that only its owner may read, as a whole or not at all.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = file.parent().ok_or("a file without a folder")?;
    let folder = Some(folder).filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)
        .map_err(|error| format!("{}: {error}", file.display()))?; // mode 0600
    std::io::Write::write_all(&mut temporary, content)?;
    temporary.persist(file)?;
    Ok(())
}
