//! Origins of pages (RFC 6454), as browsers send them.

use url::{Host, Url};

/// Returns whether a list of origins may contain this text: an exact origin in the form browsers send. Apps have
/// schemes of their own (`capacitor://localhost`). `localhost` and IP addresses may have any port
/// (`http://localhost:*`), as a development server takes whichever port is free.
pub fn is_valid_entry(text: &str) -> bool {
    let origin = match text.strip_suffix(":*") {
        Some(without_port) if !has_no_domain(without_port) => return false,
        Some(without_port) => without_port,
        None => text,
    };
    // A wildcard would be a host that no page has.
    let is_plain = !origin.contains('*') && !origin.bytes().any(|byte| byte.is_ascii_uppercase());
    is_plain
        && Url::parse(origin).is_ok_and(|url| match url.origin().is_tuple() {
            true => url.origin().ascii_serialization() == origin,
            false => {
                url.has_host()
                    && url.scheme() != "file"
                    && is_origin_only(&url)
                    && url.as_str() == origin
            }
        })
}

/// Returns a page's origin in the form browsers send. Schemes of apps have one as well (`myapp://open`).
pub fn of(page: &Url) -> String {
    match page.origin() {
        origin if origin.is_tuple() => origin.ascii_serialization(),
        _ => format!("{}://{}", page.scheme(), page.authority()),
    }
}

/// Parses origins separated by commas; `None` if one of them is not listable.
pub fn parse_list(text: &str) -> Option<Vec<String>> {
    let origins = text.split(',').map(str::trim);
    origins
        .map(|text| is_valid_entry(text).then(|| text.to_owned()))
        .collect()
}

/// Returns whether the list's entry matches this origin.
pub fn matches(listed: &str, origin: &str) -> bool {
    match listed.strip_suffix(":*") {
        None => listed == origin,
        Some(machine) => origin.strip_prefix(machine).is_some_and(|port| {
            let digits = port.strip_prefix(':');
            port.is_empty() || digits.is_some_and(|port| port.parse::<u16>().is_ok())
        }),
    }
}

/// Returns whether the origin is one of `localhost` or of an IP address, on no certain port.
fn has_no_domain(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else {
        return false;
    };
    let is_domain = matches!(url.host(), Some(Host::Domain(name)) if name != "localhost");
    !is_domain && ["http", "https"].contains(&url.scheme()) && url.port().is_none()
}

/// Returns whether a URL consists of scheme, host and port only.
fn is_origin_only(url: &Url) -> bool {
    url.path().is_empty()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_example() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://localhost:*",
            "https://127.0.0.1:*",
            "http://[::1]:*",
            "http://192.168.1.20:*",
            "http://[fd00::1]:*",
            "http://203.0.113.7:*",
            "capacitor://localhost",
            "tauri://localhost",
            "ionic://localhost:8100",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert!(is_valid_entry(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://App.example.com",
            "https://*.example.com",
            "https://app.example.com:*",
            "http://localhost.evil.example:*",
            "http://localhost:3000:*",
            "http://0x7f.1:*",
            "capacitor://localhost:*",
            "capacitor://localhost/",
            "capacitor://localhost?x",
            "capacitor://ada@localhost",
            "capacitor:localhost",
            "file://localhost",
            "javascript:alert(1)",
        ] {
            assert!(!is_valid_entry(bad), "{bad}");
        }
    }

    #[test]
    fn a_list_is_split_at_commas_and_has_no_bad_entry() {
        let list = parse_list("https://app.example.com, http://localhost:*");
        assert_eq!(
            list,
            Some(vec![
                "https://app.example.com".to_owned(),
                "http://localhost:*".to_owned()
            ])
        );
        assert_eq!(parse_list("https://app.example.com,*"), None);
    }

    #[test]
    fn any_port_is_one_port_of_this_machine() {
        for origin in [
            "http://localhost",
            "http://localhost:1",
            "http://localhost:65535",
        ] {
            assert!(matches("http://localhost:*", origin), "{origin}");
        }
        for origin in [
            "https://localhost:1",
            "http://localhost.evil.example",
            "http://localhost:1.evil.example",
            "http://localhost:1@evil.example",
            "http://localhost:65536",
            "http://localhost:",
            "http://localhostile",
            "http://localhost:*",
        ] {
            assert!(!matches("http://localhost:*", origin), "{origin}");
        }
        assert!(matches("capacitor://localhost", "capacitor://localhost"));
        assert!(!matches("https://a.example", "https://a.example:444"));
    }
}
