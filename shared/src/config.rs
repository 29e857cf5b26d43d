//! The environment variables, read once at start. Every problem is reported, not only the first:
//! a reader notes what is wrong, gives a harmless value instead and goes on, and
//! [`Environment::finish`] refuses the result.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::aws;
use crate::domain::csrf_token::CsrfTokens;
use crate::domain::device_token::{DeviceTokenIssuer, DeviceTokenVerifier};
use crate::domain::encryption::Cipher;
use crate::domain::origin;
use crate::domain::password;
use crate::domain::password_hash::{Cost, PasswordHasher};
use crate::domain::rate_limit::{Limit, Policy, Preset};
use crate::domain::token::{
    AccessTokenIssuer, AccessTokenVerifier, RefreshTokenIssuer, RefreshTokenVerifier,
    SigningConfig, VerifyingConfig,
};
use crate::http::authentication::Authenticator;
use crate::http::cookie_mode::CookieCheck;
use crate::http::lockout::{CodeLockout, LoginLockout, SessionLockout};
use crate::http::password_check::{PasswordCheck, Reauthentication};
use crate::http::second_factor::SecondFactor;
use crate::http::token_issuer::TokenIssuer;
use crate::store::audit::Audit;
use crate::store::credentials::Credentials;
use crate::store::dynamodb::DynamoDb;
use crate::store::mailed_tokens::MailedTokens;
use crate::store::outbox::Outbox;
use crate::store::rate_limiter::{RateLimiter, TextHasher};
use crate::store::redis::{self, Redis};
use crate::store::reset_tokens::ResetTokens;
use crate::store::sessions::Sessions;
use crate::store::two_factor::TwoFactor;
use crate::store::unproven_accounts::UnprovenAccounts;
use crate::store::users::Users;

/// Shorter than this, an HMAC-SHA256 key is weaker than its hash (RFC 7518, 3.2).
const MINIMUM_SECRET_BYTES: usize = 32;

/// How the secrets of `.env.example` begin.
const EXAMPLE_SECRET: &str = "only-an-example";

/// Megabytes with which a function has one processor (Lambda developer guide, "Configure Lambda function memory"). It
/// sees two with less.
const MEMORY_OF_A_PROCESSOR: u32 = 1769;

/// What Lambda sets itself. Its runtime panics where one is missing.
const OF_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_RUNTIME_API",
];

/// Why a function does not start, or cannot go on: all problems.
#[derive(thiserror::Error)]
#[error("{what}: {}", problems.join("; "))]
pub struct StartError {
    what: &'static str,
    problems: Vec<String>,
}

impl StartError {
    /// One problem that is not a variable's.
    pub fn new(problem: impl fmt::Display) -> Self {
        Self::of(vec![problem.to_string()])
    }

    /// What ends a function that had started.
    pub fn ended(problem: impl fmt::Display) -> Self {
        Self {
            what: "the function ends",
            ..Self::new(problem)
        }
    }

    fn of(problems: Vec<String>) -> Self {
        let what = "the function cannot start";
        Self { what, problems }
    }
}

// `main` prints the error with `Debug`; people read it.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Reads variables and collects what is wrong with them. No value occurs in a problem: it may be
/// a secret in the wrong place.
pub struct Environment {
    lookup: Lookup,
    problems: Vec<String>,
    /// Production refuses what is fine for trying out.
    is_production: bool,
    /// Each that was read, with its variable's name: in production no two are equal.
    secrets: Vec<(String, SecretString)>,
    /// What limits are where no variable says it; read with the first limit.
    preset: Option<Preset>,
    /// One connection, whoever uses it.
    redis: Option<Arc<Redis>>,
    /// The same.
    dynamodb: Option<DynamoDb>,
}

impl Environment {
    /// The variables of this process. An empty one counts as absent: templates cannot leave one out.
    pub fn of_process() -> Self {
        let mut environment = Self::new(|name| std::env::var(name).ok());
        for name in OF_LAMBDA {
            environment.text(name);
        }
        environment
    }

    fn new(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        let mut environment = Self {
            lookup: Box::new(lookup),
            problems: Vec::new(),
            is_production: false,
            secrets: Vec::new(),
            preset: None,
            redis: None,
            dynamodb: None,
        };
        let name = environment.text("ENVIRONMENT");
        if !matches!(name.as_str(), "" | "dev" | "staging" | "prod") {
            let problem = "ENVIRONMENT must be dev, staging or prod".to_owned();
            environment.problems.push(problem);
        }
        environment.is_production = name == "prod";
        environment
    }

    /// The configuration, if every variable was there and valid.
    ///
    /// # Errors
    /// All problems at once.
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

    /// Notes a problem of several variables together.
    pub(crate) fn refuse(&mut self, problem: &str) {
        self.problems.push(problem.to_owned());
    }

    /// A variable that may be absent.
    pub fn optional_text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable that must be there.
    pub fn text(&mut self, name: &str) -> String {
        self.optional_text(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// A secret of at least 32 bytes.
    pub fn secret(&mut self, name: &str) -> SecretString {
        let text = self.text(name);
        self.check_secret(name, &text);
        SecretString::from(text)
    }

    /// A secret that may be absent, or `none`: a store of secrets need not keep empty ones.
    pub fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        let text = self.optional_text(name).filter(|text| text != "none")?;
        self.check_secret(name, &text);
        Some(SecretString::from(text))
    }

    /// Secrets of which each is taken, separated by commas, so that one can replace another.
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
        if (1..MINIMUM_SECRET_BYTES).contains(&text.len()) {
            self.problems.push(format!(
                "{name} is shorter than {MINIMUM_SECRET_BYTES} bytes"
            ));
        }
        let beginning = text.trim_start().to_ascii_lowercase();
        if self.is_production && beginning.starts_with(EXAMPLE_SECRET) {
            self.problems.push(format!("{name} is an example"));
        }
        let is_it = |(known, secret): &(String, SecretString)| {
            known == name && secret.expose_secret() == text
        };
        if !text.is_empty() && !self.secrets.iter().any(is_it) {
            self.secrets.push((name.to_owned(), text.into()));
        }
    }

    /// Whoever learns one of two that are equal has both, and what is made with one may pass for the other's.
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

    /// A variable with a default, in a form that `parse` knows; `form` says it to people.
    fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.optional(name, form, parse).unwrap_or(default)
    }

    /// A variable that may be absent, in a form that `parse` knows; `form` says it to people.
    pub fn optional<T>(
        &mut self,
        name: &str,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(&self.optional_text(name)?);
        if value.is_none() {
            self.problems.push(format!("{name} must be {form}"));
        }
        value
    }

    /// A variable that must be there, as one that may be absent is read.
    fn required(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<String>,
    ) -> String {
        if self.text(name).is_empty() {
            return String::new(); // which is a problem already
        }
        read(self, name).unwrap_or_default()
    }

    /// The absolute URL of pages, without a fragment: `https:`, an app's own scheme or, but not in production, `http:`.
    pub fn url(&mut self, name: &str) -> String {
        let text = self.required(name, |environment, name| {
            environment.optional(name, "an http: or https: URL", |text| {
                let url = Url::parse(text).ok()?;
                let is_page = is_of_pages(&url) && url.fragment().is_none();
                is_page.then(|| text.to_owned())
            })
        });
        let is_plain = Url::parse(&text).is_ok_and(|url| url.scheme() == "http");
        if self.is_production && is_plain {
            self.problems
                .push(format!("{name} must be an https: URL in prod"));
        }
        text
    }

    /// An absolute `http:` or `https:` URL without a fragment that may be absent.
    pub(crate) fn optional_url(&mut self, name: &str) -> Option<String> {
        self.optional(name, "an http: or https: URL", |text| {
            let url = Url::parse(text).ok()?;
            let is_valid = matches!(url.scheme(), "http" | "https") && url.fragment().is_none();
            is_valid.then(|| text.to_owned())
        })
    }

    /// The page where a password is changed: `CHANGE_PASSWORD_URL`, or `/change-password` beneath `FRONTEND_URL`. As the
    /// URL parser writes it, which fits into a header.
    pub fn change_password_page(&mut self) -> String {
        let frontend = self.url("FRONTEND_URL");
        let default = format!("{}/change-password", frontend.trim_end_matches('/'));
        let name = "CHANGE_PASSWORD_URL";
        let page = self.optional(name, "an http: or https: URL", |text| {
            let url = Url::parse(text).ok()?;
            is_of_pages(&url).then_some(url)
        });
        let page = page.or_else(|| Url::parse(&default).ok());
        page.map(String::from).unwrap_or_default()
    }

    /// A name of letters, digits, `-` and `_`.
    pub(crate) fn name(&mut self, name: &str) -> String {
        self.required(name, Self::optional_name)
    }

    /// A name of letters, digits, `-` and `_` that may be absent.
    pub fn optional_name(&mut self, name: &str) -> Option<String> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        self.optional(name, "a name of letters, digits, - and _", |text| {
            text.bytes().all(is_valid).then(|| text.to_owned())
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |text| text.parse().ok())
    }

    /// A duration such as `15m`.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        self.parsed(
            name,
            default,
            "a duration such as 30s, 15m, 1h or 7d",
            parse_duration,
        )
    }

    /// A duration of at least a second: less would hand out what has expired already.
    pub fn lifetime(&mut self, name: &str, default: Duration) -> Duration {
        let parse = |text: &str| parse_duration(text).filter(|duration| !duration.is_zero());
        self.parsed(
            name,
            default,
            "a duration such as 30s, 15m, 1h or 7d",
            parse,
        )
    }

    /// A whole number within a range.
    pub fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let form = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &form, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// DynamoDB, as the SDK's variables say.
    pub fn dynamodb(&mut self) -> DynamoDb {
        if let Some(dynamodb) = &self.dynamodb {
            return dynamodb.clone();
        }
        let dynamodb = DynamoDb::new(&aws::config(self, "DYNAMODB"));
        self.dynamodb.insert(dynamodb).clone()
    }

    /// A client of SES, as the SDK's variables say, that gives up after this time.
    pub fn ses(&mut self, timeout: Duration) -> aws_sdk_sesv2::Client {
        aws::ses(&aws::config(self, "SESV2"), timeout)
    }

    /// The sessions in Redis.
    pub fn sessions(&mut self) -> Sessions {
        Sessions::new(self.redis())
    }

    /// The reset tokens in Redis.
    pub fn reset_tokens(&mut self) -> ResetTokens {
        ResetTokens::new(self.redis())
    }

    /// What counts requests.
    pub fn rate_limiter(&mut self) -> RateLimiter {
        RateLimiter::new(self.redis())
    }

    /// What the limits are where they have no variable of their own.
    pub fn rate_limits(&mut self) -> Preset {
        if let Some(preset) = self.preset {
            return preset;
        }
        let (default, form) = (Preset::Strict, "strict, balanced or off");
        let preset = self.parsed("RATE_LIMITS", default, form, Preset::parse);
        *self.preset.insert(preset)
    }

    /// The limit `RATE_LIMIT_<name>`, or else that of the preset, given the strict one; `None` if it is off.
    pub fn rate_limit(&mut self, name: &str, strict: &str) -> Option<Policy> {
        let preset = self.rate_limits();
        let strict = parse_limit(strict).flatten();
        let default = strict.and_then(|strict| preset.limit(name, strict));
        let limit = self.limit_or(&format!("RATE_LIMIT_{name}"), default)?;
        let name = name.to_ascii_lowercase().replace('_', "-");
        Some(Policy { name, limit })
    }

    /// What counts wrong passwords at login: `LOGIN_LOCKOUT`, and `ACCOUNT_LOCKOUT` whatever was typed.
    pub fn login_lockout(&mut self) -> LoginLockout {
        LoginLockout {
            limiter: self.rate_limiter(),
            hasher: TextHasher::new(&self.secret("GUARD_SECRET")),
            policy: self.lockout("LOGIN_LOCKOUT", "5/15m", "login-lockout"),
            account_policy: self.lockout("ACCOUNT_LOCKOUT", "20/15m", "account-lockout"),
        }
    }

    fn lockout(&mut self, variable: &str, default: &str, name: &str) -> Option<Policy> {
        let name = name.to_owned();
        let limit = self.limit(variable, default)?;
        Some(Policy { name, limit })
    }

    /// What asks those who are signed in for their password.
    pub fn password_check(&mut self, dynamodb: &DynamoDb, audit: &Audit) -> PasswordCheck {
        let table = self.text("CREDENTIALS_TABLE");
        PasswordCheck {
            credentials: Credentials::new(dynamodb.clone(), table),
            hasher: self.password_hasher(),
            lockout: SessionLockout {
                limiter: self.rate_limiter(),
                policy: self.lockout("LOGIN_LOCKOUT", "5/15m", "reauthentication-lockout"),
            },
            audit: audit.clone(),
        }
    }

    /// The same, for those who have not signed in a moment ago: `RECENT_SIGN_IN`.
    pub fn reauthentication(&mut self, dynamodb: &DynamoDb, audit: &Audit) -> Reauthentication {
        Reauthentication {
            password: self.password_check(dynamodb, audit),
            recent: self.duration("RECENT_SIGN_IN", minutes(10)),
        }
    }

    /// What the second factor needs, on this table.
    pub fn second_factor(
        &mut self,
        dynamodb: DynamoDb,
        table: String,
        audit: Audit,
        outbox: Outbox,
    ) -> SecondFactor {
        let secret = self.secret("DATA_ENCRYPTION_KEY");
        let previous = self.optional_secret("DATA_ENCRYPTION_KEY_PREVIOUS");
        SecondFactor {
            store: TwoFactor::new(dynamodb.clone(), table),
            cipher: Cipher::new(&secret, previous.as_ref()),
            lockout: CodeLockout {
                limiter: self.rate_limiter(),
                policy: self.lockout("TWO_FACTOR_LOCKOUT", "10/15m", "two-factor-lockout"),
            },
            audit,
            outbox,
            dynamodb,
        }
    }

    fn limit(&mut self, name: &str, default: &str) -> Option<Limit> {
        self.limit_or(name, parse_limit(default).flatten())
    }

    fn limit_or(&mut self, name: &str, default: Option<Limit>) -> Option<Limit> {
        self.parsed(name, default, "a limit such as 5/15m, or off", parse_limit)
    }

    fn redis(&mut self) -> Arc<Redis> {
        if let Some(redis) = &self.redis {
            return redis.clone();
        }
        let redis = Arc::new(self.connect_redis());
        self.redis.insert(redis).clone()
    }

    fn connect_redis(&mut self) -> Redis {
        let url = self.optional_text("REDIS_URL").unwrap_or_default();
        if self.is_production && url.starts_with("redis://") {
            let problem = "REDIS_URL must be a rediss:// URL, with TLS, in prod".to_owned();
            self.problems.push(problem);
        }
        let config = redis::Config {
            url: SecretString::from(self.text("REDIS_URL")),
            is_cluster: self.boolean("REDIS_CLUSTER", false),
            ca: self.optional("REDIS_CA", "certificates in PEM", |text| {
                are_certificates(text).then(|| text.to_owned())
            }),
        };
        Redis::new(&config).unwrap_or_else(|redis::InvalidUrl| {
            if !config.url.expose_secret().is_empty() {
                let problem = "REDIS_URL must be a redis:// or rediss:// URL".to_owned();
                self.problems.push(problem);
            }
            Redis::nowhere()
        })
    }

    /// What issues both kinds of token.
    pub fn token_issuer(&mut self) -> TokenIssuer {
        let expiry = self.lifetime("JWT_EXPIRY", minutes(15));
        let refresh = self.signing("JWT_REFRESH_SECRET");
        TokenIssuer {
            access: AccessTokenIssuer::new(self.signing("JWT_SECRET"), expiry),
            csrf: CsrfTokens::new(&self.secret("GUARD_SECRET"), None),
            refresh: RefreshTokenIssuer::new(refresh),
        }
    }

    /// What issues device tokens.
    pub fn device_token_issuer(&mut self) -> DeviceTokenIssuer {
        DeviceTokenIssuer::new(self.signing("GUARD_SECRET"))
    }

    /// What verifies device tokens.
    pub fn device_token_verifier(&mut self) -> DeviceTokenVerifier {
        DeviceTokenVerifier::new(self.verifying("GUARD_SECRET"))
    }

    /// What checks requests that come with a cookie.
    pub fn cookie_check(&mut self) -> CookieCheck {
        let (name, form) = (
            "CORS_ALLOWED_ORIGINS",
            "origins such as https://app.example.com, separated by commas",
        );
        let origins = self.parsed(name, Vec::new(), form, parse_origins);
        let is_secure = |origin: &String| origin.starts_with("https://");
        if self.is_production && !origins.iter().all(is_secure) {
            self.problems
                .push(format!("{name} must be https: origins in prod"));
        }
        let secret = self.secret("GUARD_SECRET");
        let previous = self.optional_secret("GUARD_SECRET_PREVIOUS");
        CookieCheck {
            origins,
            csrf_tokens: CsrfTokens::new(&secret, previous.as_ref()),
        }
    }

    /// What verifies access tokens.
    pub fn access_token_verifier(&mut self) -> AccessTokenVerifier {
        AccessTokenVerifier::new(self.verifying("JWT_SECRET"))
    }

    /// What verifies refresh tokens.
    pub fn refresh_token_verifier(&mut self) -> RefreshTokenVerifier {
        RefreshTokenVerifier::new(self.verifying("JWT_REFRESH_SECRET"))
    }

    fn signing(&mut self, secret: &str) -> SigningConfig {
        SigningConfig {
            secret: self.secret(secret),
            issuer: self.text("JWT_ISSUER"),
            audience: self.text("JWT_AUDIENCE"),
        }
    }

    fn verifying(&mut self, secret: &str) -> VerifyingConfig {
        VerifyingConfig {
            current: self.signing(secret),
            previous_secret: self.optional_secret(&format!("{secret}_PREVIOUS")),
        }
    }

    /// What removes accounts whose address nobody has proven.
    pub fn unproven_accounts(&mut self) -> UnprovenAccounts {
        let dynamodb = self.dynamodb();
        let users = self.text("USERS_TABLE");
        let credentials = self.text("CREDENTIALS_TABLE");
        UnprovenAccounts {
            users: Users::new(dynamodb.clone(), users.clone()),
            two_factor: TwoFactor::new(dynamodb.clone(), credentials.clone()),
            credentials: Credentials::new(dynamodb.clone(), credentials),
            mailed_tokens: MailedTokens::new(dynamodb.clone(), users.clone()),
            audit: Audit::new(dynamodb.clone(), users),
            dynamodb,
        }
    }

    /// What authenticates requests, with its own connections.
    pub fn authenticator(&mut self, users: Users) -> Authenticator {
        Authenticator {
            sessions: self.sessions(),
            users,
        }
    }

    /// From one refresh to the last moment for the next.
    pub fn refresh_expiry(&mut self) -> Duration {
        self.lifetime("JWT_REFRESH_EXPIRY", days(7))
    }

    /// The same, for those who asked to be remembered.
    pub fn remember_me_expiry(&mut self) -> Duration {
        self.lifetime("REMEMBER_ME_EXPIRY", days(30))
    }

    /// From the registration to the end of an account whose address nobody proves, where that is required.
    pub fn unverified_account_expiry(&mut self) -> Duration {
        self.lifetime("UNVERIFIED_ACCOUNT_EXPIRY", days(7))
    }

    /// From sign-in to the end of a session.
    pub fn session_max_age(&mut self) -> Duration {
        self.lifetime("SESSION_MAX_AGE", days(30))
    }

    /// How long a refresh token that was just replaced still returns its successor.
    pub fn refresh_grace(&mut self) -> Duration {
        self.duration("REFRESH_GRACE", Duration::from_secs(10))
    }

    /// What a new password must satisfy.
    pub fn password_policy(&mut self) -> password::Policy {
        password::Policy {
            minimum_length: self.number("PASSWORD_MIN_LENGTH", 8, 8..=64) as usize,
            symbol_is_required: self.boolean("PASSWORD_REQUIRE_SYMBOL", false),
            application_name: self.text("APP_NAME"),
        }
    }

    /// What hashes passwords. Production refuses less than OWASP's floor (Password Storage Cheat
    /// Sheet: 19 MiB, 2 iterations, 1 lane); elsewhere 1 MiB, 1, 1 is allowed.
    pub fn password_hasher(&mut self) -> PasswordHasher {
        let (memory_floor, iterations_floor) = match self.is_production {
            true => (19 * 1024, 2),
            false => (1024, 1),
        };
        // The ceilings are far above what anybody would wait for, and keep all within Argon2's own.
        let cost = Cost {
            memory_kib: self.number("ARGON2_MEMORY_KIB", 65_536, memory_floor..=4 * 1024 * 1024),
            iterations: self.number("ARGON2_ITERATIONS", 3, iterations_floor..=1000),
            parallelism: self.number("ARGON2_PARALLELISM", 4, 1..=64),
        };
        let memory = self.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0, 0..=u32::MAX);
        let processors = (memory / MEMORY_OF_A_PROCESSOR).max(1);
        let hasher = PasswordHasher::new(cost, processors as usize);
        // An environment that is kept for later is frozen as soon as it asks for work.
        let kind = self.optional_text("AWS_LAMBDA_INITIALIZATION_TYPE");
        if kind.as_deref() == Some("provisioned-concurrency") {
            hasher.prepare();
        }
        hasher
    }
}

fn minutes(number: u64) -> Duration {
    Duration::from_secs(number * 60)
}

fn days(number: u64) -> Duration {
    Duration::from_secs(number * 24 * 60 * 60)
}

fn are_certificates(pem: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

/// Of the web, or of an app (`myapp://open`); of no other scheme that a browser knows.
fn is_of_pages(url: &Url) -> bool {
    let others = [
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
    url.has_host() && !others.contains(&url.scheme())
}

fn parse_origins(text: &str) -> Option<Vec<String>> {
    let origins = text.split(',').map(str::trim);
    origins
        .map(|text| origin::is_listable(text).then(|| text.to_owned()))
        .collect()
}

/// `5/15m`: so many within a duration of at least a second; `off`: none.
fn parse_limit(text: &str) -> Option<Option<Limit>> {
    if text == "off" {
        return Some(None);
    }
    let (most, window) = text.split_once('/')?;
    let is_number = most.bytes().all(|byte| byte.is_ascii_digit());
    let most = most.parse().ok().filter(|most| is_number && *most > 0)?;
    let window = parse_duration(window).filter(|window| !window.is_zero())?;
    Some(Some(Limit { most, window }))
}

/// A duration as `humantime` reads it, in whole seconds, at most ten years, so that no sum overflows. The crate takes `15M`
/// for months, which here is a slip of the finger.
fn parse_duration(text: &str) -> Option<Duration> {
    let is_slip = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let duration = humantime::parse_duration(text).ok()?;
    let is_whole = duration.subsec_nanos() == 0;
    (is_whole && !is_slip && duration <= days(3650)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(variables: &'static [(&'static str, &'static str)]) -> Environment {
        Environment::new(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_problem_is_named_and_no_value_is() {
        let mut environment = environment(&[
            ("JWT_SECRET", "too-short-to-be-used"),
            ("JWT_SECRET_PREVIOUS", "short-too"),
            ("JWT_AUDIENCE", "audience"),
            ("JWT_EXPIRY", "15 bananas"),
            ("REDIS_URL", "http://example.com"),
            ("REDIS_CA", "no-certificate"),
            ("PASSWORD_MIN_LENGTH", "7"),
            ("JWT_REFRESH_EXPIRY", "0s"),
            ("ENVIRONMENT", "production"),
        ]);
        environment.token_issuer();
        environment.access_token_verifier();
        environment.sessions();
        environment.password_policy();
        environment.refresh_expiry();

        let error = environment.finish(()).unwrap_err().to_string();

        for problem in [
            "JWT_SECRET is shorter than 32 bytes",
            "JWT_SECRET_PREVIOUS is shorter than 32 bytes",
            "JWT_ISSUER is missing",
            "JWT_EXPIRY must be a duration",
            "REDIS_URL must be a redis:// or rediss:// URL",
            "REDIS_CA must be certificates in PEM",
            "PASSWORD_MIN_LENGTH must be a whole number from 8 to 64",
            "JWT_REFRESH_EXPIRY must be a duration",
            "APP_NAME is missing",
            "ENVIRONMENT must be dev, staging or prod",
        ] {
            assert!(error.contains(problem), "{problem}: {error}");
        }
        for value in [
            "too-short-to-be-used",
            "short-too",
            "bananas",
            "example.com",
            "no-certificate",
        ] {
            assert!(!error.contains(value), "{value}: {error}");
        }
    }

    #[test]
    fn fips_and_dual_stack_are_the_regions_endpoints_alone() {
        let other = ("AWS_ENDPOINT_URL", "https://dynamodb.example");
        for (variables, is_refused) in [
            (vec![other, ("AWS_USE_FIPS_ENDPOINT", "true")], true),
            (vec![other, ("AWS_USE_DUALSTACK_ENDPOINT", "true")], true),
            (vec![other, ("AWS_USE_FIPS_ENDPOINT", "false")], false),
            (vec![("AWS_USE_FIPS_ENDPOINT", "true")], false),
        ] {
            let mut environment = Environment::new(move |name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            environment.dynamodb();

            let error = environment.finish(()).err().map(|error| error.to_string());

            let problem = error.is_some_and(|error| error.contains("AWS_ENDPOINT_URL"));
            assert_eq!(problem, is_refused);
        }
    }

    #[test]
    fn absent_and_empty_variables_have_their_defaults() {
        let mut environment = environment(&[("JWT_REFRESH_EXPIRY", ""), ("ENVIRONMENT", "prod")]);

        let refresh_expiry = environment.refresh_expiry();
        let hasher = environment.password_hasher();

        assert_eq!(refresh_expiry, days(7));
        let cost = Cost {
            memory_kib: 65_536,
            iterations: 3,
            parallelism: 4,
        };
        assert_eq!(hasher.cost(), cost);
        assert!(environment.finish(()).is_ok());
    }

    #[test]
    fn production_refuses_a_cost_below_the_floor() {
        let mut dev = environment(&[
            ("ENVIRONMENT", "dev"),
            ("ARGON2_MEMORY_KIB", "1024"),
            ("ARGON2_ITERATIONS", "1"),
        ]);
        let mut production = environment(&[
            ("ENVIRONMENT", "prod"),
            ("ARGON2_MEMORY_KIB", "1024"),
            ("ARGON2_ITERATIONS", "1"),
        ]);

        dev.password_hasher();
        production.password_hasher();

        assert!(dev.finish(()).is_ok());
        let error = production.finish(()).unwrap_err().to_string();
        assert!(
            error.contains("ARGON2_MEMORY_KIB must be a whole number from 19456"),
            "{error}"
        );
        assert!(
            error.contains("ARGON2_ITERATIONS must be a whole number from 2"),
            "{error}"
        );
    }

    /// The table of the README.
    #[test]
    fn every_limit_is_as_the_preset_says_or_as_its_own_variable() {
        const GIVEN: (&str, &str) = ("RATE_LIMIT_REFRESH", "7/1m");
        for (name, strict, balanced) in [
            ("GLOBAL", "100/15m", "1000/15m"),
            ("GUEST", "5/1m", "60/1m"),
            ("USER", "15/1m", "120/1m"),
            ("ADMIN", "30/1m", "300/1m"),
            ("LOGIN", "5/15m", "10/15m"),
            ("REGISTER", "5/15m", "10/15m"),
            ("PASSWORD_RESET_CONFIRM", "5/15m", "10/15m"),
            ("EMAIL_VERIFICATION", "10/15m", "20/15m"),
            ("PASSWORD_RESET", "3/1h", "6/1h"),
            ("EMAIL_RESEND", "3/1h", "6/1h"),
            ("PASSWORD_CHANGE", "5/15m", "10/15m"),
            ("ACCOUNT_DELETE", "5/15m", "10/15m"),
            ("TWO_FACTOR", "10/15m", "20/15m"),
            ("PROFILE", "20/15m", "off"),
            ("SESSIONS", "20/15m", "off"),
        ] {
            for (mut environment, expected) in [
                (environment(&[GIVEN]), strict),
                (environment(&[("RATE_LIMITS", "strict"), GIVEN]), strict),
                (environment(&[("RATE_LIMITS", "balanced"), GIVEN]), balanced),
                (environment(&[("RATE_LIMITS", "off"), GIVEN]), "off"),
            ] {
                let policy = environment.rate_limit(name, strict);
                let limit = policy.map(|policy| policy.limit);
                assert_eq!(Some(limit), parse_limit(expected), "{name} {expected}");

                let given = environment.rate_limit("REFRESH", "30/15m").unwrap();
                assert_eq!(Some(Some(given.limit)), parse_limit("7/1m"));
            }
        }
    }

    #[test]
    fn production_refuses_what_is_fine_for_trying_out() {
        const TRYING_OUT: [(&str, &str); 11] = [
            ("REDIS_URL", "redis://127.0.0.1:6379"),
            (
                "CORS_ALLOWED_ORIGINS",
                "https://app.example.com,http://localhost:3000",
            ),
            ("FRONTEND_URL", "HTTP://app.example.com"),
            ("JWT_SECRET", "only-an-example-of-an-access-secret"),
            (
                "JWT_SECRET_PREVIOUS",
                " Only-An-Example-of-an-access-secret",
            ),
            ("JWT_REFRESH_SECRET", "the same secret for all purposes"),
            ("DATA_ENCRYPTION_KEY", "the same secret for all purposes"),
            ("EMAIL_TOKEN_SECRET", "the same secret for all purposes"),
            ("GUARD_SECRET", "a secret of thirty-two bytes: one"),
            ("JWT_ISSUER", "issuer"),
            ("JWT_AUDIENCE", "audience"),
        ];
        let problems = |name: &'static str| {
            let given = move |asked: &str| {
                let mut given = TRYING_OUT.iter().chain(&[("ENVIRONMENT", "")]);
                let found = given.find(|(known, _)| *known == asked)?.1;
                Some(if asked == "ENVIRONMENT" { name } else { found }.to_owned())
            };
            let mut environment = Environment::new(given);
            environment.cookie_check();
            environment.token_issuer();
            environment.access_token_verifier();
            environment.device_token_issuer();
            environment.secret("DATA_ENCRYPTION_KEY");
            environment.secret("EMAIL_TOKEN_SECRET");
            environment.sessions();
            environment.url("FRONTEND_URL");
            environment.finish(()).err().map(|error| error.problems)
        };

        assert_eq!(problems("dev"), None);
        assert_eq!(problems("staging"), None);
        let mut found = problems("prod").unwrap();
        found.sort();
        let expected = [
            "CORS_ALLOWED_ORIGINS must be https: origins in prod",
            "DATA_ENCRYPTION_KEY is the same as JWT_REFRESH_SECRET",
            "EMAIL_TOKEN_SECRET is the same as DATA_ENCRYPTION_KEY",
            "EMAIL_TOKEN_SECRET is the same as JWT_REFRESH_SECRET",
            "FRONTEND_URL must be an https: URL in prod",
            "JWT_SECRET is an example",
            "JWT_SECRET_PREVIOUS is an example",
            "REDIS_URL must be a rediss:// URL, with TLS, in prod",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn production_takes_what_is_made_for_it() {
        let mut environment = environment(&[
            ("ENVIRONMENT", "prod"),
            ("REDIS_URL", "rediss://cache.example.com:6379"),
            ("CORS_ALLOWED_ORIGINS", "https://app.example.com"),
            ("FRONTEND_URL", "https://app.example.com"),
            ("JWT_SECRET", "a secret of thirty-two bytes: one"),
            ("JWT_SECRET_PREVIOUS", "none"),
            ("JWT_REFRESH_SECRET", "a secret of thirty-two bytes: two"),
            ("GUARD_SECRET", "a secret of thirty-two bytes: five"),
            (
                "TRUSTED_PROXY_SECRET",
                "a secret of thirty-two bytes: three, a secret of thirty-two bytes: four",
            ),
            ("JWT_ISSUER", "issuer"),
            ("JWT_AUDIENCE", "audience"),
        ]);
        environment.cookie_check();
        environment.token_issuer();
        environment.access_token_verifier();
        environment.secrets("TRUSTED_PROXY_SECRET");
        environment.sessions();
        environment.url("FRONTEND_URL");

        let refused = environment.finish(()).err();

        assert!(refused.is_none(), "{refused:?}");
    }

    #[test]
    fn durations_by_example() {
        for (text, seconds) in [
            ("0s", 0),
            ("30s", 30),
            ("15m", 900),
            ("1h", 3600),
            ("7d", 604_800),
            ("1h 30m", 5400),
            ("3650d", 315_360_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "15",
            "15M",
            "1ms",
            "1.5s",
            "-1s",
            "+1s",
            "3651d",
            "99999999999999999999d",
            "1м",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_a_duration_never_panics(text in any::<String>()) {
            let _ = parse_duration(&text);
        }
    }
}
