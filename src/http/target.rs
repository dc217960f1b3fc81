//! Request targets, paths and hosts: accepted forms, and their meaning.
//!
//! It knows no fields and no framing.

use std::net::Ipv6Addr;

use super::{Method, Refusal};

/// A parsed request target (RFC 9112 section 3.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Still percent-encoded; `*` in asterisk-form.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// Given in absolute-form only.
    pub(super) authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(super) fn split(target: &'a str, method: Method) -> Result<Self, Refusal> {
        // Browsers do not encode characters such as `{`, `|` and `"`, although RFC 3986 does not
        // list them: visible ASCII is accepted. `#` would start a fragment, which is never sent.
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Refusal::TARGET_CHARACTERS);
        }
        if target == "*" {
            return match method {
                Method::Options => Ok(Self { path: "*", query: None, authority: None }),
                _ => Err(Refusal::TARGET_FORM),
            };
        }
        if target.starts_with('/') {
            let (path, query) = split_query(target);
            return Ok(Self { path, query, authority: None });
        }
        let rest = strip_scheme(target).ok_or(Refusal::TARGET_FORM)?;
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        if !is_authority(authority) {
            return Err(Refusal::HOST_INVALID);
        }
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { path, query, authority: Some(authority) })
    }
}

/// The parameters of a route: names and values in one string.
#[derive(Debug, Clone)]
pub(super) struct Params {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Params {
    pub(super) const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new() }
    }

    pub(super) fn clear(&mut self, capacity_bytes_max: usize) {
        self.text.clear();
        self.text.shrink_to(capacity_bytes_max);
        self.ends.clear();
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        unescape_kept(value, &mut self.text);
        self.ends.push((name_end, self.text.len()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let pair = (&self.text[start..name_end], &self.text[name_end..value_end]);
            start = value_end;
            pair
        })
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_http.then_some(rest)
}

/// A path in the two forms that are needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    /// All escapes decoded except `%2F` and `%25`, so that a segment may contain a slash.
    route: String,
    /// All escapes decoded; empty if that is the same text.
    decoded: String,
}

impl Path {
    pub(super) const fn new() -> Self {
        Self { route: String::new(), decoded: String::new() }
    }

    #[cfg(test)]
    pub(super) fn route(&self) -> &str {
        &self.route
    }

    pub(super) fn take_route(&mut self) -> String {
        std::mem::take(&mut self.route)
    }

    pub(super) fn put_route(&mut self, route: String) {
        self.route = route;
    }

    pub(super) fn decoded(&self) -> &str {
        if self.decoded.is_empty() { &self.route } else { &self.decoded }
    }

    pub(super) fn clear(&mut self, capacity_bytes_max: usize) {
        for text in [&mut self.route, &mut self.decoded] {
            text.clear();
            text.shrink_to(capacity_bytes_max);
        }
    }

    /// Decodes `raw` into both forms.
    pub(super) fn decode(&mut self, raw: &str) -> Result<(), Refusal> {
        let mut bytes = std::mem::take(&mut self.route).into_bytes();
        bytes.clear();
        let mut rest = raw.as_bytes();
        let mut keeps_escapes = false;
        while let Some(at) = memchr::memchr(b'%', rest) {
            let (plain, escape) = rest.split_at(at);
            bytes.extend_from_slice(plain);
            let [_, high, low, ..] = *escape else {
                return Err(Refusal::PATH_ESCAPE);
            };
            match hex_byte(high, low).ok_or(Refusal::PATH_ESCAPE)? {
                0 => return Err(Refusal::PATH_NUL),
                kept @ (b'/' | b'%') => {
                    bytes.extend_from_slice(if kept == b'/' { b"%2F" } else { b"%25" });
                    keeps_escapes = true;
                }
                byte => bytes.push(byte),
            }
            rest = &escape[3..];
        }
        bytes.extend_from_slice(rest);
        self.route = String::from_utf8(bytes).map_err(|_| Refusal::PATH_UTF8)?;
        self.decoded.clear();
        if keeps_escapes {
            unescape_kept(&self.route, &mut self.decoded);
        }
        Ok(())
    }
}

/// Decodes a name or value of a query, as encoded by a form: `+` is a space, and a percent sign
/// without two digits after it is kept (WHATWG URL, 5.1).
pub(super) fn form_decoded(encoded: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, after @ ..]) => match hex_byte(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', behind),
            },
            (b'+', _) => (b' ', behind),
            _ => (first, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    decoded
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Appends `text`, a piece of a route path, with its last escapes `%2F` and `%25` decoded.
pub(super) fn unescape_kept(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('%') {
        out.push_str(plain);
        let (decoded, behind) = match (escape.strip_prefix("2F"), escape.strip_prefix("25")) {
            (Some(behind), _) => ('/', behind),
            (_, Some(behind)) => ('%', behind),
            _ => ('%', escape),
        };
        out.push(decoded);
        rest = behind;
    }
    out.push_str(rest);
}

/// Whether it is the authority of an http URL: one without a host is invalid (RFC 9110 section 4.2.1),
/// and so is one with user information (4.2.4), which no host may contain.
pub(super) fn is_authority(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(':') && is_host(text.as_bytes())
}

/// Whether these are the characters of `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986
/// section 3.2.2). The empty host is valid.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    if let Some(rest) = bytes.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', rest) else {
            return false;
        };
        let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok() && is_port(&rest[end + 1..]);
    }
    let name_end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
    let (name, port) = bytes.split_at(name_end);
    is_registered_name(name) && is_port(port)
}

fn is_registered_name(mut name: &[u8]) -> bool {
    while let Some((&first, rest)) = name.split_first() {
        name = match (first, rest) {
            (b'%', [high, low, behind @ ..]) if hex_byte(*high, *low).is_some() => behind,
            (b'-' | b'.' | b'_' | b'~', _) => rest,
            // A comma is allowed by the grammar, but not in a DNS name; usually two Host fields
            // have been joined into one.
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=', _) => rest,
            _ if first.is_ascii_alphanumeric() => rest,
            _ => return false,
        };
    }
    true
}

/// Nothing, or a colon and a port number; the number may be missing.
fn is_port(bytes: &[u8]) -> bool {
    let Some((b':', digits)) = bytes.split_first() else {
        return bytes.is_empty();
    };
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).unwrap_or_default();
    is_number && (text.is_empty() || text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<(String, String), Refusal> {
        let mut path = Path::default();
        path.decode(raw)?;
        Ok((path.route().to_owned(), path.decoded().to_owned()))
    }

    #[test]
    fn a_segment_may_contain_a_slash() {
        let both = |route: &str, decoded: &str| Ok((route.to_owned(), decoded.to_owned()));
        assert_eq!(path("/a/b"), both("/a/b", "/a/b"));
        assert_eq!(path("/%61%2f%C3%A4+"), both("/a%2Fä+", "/a/ä+"));
        assert_eq!(path("/100%25"), both("/100%25", "/100%"));
        assert_eq!(path("/%252F"), both("/%252F", "/%2F"));
    }

    #[test]
    fn doubtful_paths_are_refused() {
        for raw in ["/%", "/%4", "/%zz", "/%+1", "/a%2"] {
            assert_eq!(path(raw), Err(Refusal::PATH_ESCAPE), "{raw}");
        }
        assert_eq!(path("/%00"), Err(Refusal::PATH_NUL));
        assert_eq!(path("/%C3"), Err(Refusal::PATH_UTF8));
        assert_eq!(path("/%C3%2F%A4"), Err(Refusal::PATH_UTF8));
    }

    #[test]
    fn queries_are_decoded_as_forms_are() {
        for query in ["", "a+b", "%41%zz%4", "%", "%%41", "%2B+%C3%A4{\"", "%+1%e2%82%AC"] {
            let expected = form_urlencoded::parse(query.as_bytes()).next().unwrap_or_default().0;
            assert_eq!(form_decoded(query), expected.as_bytes(), "{query}");
        }
        assert_eq!(form_decoded("%FF%00"), [0xff, 0]);
    }

    #[test]
    fn targets_have_three_forms() {
        let split = |target| Target::split(target, Method::Get);
        let origin = Target { path: "/a", query: Some("b?c"), authority: None };
        assert_eq!(split("/a?b?c"), Ok(origin));
        let absolute = Target { path: "/", query: Some("q"), authority: Some("a.example:80") };
        assert_eq!(split("HTTP://a.example:80?q"), Ok(absolute));
        let asterisk = Target { path: "*", query: None, authority: None };
        assert_eq!(Target::split("*", Method::Options), Ok(asterisk));
        for target in ["*", "a", "a:80", "ftp://a/", "http:/a", "?a"] {
            assert_eq!(split(target), Err(Refusal::TARGET_FORM), "{target}");
        }
        for target in ["http:///a", "http://me@a/", "http://:80/", "http://a b/", "http://a:b/"] {
            assert!(split(target).is_err(), "{target}");
        }
        for target in ["/a#b", "/ä", "/\u{7f}"] {
            assert_eq!(split(target), Err(Refusal::TARGET_CHARACTERS), "{target}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for host in
            ["", "a", "a.b-c_d~e", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "%41"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a b", "a/b", "a@b", "a:b", "a:80:80", "a:65536", "[::1", "[::1]80", "::1"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        for host in ["[x]", "[]", "%4", "%zz", "a\"", "a?b", "a#b", "ä", "a\\b", "a:+1"] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
