//! Reads the environment variables, once at start. It collects every problem, not only the first: a reader records the
//! problem, returns a harmless value and goes on, and [`Environment::finish`] fails. Types read their own settings in
//! their `from_env`.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::duration;
use crate::domain::rate_limit::Limit;

/// The minimum length of a secret: a shorter HMAC-SHA256 key is weaker than its hash (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The beginning of each secret in `.env.example`.
const EXAMPLE_SECRET: &str = "only-an-example";

/// The form of a duration, for messages.
const DURATION: &str = "a duration such as 30s, 15m, 1h or 7d";

/// Variables that Lambda sets. Its runtime panics if one is missing.
const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_RUNTIME_API",
];

/// Schemes that browsers treat in a special way: they cannot lead to a page or an app.
const NO_PAGE_SCHEMES: [&str; 10] = [
    "about",
    "blob",
    "data",
    "file",
    "ftp",
    "javascript",
    "mailto",
    "vbscript",
    "ws",
    "wss",
];

/// Why a function does not start, or had to stop: all problems.
#[derive(thiserror::Error)]
#[error("{what}: {}", problems.join("; "))]
pub struct StartError {
    what: &'static str,
    problems: Vec<String>,
}

impl StartError {
    /// Creates an error that is not about a variable.
    pub fn new(problem: impl fmt::Display) -> Self {
        Self::of(vec![problem.to_string()])
    }

    /// Creates the error of a function that had started.
    pub fn ended(problem: impl fmt::Display) -> Self {
        Self {
            what: "the function ends",
            ..Self::new(problem)
        }
    }

    /// Returns the problems.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    fn of(problems: Vec<String>) -> Self {
        let what = "the function cannot start";
        Self { what, problems }
    }
}

// `main` prints the error with `Debug`, and people read it.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Reads variables and collects their problems. A problem never contains a value, which may be a misplaced secret.
pub struct Environment {
    lookup: Lookup,
    problems: Vec<String>,
    is_production: bool,
    /// All secrets that were read, with their variables: production refuses equal ones.
    secrets: Vec<(String, SecretString)>,
    /// Values that exist once, such as connections.
    singletons: HashMap<TypeId, Box<dyn Any>>,
}

impl Environment {
    /// Reads the variables of this process. An empty one counts as absent: templates cannot leave one out.
    pub fn of_process() -> Self {
        let mut environment = Self::new(|name| std::env::var(name).ok());
        for name in LAMBDA_VARIABLES {
            environment.text(name);
        }
        environment
    }

    /// Creates an environment of these variables, in place of the process's own.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::new(move |name| variables.get(name).cloned())
    }

    /// Creates an environment that looks variables up with this function.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        let mut environment = Self {
            lookup: Box::new(lookup),
            problems: Vec::new(),
            is_production: false,
            secrets: Vec::new(),
            singletons: HashMap::new(),
        };
        let name = environment.text("ENVIRONMENT");
        if !matches!(name.as_str(), "" | "dev" | "staging" | "prod") {
            environment.refuse("ENVIRONMENT must be dev, staging or prod");
        }
        environment.is_production = name == "prod";
        environment
    }

    /// Returns the configuration if all variables are present and valid.
    ///
    /// # Errors
    /// A [`StartError`] with all problems.
    pub fn finish<T>(mut self, config: T) -> Result<T, StartError> {
        self.refuse_equal_secrets();
        // A variable may be read more than once.
        let mut noted = BTreeSet::new();
        self.problems
            .retain(|problem| noted.insert(problem.clone()));
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(StartError::of(self.problems))
        }
    }

    /// Returns whether this is the environment `prod`, which refuses settings that are acceptable elsewhere.
    pub fn is_production(&self) -> bool {
        self.is_production
    }

    /// Records a problem.
    pub fn refuse(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Creates a value with the first call and returns the same one with every call: all stores share a connection.
    pub fn singleton<T: Clone + 'static>(&mut self, make: impl FnOnce(&mut Self) -> T) -> T {
        let made = self.singletons.get(&TypeId::of::<T>());
        if let Some(made) = made.and_then(|made| made.downcast_ref::<T>()) {
            return made.clone();
        }
        let made = make(self);
        let copy = Box::new(made.clone());
        self.singletons.insert(TypeId::of::<T>(), copy);
        made
    }

    /// Reads an optional variable.
    pub fn optional_text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Reads a required variable.
    pub fn text(&mut self, name: &str) -> String {
        self.optional_text(name).unwrap_or_else(|| {
            self.refuse(format!("{name} is missing"));
            String::new()
        })
    }

    /// Reads a secret of at least 32 bytes.
    pub fn secret(&mut self, name: &str) -> SecretString {
        let text = self.text(name);
        self.check_secret(name, &text);
        SecretString::from(text)
    }

    /// Reads an optional secret; `none` counts as absent, as a store of secrets need not keep empty ones.
    pub fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        let text = self.optional_text(name).filter(|text| text != "none")?;
        self.check_secret(name, &text);
        Some(SecretString::from(text))
    }

    /// Reads optional secrets separated by commas, all of them valid, so that one can replace another; `none` counts as
    /// absent.
    pub fn secrets(&mut self, name: &str) -> Vec<SecretString> {
        let text = self.optional_text(name).filter(|text| text != "none");
        let text = text.unwrap_or_default();
        let secrets = text.split(',').map(str::trim);
        let secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
        for secret in &secrets {
            self.check_secret(name, secret);
        }
        secrets.into_iter().map(SecretString::from).collect()
    }

    fn check_secret(&mut self, name: &str, text: &str) {
        if (1..MIN_SECRET_BYTES).contains(&text.len()) {
            self.refuse(format!("{name} is shorter than {MIN_SECRET_BYTES} bytes"));
        }
        let lower_case = text.trim_start().to_ascii_lowercase();
        if self.is_production && lower_case.starts_with(EXAMPLE_SECRET) {
            self.refuse(format!("{name} is an example"));
        }
        let is_noted = |(known, secret): &(String, SecretString)| {
            known == name && secret.expose_secret() == text
        };
        if !text.is_empty() && !self.secrets.iter().any(is_noted) {
            self.secrets.push((name.to_owned(), text.into()));
        }
    }

    /// Refuses equal secrets in production: whoever learns one of them has both, and a token of one purpose may be
    /// accepted for another.
    fn refuse_equal_secrets(&mut self) {
        if !self.is_production {
            return;
        }
        let mut problems = Vec::new();
        for (at, (name, secret)) in self.secrets.iter().enumerate() {
            let is_equal = |(other, text): &&(String, SecretString)| {
                other != name && text.expose_secret() == secret.expose_secret()
            };
            let before = self.secrets[..at].iter().filter(is_equal);
            problems.extend(before.map(|(other, _)| format!("{name} is the same as {other}")));
        }
        self.problems.extend(problems);
    }

    /// Reads an optional variable with `parse`; `form` describes the expected form in messages.
    pub fn optional<T>(
        &mut self,
        name: &str,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(&self.optional_text(name)?);
        if value.is_none() {
            self.refuse(format!("{name} must be {form}"));
        }
        value
    }

    /// Reads absolute URLs of pages, separated by commas, without fragments: `https:`, an app's own scheme or, except in
    /// production, `http:`.
    pub fn page_urls(&mut self, name: &str) -> Vec<Url> {
        let text = self.text(name);
        if text.is_empty() {
            return Vec::new(); // `text` has recorded the problem
        }
        let urls = text.split(',').map(|url| page_url(url.trim()));
        let urls = urls.map(|url| url.filter(|url| url.fragment().is_none()));
        let Some(urls) = urls.collect::<Option<Vec<Url>>>() else {
            self.refuse(format!("{name} must be an http: or https: URL"));
            return Vec::new();
        };
        if self.is_production && urls.iter().any(|url| url.scheme() == "http") {
            self.refuse(format!("{name} must be an https: URL in prod"));
        }
        urls
    }

    /// Reads the optional URL of a page.
    pub fn optional_page_url(&mut self, name: &str) -> Option<Url> {
        self.optional(name, "an http: or https: URL", page_url)
    }

    /// Reads an optional absolute `http:` or `https:` URL without a fragment.
    pub fn optional_url(&mut self, name: &str) -> Option<String> {
        self.optional(name, "an http: or https: URL", |text| {
            let url = Url::parse(text).ok()?;
            let is_valid = matches!(url.scheme(), "http" | "https") && url.fragment().is_none();
            is_valid.then(|| text.to_owned())
        })
    }

    /// Reads a required name of letters, digits, `-` and `_`.
    pub fn name(&mut self, name: &str) -> String {
        if self.text(name).is_empty() {
            return String::new(); // `text` has recorded the problem
        }
        self.optional_name(name).unwrap_or_default()
    }

    /// Reads an optional name of letters, digits, `-` and `_`.
    pub fn optional_name(&mut self, name: &str) -> Option<String> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        self.optional(name, "a name of letters, digits, - and _", |text| {
            text.bytes().all(is_valid).then(|| text.to_owned())
        })
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self, name: &str, default: bool) -> bool {
        let value = self.optional(name, "true or false", |text| text.parse().ok());
        value.unwrap_or(default)
    }

    /// Reads a duration such as `15m`.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let value = self.optional(name, DURATION, duration::parse);
        value.unwrap_or(default)
    }

    /// Reads a duration of at least a second: with a shorter one, tokens would have expired when they are issued.
    pub fn lifetime(&mut self, name: &str, default: Duration) -> Duration {
        let parse = |text: &str| duration::parse(text).filter(|duration| !duration.is_zero());
        self.optional(name, DURATION, parse).unwrap_or(default)
    }

    /// Reads a whole number within a range.
    pub fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let form = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.optional(name, &form, parse).unwrap_or(default)
    }

    /// Reads a limit such as `5/15m`; `off` is `None`.
    pub fn limit(&mut self, name: &str, default: Option<Limit>) -> Option<Limit> {
        let limit = self.optional(name, "a limit such as 5/15m, or off", Limit::parse);
        limit.unwrap_or(default)
    }
}

/// Parses the absolute URL of a page.
fn page_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_page = url.has_host() && !NO_PAGE_SCHEMES.contains(&url.scheme());
    is_page.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_has_its_default() {
        let mut environment = Environment::of(&[("LIFETIME", ""), ("ENVIRONMENT", "prod")]);

        let lifetime = environment.lifetime("LIFETIME", duration::days(7));

        assert_eq!(lifetime, duration::days(7));
        assert!(environment.finish(()).is_ok());
    }

    #[test]
    fn a_problem_is_named_once_and_its_value_is_not() {
        let mut environment = Environment::of(&[("LIFETIME", "0s"), ("ENVIRONMENT", "dev")]);

        environment.lifetime("LIFETIME", duration::days(7));
        environment.lifetime("LIFETIME", duration::days(7));
        environment.text("NAME");

        let error = environment.finish(()).unwrap_err();
        assert_eq!(
            error.problems(),
            [
                format!("LIFETIME must be {DURATION}"),
                "NAME is missing".to_owned()
            ]
        );
    }

    #[test]
    fn urls_by_example() {
        for (urls, is_valid) in [
            ("https://app.example.com/auth", true),
            ("myapp://open", true),
            ("http://localhost:3000, https://app.example.com", true),
            ("https://app.example.com/#page", false),
            ("javascript://app.example.com", false),
            ("mailto:ada@example.com", false),
            ("/auth", false),
            ("https://app.example.com,", false),
        ] {
            let lookup =
                move |name: &str| Some(if name == "URL" { urls } else { "dev" }.to_owned());
            let mut environment = Environment::new(lookup);

            let read = environment.page_urls("URL");

            assert_eq!(!read.is_empty(), is_valid, "{urls}");
            assert_eq!(environment.finish(()).is_ok(), is_valid, "{urls}");
        }
    }

    #[test]
    fn a_singleton_is_made_once() {
        let mut environment = Environment::of(&[("ENVIRONMENT", "dev")]);

        let first = environment.singleton(|_| 1_u8);
        let second = environment.singleton(|_| 2_u8);

        assert_eq!((first, second), (1, 1));
    }
}
