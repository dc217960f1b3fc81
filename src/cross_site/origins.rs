//! Lists of origins, validated when created.

use std::{error::Error, fmt};

/// Origins as browsers write them, so that they can be compared byte by byte (Fetch section 4.10).
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(Vec<Box<str>>);

/// Not an origin as browsers write it: `scheme://host` or `scheme://host:port`, in lower case,
/// without the default port and without a trailing slash.
///
/// ```
/// let error = starwheel::Cors::only(["https://app.example/"]).unwrap_err();
/// assert_eq!(error.origin, "https://app.example/");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginError {
    /// The given text.
    pub origin: String,
}

impl Origins {
    pub(super) fn add<O: AsRef<str>>(
        &mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Result<(), OriginError> {
        for origin in origins {
            let origin = origin.as_ref();
            if !is_origin(origin) {
                return Err(OriginError { origin: origin.into() });
            }
            self.0.push(origin.into());
        }
        Ok(())
    }

    /// The entry that equals what a client sent.
    pub(super) fn find(&self, sent: &[u8]) -> Option<&str> {
        self.0.iter().map(AsRef::as_ref).find(|origin: &&str| origin.as_bytes() == sent)
    }
}

/// `null` is not an origin here: every sandboxed page has it, of any site.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        });
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    is_scheme && is_host(host) && port.is_none_or(|port| is_port(port, scheme))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|it| it.to_string() == address);
    }
    let is_byte = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
    };
    !host.is_empty() && host.bytes().all(is_byte)
}

fn is_port(port: &str, scheme: &str) -> bool {
    let is_default = matches!((scheme, port), ("http", "80") | ("https", "443"));
    !is_default && port.parse::<u16>().is_ok_and(|number| number.to_string() == port)
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no origin: write scheme://host or scheme://host:port in lower case, without \
             default port and without a slash at the end",
            self.origin
        )
    }
}

impl Error for OriginError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_write() {
        for origin in [
            "https://a.example",
            "http://a.example:8080",
            "http://localhost:8081",
            "http://127.0.0.1:443",
            "http://[::1]",
            "https://[2001:db8::7]:80",
            "moz-extension://0a1b-2c",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "*",
            "null",
            "a.example",
            "//a.example",
            "https://",
            "https://a.example/",
            "https://a.example/b",
            "https://A.example",
            "HTTPS://a.example",
            "https://a.example:443",
            "http://a.example:80",
            "http://a.example:",
            "http://a.example:080",
            "http://a.example:65536",
            "http://a.example:+1",
            "http://*.example",
            "http://me@a.example",
            "http://[::1",
            "http://::1",
            "http://[0::1]",
            "http://a b",
            "http://ä.example",
            " http://a",
            "1http://a",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}
