//! The host names that a server serves.
//!
//! It knows no request; it checks the authority of one.

use std::{error::Error, fmt, net::Ipv6Addr};

/// The host names that a server serves, as protection against DNS rebinding and cache poisoning.
///
/// ```
/// use starwheel::{Config, Hosts};
/// let mut config = Config::default();
/// config.hosts = Hosts::only(["example.com", "*.example.com", "192.0.2.7", "[2001:db8::7]"])?;
/// assert!(config.hosts.contains("Example.com:8080"));
/// assert!(config.hosts.contains("a.b.example.com"));
/// assert!(!config.hosts.contains("example.com.attacker.net"));
/// assert!(!config.hosts.contains(""));
/// # Ok::<(), starwheel::HostPatternError>(())
/// ```
///
/// An attacker can make their own domain resolve to your address, even to `127.0.0.1`. The browser
/// then treats your responses as the attacker's own, and no origin rule applies. Only the `Host`
/// field still has the attacker's name. With a list, a request for any other host is answered with
/// 421 (RFC 9110 sections 7.4 and 15.5.20) before a handler is called, and the connection is
/// closed. It is counted as refused.
///
/// The authority of an absolute target is compared, or else the Host field (RFC 9112 section
/// 3.2.2), like [`Request::host`](crate::Request::host). Ports are ignored, because they change on
/// the way (port mappings, proxies) and an attacker's name does not match with any port. Case and
/// one final dot are ignored too. A request without a host, which HTTP/1.0 permits, matches no
/// list.
///
/// Costs a walk over the list per request; without a list, nothing.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// `None` means all hosts.
    patterns: Option<Vec<Pattern>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// A name, or an IPv4 address.
    Name(Box<str>),
    /// `.example.com`, for names that end with it.
    Below(Box<str>),
    Ipv6(Ipv6Addr),
}

/// Not a host: `pattern` must be a name, `*.` and a name, an IPv4 address or an IPv6 address in
/// brackets; without scheme, port or path.
///
/// ```
/// let error = starwheel::Hosts::only(["https://example.com"]).unwrap_err();
/// assert_eq!(error.pattern, "https://example.com");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostPatternError {
    /// The given text.
    pub pattern: String,
}

impl Hosts {
    /// All hosts; the default. Suitable when a proxy in front checks the name, or when only public
    /// pages are served.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// This machine by its usual names: `localhost`, its subdomains, `127.0.0.1`, `[::1]`. For
    /// tools that listen on loopback, to which every web page can send requests.
    ///
    /// ```
    /// let hosts = starwheel::Hosts::loopback();
    /// assert!(hosts.contains("localhost:3000") && hosts.contains("[::1]"));
    /// assert!(!hosts.contains("attacker.net:3000"));
    /// ```
    #[must_use]
    pub fn loopback() -> Self {
        let name = |name: &str| Pattern::Name(name.into());
        Self {
            patterns: Some(vec![
                name("localhost"),
                Pattern::Below(".localhost".into()),
                name("127.0.0.1"),
                Pattern::Ipv6(Ipv6Addr::LOCALHOST),
            ]),
        }
    }

    /// Only these hosts. `*.example.com` matches every name below `example.com` at any depth, but
    /// not `example.com` itself. Write names in other scripts as browsers send them (`xn--`). An
    /// empty list refuses all requests.
    ///
    /// # Errors
    /// [`HostPatternError`] for the first pattern that no host could match.
    pub fn only<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, HostPatternError> {
        let patterns: Result<_, _> = patterns
            .into_iter()
            .map(|pattern| {
                let pattern = pattern.as_ref();
                Pattern::parse(pattern).ok_or_else(|| HostPatternError { pattern: pattern.into() })
            })
            .collect();
        Ok(Self { patterns: Some(patterns?) })
    }

    /// Whether a request for this authority (a host with an optional port) is served.
    #[must_use]
    pub fn contains(&self, authority: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        if let Some(rest) = authority.strip_prefix('[') {
            let address = rest.split_once(']').and_then(|(address, _)| address.parse().ok());
            return address.is_some_and(|address| patterns.contains(&Pattern::Ipv6(address)));
        }
        let name = authority.split_once(':').map_or(authority, |(name, _port)| name);
        let name = name.strip_suffix('.').unwrap_or(name);
        patterns.iter().any(|pattern| pattern.matches(name))
    }
}

impl Pattern {
    fn parse(pattern: &str) -> Option<Self> {
        if let Some(rest) = pattern.strip_prefix('[') {
            return rest.strip_suffix(']')?.parse().ok().map(Self::Ipv6);
        }
        let name = pattern.strip_prefix("*.").unwrap_or(pattern);
        let is_label = |label: &str| {
            let mut bytes = label.bytes();
            !label.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !name.split('.').all(is_label) {
            return None;
        }
        Some(match pattern.strip_prefix('*') {
            Some(ending) => Self::Below(ending.into()),
            None => Self::Name(name.into()),
        })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(ending) => {
                let (host, ending) = (host.as_bytes(), ending.as_bytes());
                // Something other than a dot must precede the ending.
                host.len()
                    .checked_sub(ending.len())
                    .filter(|&start| start > 0 && host[start - 1] != b'.')
                    .is_some_and(|start| host[start..].eq_ignore_ascii_case(ending))
            }
            Self::Ipv6(_) => false,
        }
    }
}

impl fmt::Display for HostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a host pattern; use a name, *. and a name, or an address, without scheme and port",
            self.pattern
        )
    }
}

impl Error for HostPatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_includes_its_hosts_and_no_others() {
        let hosts = Hosts::only(["a.example", "*.b.example", "192.0.2.7", "[2001:DB8::7]"]);
        let hosts = hosts.expect("four patterns");
        for host in [
            "a.example",
            "A.EXAMPLE:80",
            "a.example.",
            "a.example.:8080",
            "a.example:",
            "x.b.example",
            "x.y.B.example",
            "192.0.2.7:1",
            "[2001:db8:0::7]",
            "[2001:db8::7]:443",
        ] {
            assert!(hosts.contains(host), "{host}");
        }
        for host in [
            "",
            ":80",
            ".",
            "a.example..",
            "x.a.example",
            "xa.example",
            "a.example.net",
            "b.example",
            ".b.example",
            "x..b.example",
            "xb.example",
            "192.0.2.70",
            "[2001:db8::8]",
            "[2001:db8::7",
            "%61.example",
            "*.b.example.net",
        ] {
            assert!(!hosts.contains(host), "{host}");
        }
    }

    #[test]
    fn all_hosts_are_served_without_a_list_and_none_with_an_empty_one() {
        let nobody = Hosts::only([""; 0]).expect("no patterns");
        for host in ["", "a", "a:80", "[::1]"] {
            assert!(Hosts::any().contains(host));
            assert!(!nobody.contains(host));
        }
    }

    #[test]
    fn patterns_that_no_host_could_match_are_refused() {
        for pattern in [
            "", "*", "*.", ".a", "a.", "a..b", "a:80", "a/b", "http://a", "*a", "a.*", "*.*.a",
            "ä", "a b", "::1", "[::1", "[::1]:80", "[x]", "me@a",
        ] {
            let error = Hosts::only([pattern]).expect_err(pattern);
            assert_eq!(error.pattern, pattern);
        }
    }
}
