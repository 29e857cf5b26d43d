//! Cookies without `Secure` and `__Host-`, for browsers that keep no `Secure` cookies of `http:` pages: Safari, and all
//! browsers where the page is on another machine. The functions know nothing of it, so no deployment can switch it on.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const PREFIX: &str = "__Host-";
/// The cookies of cookie mode without the prefix (docs/api.md).
const NAMES: [&str; 2] = ["refresh_token", "device"];

/// Gives the cookies of a request the names that the functions know.
pub(super) fn restore(headers: &mut HeaderMap) {
    rewrite(headers, header::COOKIE, |cookies| {
        let cookies = cookies.split(';').map(|cookie| {
            let cookie = cookie.trim_matches(' ');
            let name = cookie.split('=').next().unwrap_or_default();
            match NAMES.contains(&name) {
                true => format!("{PREFIX}{cookie}"),
                false => cookie.to_owned(),
            }
        });
        cookies.collect::<Vec<_>>().join("; ")
    });
}

/// Takes the prefix and `Secure` from the cookies of an answer.
pub(super) fn simplify(headers: &mut HeaderMap) {
    rewrite(headers, header::SET_COOKIE, |cookie| {
        let cookie = cookie.strip_prefix(PREFIX).unwrap_or(cookie);
        let attributes = cookie.split(';').map(str::trim);
        let attributes = attributes.filter(|attribute| !attribute.eq_ignore_ascii_case("Secure"));
        attributes.collect::<Vec<_>>().join("; ")
    });
}

fn rewrite(headers: &mut HeaderMap, name: HeaderName, change: impl Fn(&str) -> String) {
    let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
    headers.remove(&name);
    for value in values {
        let changed = value.to_str().ok().map(&change);
        let changed = changed.and_then(|text| HeaderValue::try_from(text).ok());
        headers.append(&name, changed.unwrap_or(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_there_and_back() {
        let mut headers = HeaderMap::new();
        for cookie in [
            "__Host-refresh_token=a.b; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=9",
            "__Host-device=c; Secure; Path=/",
        ] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }

        simplify(&mut headers);

        let set: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(
            set,
            [
                "refresh_token=a.b; HttpOnly; SameSite=Strict; Path=/; Max-Age=9",
                "device=c; Path=/"
            ]
        );

        let sent = HeaderValue::from_static("theme=dark; refresh_token=a.b; device=c; devices=d");
        let mut headers = HeaderMap::from_iter([(header::COOKIE, sent)]);
        restore(&mut headers);
        assert_eq!(
            headers[header::COOKIE],
            "theme=dark; __Host-refresh_token=a.b; __Host-device=c; devices=d"
        );
    }
}
