//! The contract: a type for each request body and each answer, by the endpoint's name. serde reads and writes them,
//! `validator` checks the requests, `schemars` describes all of them.

mod answer;
pub mod change_password;
pub mod delete_account;
mod field;
pub mod login;
pub mod logout;
pub mod profile;
pub mod refresh;
pub mod register;
pub mod reset_confirm;
pub mod reset_request;
pub mod sessions;
mod tokens;
pub mod two_factor_disable;
pub mod two_factor_setup;
pub mod two_factor_verify;
mod user;
pub mod verify_email;
pub mod verify_resend;

pub use answer::{Detail, Empty, Failure, Success};
pub(crate) use field::required;
pub use field::{Field, FromJson};
pub use tokens::Tokens;
pub use user::User;
