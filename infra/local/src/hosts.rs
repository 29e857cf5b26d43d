//! The host names that the local servers answer to. A page anywhere can point its own name at 127.0.0.1 (DNS
//! rebinding); the browser then treats this server as the page's own origin, and the page could read the inbox with its
//! links. But the `Host` header still holds the page's name, so other names are refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use serde_json::json;

use crate::containers;

const OWN: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Passes requests to this machine's names on, at any port.
pub async fn only_own(request: Request, next: Next) -> Response<Body> {
    let is_meant = asks_for(&request, &OWN);
    pass_if(is_meant, request, next).await
}

/// Passes requests to this machine's names and to any address on: other machines of the network call it by its address.
/// A page can point a name of its own here, but an address is never a name.
pub async fn own_and_addresses(request: Request, next: Next) -> Response<Body> {
    let is_meant = asks_for(&request, &OWN) || asks_for_an_address(&request);
    pass_if(is_meant, request, next).await
}

/// Passes requests to this machine's names and to its name in containers on: functions in containers call, too.
pub async fn own_and_containers(request: Request, next: Next) -> Response<Body> {
    let is_meant = asks_for(&request, &OWN) || asks_for(&request, &[containers::HOST]);
    pass_if(is_meant, request, next).await
}

async fn pass_if(is_meant: bool, request: Request, next: Next) -> Response<Body> {
    match is_meant {
        true => next.run(request).await,
        false => refused(),
    }
}

/// Whether the only `Host` header, and the host in the request line if there is one, are among the names.
fn asks_for(request: &Request, names: &[&str]) -> bool {
    is_host(request, |host| {
        let host = host.strip_suffix('.').unwrap_or(host);
        names.iter().any(|name| host.eq_ignore_ascii_case(name))
    })
}

/// Whether they are addresses.
fn asks_for_an_address(request: &Request) -> bool {
    is_host(request, |host| {
        let v6 = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match v6 {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok(),
        }
    })
}

fn is_host(request: &Request, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = host.to_str().ok().and_then(|host| host.parse().ok());
    let is_one = |authority: &Authority| {
        let is_plain = !authority.as_str().contains('@');
        is_plain && is_meant(authority.host())
    };
    let line = request.uri().authority();
    host.as_ref().is_some_and(is_one) && line.is_none_or(is_one)
}

/// Returns 421, "the server is unable to produce an authoritative response", for any other name (RFC 9110, 15.5.20).
fn refused() -> Response<Body> {
    let message = "This is a server on this machine; it answers as 127.0.0.1, localhost or [::1].";
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(host: &str, uri: &str) -> bool {
        let request = Request::get(uri).header(header::HOST, host);
        asks_for(&request.body(Body::empty()).unwrap(), &OWN)
    }

    #[test]
    fn names_by_example() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:3000",
            "localhost:1",
            "LocalHost",
            "localhost.",
            "localhost.:3000",
            "[::1]:3000",
        ] {
            assert!(is_own(host, "/"), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.localhost",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost..",
            "127.0.0.2",
            "0.0.0.0",
            "127.1",
            "::1",
            "[::1",
            "[::2]",
            "localhost/",
            "localhost, evil.example",
            "",
        ] {
            assert!(!is_own(host, "/"), "{host}");
        }
        assert!(is_own("localhost", "http://localhost:3000/"));
        assert!(!is_own("localhost", "http://evil.example/"));
    }

    #[test]
    fn addresses_by_example() {
        let is_address = |host: &str| {
            let request = Request::get("/").header(header::HOST, host);
            asks_for_an_address(&request.body(Body::empty()).unwrap())
        };
        for host in ["192.168.1.20:3000", "10.0.0.1", "[fd00::1]:3000"] {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "evil.example",
            "192.168.1.20.evil.example",
            "1.2.3.4@evil.example",
            "::1",
            "127.1",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn one_host_alone_is_a_host() {
        let none = Request::get("/").body(Body::empty()).unwrap();
        let two = Request::get("/")
            .header(header::HOST, "localhost")
            .header(header::HOST, "evil.example");

        assert!(!asks_for(&none, &OWN));
        assert!(!asks_for(&two.body(Body::empty()).unwrap(), &OWN));
    }
}
