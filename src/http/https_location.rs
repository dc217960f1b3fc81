//! Where a request in the clear should have gone.

use super::{Method, Request};

impl Request {
    /// The same resource over HTTPS on this port; `None` if the request does not say what host it is
    /// for.
    pub(crate) fn https_location(&self, port: u16) -> Option<String> {
        let name = without_port(self.host());
        if name.is_empty() {
            return None;
        }
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let target = path_and_query(self.target());
        // An absolute target may have no path.
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(format!("https://{name}{port}{slash}{target}"))
    }

    /// Whether an authority of certificates asks for a proof in this request (RFC 8555 section 8.3):
    /// a token, in the path as it was sent.
    pub(crate) fn is_acme_challenge(&self) -> bool {
        let path = path_and_query(self.target());
        let path = path.split_once('?').map_or(path, |(path, _query)| path);
        let is_of_base64url =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        matches!(self.method(), Method::Get | Method::Head)
            && path
                .strip_prefix("/.well-known/acme-challenge/")
                .is_some_and(|token| !token.is_empty() && token.bytes().all(is_of_base64url))
    }
}

/// A validated authority without its port.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// Of a validated target, in any of its forms. `OPTIONS *` is about the whole server.
fn path_and_query(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    let Some((_scheme, rest)) = target.split_once("://") else { return "" };
    rest.find(['/', '?']).map_or("", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, host: &str) -> Request {
        Request::parse(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect(line)
    }

    #[test]
    fn a_location_has_the_host_the_path_and_the_port_of_https() {
        for (target, host, port, expected) in [
            ("/", "a.example", 443, Some("https://a.example/")),
            ("/a%20b?c=/d", "a.example:80", 443, Some("https://a.example/a%20b?c=/d")),
            ("/", "A.example:8080", 8443, Some("https://A.example:8443/")),
            ("//b.example/", "a.example", 443, Some("https://a.example//b.example/")),
            ("/", "[2001:db8::7]:80", 443, Some("https://[2001:db8::7]/")),
            ("/", "[2001:db8::7]", 8443, Some("https://[2001:db8::7]:8443/")),
            ("/", "192.0.2.7", 443, Some("https://192.0.2.7/")),
            ("http://b.example:80/c?d", "a.example", 443, Some("https://b.example/c?d")),
            ("http://b.example", "a.example", 443, Some("https://b.example/")),
            ("http://b.example?d", "a.example", 443, Some("https://b.example/?d")),
            ("/", "", 443, None),
        ] {
            let request = parse(&format!("GET {target}"), host);
            assert_eq!(request.https_location(port).as_deref(), expected, "{target} of {host}");
        }
        let of_server = parse("OPTIONS *", "a.example").https_location(443);
        assert_eq!(of_server.as_deref(), Some("https://a.example/"));
    }

    #[test]
    fn a_challenge_is_a_path_with_a_token_and_nothing_else() {
        let path = "/.well-known/acme-challenge";
        for (line, is_one) in [
            (format!("GET {path}/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"), true),
            (format!("HEAD {path}/a-_Z?x"), true),
            (format!("GET http://a.example{path}/a"), true),
            (format!("GET {path}/"), false),
            (format!("GET {path}/a/b"), false),
            (format!("GET {path}/../../secret"), false),
            (format!("GET {path}/%2e%2e"), false),
            ("GET /.well-known/acme%2Dchallenge/a".to_owned(), false),
            (format!("GET /x{path}/a"), false),
            (format!("POST {path}/a"), false),
        ] {
            assert_eq!(parse(&line, "a.example").is_acme_challenge(), is_one, "{line}");
        }
    }
}
