use shared::api::User;
use shared::api::login::LoginAnswer;
use shared::auth::sign_in::{Client, Proof};
use shared::domain::password_hash::Verification;
use shared::domain::user::SignInAllowed;
use shared::error::ApiError;
use shared::http::{Request, Response};
use shared::serve::RequestLimits;
use shared::store::audit::Event;
use shared::telemetry;

use crate::account::Account;
use crate::app::App;
use crate::failures::refuse;
use crate::password::{proof, rehash};
use crate::request::Login;

pub async fn login(
    app: &App,
    request: Request,
    limits: RequestLimits,
) -> Result<Response, ApiError> {
    let result = exchange(app, &request, &limits).await;
    let outcome = result.as_ref().map_or_else(ApiError::code, |_| "success");
    telemetry::count("Logins", &[("Outcome", outcome)]);
    result
}

async fn exchange(
    app: &App,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let login = Login::read(request)?;
    let account = Account::find(app, &login.identifier, request).await;
    if let Err(ApiError::ServiceUnavailable(_)) = account {
        limits.take_back().await; // an outage is not the client's failure
    }
    let account = account?;
    let verification = telemetry::hashing(|| app.hasher.verify(&login.password, &account.hash));
    let is_wrong = matches!(verification, Ok(Verification::Mismatch));
    let result = match verification {
        Ok(verification) => judge(app, &login, &account, verification, request, limits).await,
        Err(unknown_hash) => Err(unknown_hash.into()),
    };
    // Every attempt counts as a wrong password at first; a right one is taken back. A deleted account is the exception:
    // it answers like a wrong password, and so must its count.
    if !is_wrong && !matches!(result, Ok(_) | Err(ApiError::InvalidCredentials)) {
        let lockout = account.attempt.take_back(request.client());
        match &result {
            // The client knows the password; something else is missing.
            Err(error)
                if error.holds_proof() || matches!(error, ApiError::ServiceUnavailable(_)) =>
            {
                tokio::join!(lockout, limits.take_back_of_owner());
            }
            _ => lockout.await,
        }
    }
    result
}

/// Decides about a sign-in by the password and the account. The account's state is revealed only after the right
/// password: whoever knows the password may know the state.
async fn judge(
    app: &App,
    login: &Login,
    account: &Account,
    verification: Verification,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let client = request.client();
    let is_match = verification != Verification::Mismatch;
    let Some(user) = account.user.as_ref().filter(|_| is_match) else {
        return refuse(app, account, ApiError::InvalidCredentials, client).await;
    };
    let allowed = match app.sign_in.check(user, ApiError::InvalidCredentials) {
        Ok(allowed) => allowed,
        Err(error) => return refuse(app, account, error, client).await,
    };
    let code = match (user.two_factor_enabled, &login.code) {
        (false, _) => None,
        (true, None) => {
            return refuse(app, account, ApiError::TwoFactorRequired, client).await;
        }
        (true, Some(code)) => {
            let checked = app.two_factor.check(user, code, Event::Login, client);
            match checked.await {
                Ok(code) => Some(code),
                Err(error) => {
                    if let ApiError::TwoFactorInvalid = error {
                        app.failures.count(user, client).await?;
                    }
                    return Err(error);
                }
            }
        }
    };
    let hashes = match verification {
        Verification::MatchOutdated => rehash(app, user.id, login, account, request).await,
        _ => Ok([account.hash.clone(), account.hash.clone()]),
    };
    let result = match hashes {
        Ok(hashes) => {
            let proof = proof(app, user.id, &hashes, code.as_ref(), client);
            start(app, allowed, account, proof, login, request, limits).await
        }
        Err(error) => Err(error),
    };
    if let Some(code) = &code {
        app.two_factor.settle(code, &result, client).await;
    }
    result
}

async fn start(
    app: &App,
    allowed: SignInAllowed<'_>,
    account: &Account,
    proof: Proof,
    login: &Login,
    request: &Request,
    limits: &RequestLimits,
) -> Result<Response, ApiError> {
    let client = Client {
        request,
        device: account.device,
        is_known: account.client_is_known,
        is_remembered: login.remember_me,
        delivery: login.delivery,
    };
    let settle = async {
        let forgive = account.attempt.forgive(request.client());
        tokio::join!(forgive, limits.take_back_of_owner());
    };
    let started = app.sign_in.start(allowed, proof, &client, settle);
    let tokens = started.await?;
    let leaked = app.leaked_passwords.as_ref();
    let is_leaked = leaked.is_some_and(|leaked| leaked.contains(login.password.as_bytes()));
    let body = LoginAnswer {
        user: User::signed_in(allowed.user(), request.received_at()),
        tokens: tokens.body,
        password_leaked: is_leaked.then_some(true),
    };
    Ok(Response::ok("Signed in.", body).with_cookies(tokens.cookies))
}
