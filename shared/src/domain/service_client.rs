//! Services that ask about tokens, each with a secret of its own (RFC 6749, 2.3.1).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;

/// The maximum number of entries.
const MAX_ENTRIES: usize = 50;

/// The services that may ask, with the SHA-256 of their secrets. A plain hash is enough: the secrets are random and long
/// (`infra/service-client` makes them), so nobody guesses one.
#[derive(Clone, Debug, Default)]
pub struct ServiceClients(Vec<(String, Vec<u8>)>);

impl ServiceClients {
    /// Reads entries `<id>:<SHA-256 of the secret in base64url>`, separated by commas. A service may have two, while its
    /// secret is replaced.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let clients: Option<Vec<_>> = entries.map(entry).collect();
        clients
            .filter(|clients| clients.len() <= MAX_ENTRIES)
            .map(Self)
    }

    /// Returns whether a header `Authorization` has the id and the secret of a service (RFC 7617).
    pub fn authenticate(&self, authorization: &str) -> bool {
        let Some((id, secret)) = credentials(authorization) else {
            return false;
        };
        let hash = digest(&SHA256, secret.as_bytes());
        let mut clients = self.0.iter();
        clients.any(|(known, expected)| {
            *known == id && verify_slices_are_equal(expected, hash.as_ref()).is_ok()
        })
    }
}

fn entry(text: &str) -> Option<(String, Vec<u8>)> {
    let (id, hash) = text.split_once(':')?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let hash = URL_SAFE_NO_PAD.decode(hash).ok()?;
    let is_valid = !id.is_empty() && id.bytes().all(is_allowed) && hash.len() == 32;
    is_valid.then(|| (id.to_owned(), hash))
}

/// Returns id and secret; both are form-encoded within (RFC 6749, 2.3.1).
fn credentials(authorization: &str) -> Option<(String, String)> {
    let (scheme, value) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(secret: &str) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_service_is_known_by_its_id_and_any_of_its_secrets() {
        let text = format!(
            "one:{}, two:{},two:{}",
            hash("first"),
            hash("second"),
            hash("a:b %")
        );
        let clients = ServiceClients::parse(&text).unwrap();

        for good in ["one:first", "two:second", "two:a:b%20%25", "two:a:b %25"] {
            assert!(clients.authenticate(&basic(good)), "{good}");
        }
        assert!(clients.authenticate(&basic("one:first").replace("Basic", "bASIC")));
        for bad in [
            "one:second",
            "two:first",
            "three:first",
            "one:",
            ":first",
            "one",
            "",
        ] {
            assert!(!clients.authenticate(&basic(bad)), "{bad}");
        }
        for header in ["", "Basic", "Basic ", "Basic ???", "Bearer x", "one:first"] {
            assert!(!clients.authenticate(header), "{header}");
        }
        let by_hash = basic(&format!("one:{}", hash("first")));
        assert!(!clients.authenticate(&by_hash), "the hash is no secret");
    }

    #[test]
    fn entries_by_example() {
        let good = format!("a-B_9:{}", hash("x"));
        assert!(ServiceClients::parse("").is_some());
        assert!(ServiceClients::parse(&vec![good.clone(); 50].join(",")).is_some());
        for bad in [
            "a".to_owned(),
            "a:".to_owned(),
            "a:b".to_owned(),
            good.replace("a-B_9", ""),
            good.replace("a-B_9", "a b"),
            good[..good.len() - 2].to_owned(),
            format!("{good};{good}"),
            vec![good.clone(); 51].join(","),
        ] {
            assert!(ServiceClients::parse(&bad).is_none(), "{bad}");
        }
    }
}
