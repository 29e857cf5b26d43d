//! The settings of all types together: every problem at once, and what production refuses.

use shared::auth::frontends::Frontends;
use shared::auth::token_issuer::TokenIssuer;
use shared::auth::tokens::refresh_expiry;
use shared::config::Environment;
use shared::domain::device_token::DeviceTokenIssuer;
use shared::domain::duration::days;
use shared::domain::password::Policy;
use shared::domain::password_hash::{Cost, PasswordHasher};
use shared::domain::token::AccessTokenVerifier;
use shared::http::cookie_mode::CsrfProtection;
use shared::store::dynamodb::DynamoDb;
use shared::store::sessions::Sessions;

#[test]
fn every_problem_is_named_and_no_value_is() {
    let mut environment = Environment::of(&[
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
    TokenIssuer::from_env(&mut environment);
    AccessTokenVerifier::from_env(&mut environment);
    Sessions::from_env(&mut environment);
    Policy::from_env(&mut environment);
    refresh_expiry(&mut environment);

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
        let mut environment = Environment::of(&variables);
        DynamoDb::from_env(&mut environment);

        let error = environment.finish(()).err().map(|error| error.to_string());

        let problem = error.is_some_and(|error| error.contains("AWS_ENDPOINT_URL"));
        assert_eq!(problem, is_refused);
    }
}

#[test]
fn absent_and_empty_variables_have_their_defaults() {
    let mut environment = Environment::of(&[("JWT_REFRESH_EXPIRY", ""), ("ENVIRONMENT", "prod")]);

    let expiry = refresh_expiry(&mut environment);
    let hasher = PasswordHasher::from_env(&mut environment);

    assert_eq!(expiry, days(7));
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
    let mut dev = Environment::of(&[
        ("ENVIRONMENT", "dev"),
        ("ARGON2_MEMORY_KIB", "1024"),
        ("ARGON2_ITERATIONS", "1"),
    ]);
    let mut production = Environment::of(&[
        ("ENVIRONMENT", "prod"),
        ("ARGON2_MEMORY_KIB", "1024"),
        ("ARGON2_ITERATIONS", "1"),
    ]);

    PasswordHasher::from_env(&mut dev);
    PasswordHasher::from_env(&mut production);

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
        CsrfProtection::from_env(&mut environment);
        TokenIssuer::from_env(&mut environment);
        AccessTokenVerifier::from_env(&mut environment);
        DeviceTokenIssuer::from_env(&mut environment);
        environment.secret("DATA_ENCRYPTION_KEY");
        environment.secret("EMAIL_TOKEN_SECRET");
        Sessions::from_env(&mut environment);
        Frontends::from_env(&mut environment);
        environment
            .finish(())
            .err()
            .map(|error| error.problems().to_vec())
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
    let mut environment = Environment::of(&[
        ("ENVIRONMENT", "prod"),
        ("REDIS_URL", "rediss://cache.example.com:6379"),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://app.example.com,capacitor://localhost",
        ),
        ("FRONTEND_URL", "https://app.example.com,myapp://open"),
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
    CsrfProtection::from_env(&mut environment);
    TokenIssuer::from_env(&mut environment);
    AccessTokenVerifier::from_env(&mut environment);
    environment.secrets("TRUSTED_PROXY_SECRET");
    Sessions::from_env(&mut environment);
    Frontends::from_env(&mut environment);

    let refused = environment.finish(()).err();

    assert!(refused.is_none(), "{refused:?}");
}
