//! Time-based one-time passwords (RFC 6238): SHA-1, 6 digits, 30 seconds, as supported by every authenticator app.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Algorithm, Builder, Totp};
use validator::ValidationError;
use zeroize::Zeroizing;

use super::characters::compact;
use super::rule::{Parse, rule};
use super::timestamp::Timestamp;

/// The secret shared with an authenticator app: 160 bits (RFC 4226, 4, R6).
pub struct TotpSecret(Zeroizing<[u8; Self::BYTES]>);

/// Six digits.
#[derive(Clone, Debug, JsonSchema)]
pub struct TotpCode(#[schemars(with = "String", regex(pattern = "^[0-9]{6}$"))] SecretString);

/// A period of 30 seconds, counted from the Unix epoch.
pub type Step = u64;

impl Parse for TotpCode {
    /// Parses a code, with or without the spaces or hyphens that apps show.
    fn parse(text: &str) -> Result<Self, ValidationError> {
        let code = compact(text);
        if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(SecretString::from(code)))
        } else {
            Err(rule("invalid_code", "must be six digits"))
        }
    }
}

impl TotpSecret {
    /// The length of a secret in bytes.
    pub const BYTES: usize = 20;

    /// Creates a secret from new or stored bytes.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, to be stored encrypted.
    pub fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns the step of the code: the current one, or one step before or after it (RFC 6238, 5.2). Only the store
    /// knows whether it was used before.
    pub fn verify(&self, code: &TotpCode, now: Timestamp) -> Option<Step> {
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        self.totp(None, "").check(code.0.expose_secret(), seconds)
    }

    /// Returns the secret in base32, for typing.
    pub fn base32(&self) -> SecretString {
        SecretString::from(self.totp(None, "").secret().to_base32())
    }

    /// Returns the URL for an app (Key URI format), with the account and the issuer.
    #[expect(clippy::expect_used, reason = "an account is never empty")]
    pub fn url(&self, issuer: &str, account: &str) -> SecretString {
        let url = self.totp(Some(issuer), account).to_url();
        SecretString::from(url.expect("a URL of an account"))
    }

    /// Returns the URL as a QR code: a PNG image, as a `data:` URL.
    #[expect(clippy::expect_used, reason = "an address and a name are short enough")]
    pub fn qr_code_url(&self, issuer: &str, account: &str) -> SecretString {
        let png = self.totp(Some(issuer), account).to_qr_png();
        let png = STANDARD.encode(png.expect("a QR code of a URL"));
        SecretString::from(format!("data:image/png;base64,{png}"))
    }

    fn totp(&self, issuer: Option<&str>, account: &str) -> Totp {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(1)
            .with_step_duration(30)
            .with_secret(self.0.to_vec())
            .with_issuer(issuer.map(label))
            .with_account_name(label(account))
            .build_noncompliant() // it is compliant: everything is set
    }
}

/// Returns the account name for an app. Apps overwrite an entry of the same issuer and account. So if there are other
/// devices, the label contains the device's name, and if another device has the same name, a part of the device's id.
pub fn account_label<'a>(
    address: &str,
    device: &str,
    id: &str,
    mut others: impl Iterator<Item = &'a str> + Clone,
) -> String {
    if others.clone().next().is_none() {
        return address.to_owned();
    }
    let is_used = others.any(|other| other == device);
    let part = &id[id.len().saturating_sub(4)..];
    match is_used {
        true => format!("{address} ({device} {part})"),
        false => format!("{address} ({device})"),
    }
}

/// Prepares a text for a label. A colon would end the issuer in the URL, and a text that takes more than 600 characters
/// in a URL would not fit into a QR code.
fn label(text: &str) -> String {
    let mut length = 0;
    let text = text.replace(':', " ");
    let fits = |c: &char| {
        length += if c.is_ascii_alphanumeric() {
            1
        } else {
            3 * c.len_utf8()
        };
        length <= 600
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(seconds * 1000)
    }

    fn code(text: &str) -> TotpCode {
        TotpCode::parse(text).unwrap()
    }

    #[test]
    fn each_device_has_a_label_of_its_own_in_an_app() {
        let label = |others: &[&str]| {
            let others = others.iter().copied();
            account_label("ada@example.com", "Phone", "01ABCDEF", others)
        };

        assert_eq!(label(&[]), "ada@example.com");
        assert_eq!(label(&["Tablet"]), "ada@example.com (Phone)");
        assert_eq!(label(&["Tablet", "Phone"]), "ada@example.com (Phone CDEF)");
    }

    /// RFC 6238, appendix B, for SHA-1; the last six of its eight digits.
    #[test]
    fn codes_are_those_of_rfc_6238() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        assert_eq!(secret.expose(), b"12345678901234567890");
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = u64::try_from(seconds / 30).unwrap();
            assert_eq!(secret.verify(&code(expected), at(seconds)), Some(step));
        }
    }

    #[test]
    fn the_window_is_one_step_to_each_side_to_the_second() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let code = code("050471"); // valid in the step from 1111111110 to 1111111139
        for (seconds, is_accepted) in [
            (1_111_111_079, false),
            (1_111_111_080, true),
            (1_111_111_109, true),
            (1_111_111_110, true),
            (1_111_111_139, true),
            (1_111_111_140, true),
            (1_111_111_169, true),
            (1_111_111_170, false),
        ] {
            let step = secret.verify(&code, at(seconds));
            assert_eq!(step, is_accepted.then_some(37_037_037), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_six_digits_however_they_are_typed() {
        for good in ["318799", "318 799", " 318799 ", "318-799", "３１８７９９"] {
            assert_eq!(code(good).0.expose_secret(), "318799", "{good}");
        }
        for bad in [
            "", "12345", "1234567", "12345a", "123.456", "+123456", "+12345", "-12345", "1234 5",
        ] {
            assert!(TotpCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_names_fit_into_a_qr_code() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let long = "\u{1F511}".repeat(254);

        assert!(
            secret
                .qr_code_url(&long, &long)
                .expose_secret()
                .starts_with("data:image/png;base64,")
        );
        assert!(
            secret
                .url("A", &"a".repeat(254))
                .expose_secret()
                .contains(&"a".repeat(254))
        );
    }

    #[test]
    fn the_url_names_issuer_and_account() {
        let secret = TotpSecret::new(*b"12345678901234567890");

        assert_eq!(
            secret.base32().expose_secret(),
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        );
        assert_eq!(
            secret.url("A & B: C", "ada@example.com").expose_secret(),
            "otpauth://totp/A%20%26%20B%20%20C:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=A%20%26%20B%20%20C"
        );
    }
}
