//! [`Address`]: where Redis is, from a URL.
//!
//! No text of a URL is ever part of an error or of `Debug`, because what looks like a port may be a
//! piece of a password with a `/` in it.

use std::{error::Error, fmt, net::Ipv6Addr, path::PathBuf};

/// Where Redis is, and how to log in.
///
/// | form | |
/// |---|---|
/// | `redis://[[user]:password@]host[:port][/database]` | port 6379, database 0 |
/// | `rediss://…` | the same with TLS |
/// | `unix://[[user]:password@]/path[?db=database]` | also `redis+unix://` |
/// | `redis+sentinel://[[user]:password@]host[:port],…/master[/database]` | port 26379; `rediss+sentinel://` with TLS |
///
/// User, password, path and the name of the master are percent-decoded. IPv6 addresses are in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) servers: Servers,
    pub(super) security: Security,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Servers {
    One(Endpoint),
    Unix(PathBuf),
    /// The master that Sentinels name.
    Named {
        master: String,
        sentinels: Vec<Endpoint>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

/// What is wrong with a URL, without showing any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressError(&'static str);

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError(SCHEMES))?;
        let scheme = scheme.to_ascii_lowercase();
        let security = match scheme.starts_with("rediss") {
            true => Security::Tls,
            false => Security::Plain,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        if rest.contains('#') {
            return Err(AddressError("`#` must be written as `%23`"));
        }
        let (servers, database) = match scheme.as_str() {
            "redis" | "rediss" => one(hosts, path, query)?,
            "unix" | "redis+unix" => unix(hosts, path, query)?,
            "redis+sentinel" | "rediss+sentinel" => named(hosts, path, query)?,
            _ => return Err(AddressError(SCHEMES)),
        };
        let (user, password) = login.map(credentials).transpose()?.unwrap_or_default();
        Ok(Self { servers, security, user, password, database })
    }
}

fn one(host: &str, path: &str, query: Option<&str>) -> Result<(Servers, u32), AddressError> {
    without(query)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    Ok((Servers::One(endpoint(host, 6379)?), database(path)?))
}

fn unix(host: &str, path: &str, query: Option<&str>) -> Result<(Servers, u32), AddressError> {
    if !host.is_empty() || path.len() < 2 {
        return Err(AddressError("a Unix socket is an absolute path: unix:///run/redis.sock"));
    }
    let database = match query {
        None => 0,
        Some(query) => {
            let number = query.strip_prefix("db=");
            database(number.ok_or(AddressError("the only option after `?` is `db=`"))?)?
        }
    };
    Ok((Servers::Unix(decoded(path)?.into()), database))
}

fn named(hosts: &str, path: &str, query: Option<&str>) -> Result<(Servers, u32), AddressError> {
    without(query)?;
    let path = path.strip_prefix('/').unwrap_or_default();
    let (master, number) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(AddressError(
            "the name of the master is missing: redis+sentinel://a,b,c/mymaster",
        ));
    }
    let sentinels = hosts.split(',').map(|host| endpoint(host, 26379)).collect::<Result<_, _>>()?;
    Ok((Servers::Named { master: decoded(master)?, sentinels }, database(number)?))
}

fn without(query: Option<&str>) -> Result<(), AddressError> {
    match query {
        None => Ok(()),
        Some(_) => Err(AddressError(
            "there are no options after `?` here; in a password it is written as `%3F`",
        )),
    }
}

fn database(text: &str) -> Result<u32, AddressError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => Ok(0),
        _ => text.parse().ok().filter(|_| is_number).ok_or(AddressError(
            "the database must be a number; in a password, `/` is written as `%2F`",
        )),
    }
}

fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) =
                rest.split_once(']').ok_or(AddressError("`]` is missing after an IPv6 address"))?;
            host.parse::<Ipv6Addr>().map_err(|_| AddressError("not an IPv6 address in `[]`"))?;
            (host, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if port.strip_prefix(':').is_some_and(|port| port.contains(':')) {
        return Err(AddressError("an IPv6 address must be in brackets: redis://[::1]:6379"));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !(text.starts_with('[') || host.bytes().all(is_part)) {
        return Err(AddressError("the host must be a name or an address: redis://127.0.0.1:6379"));
    }
    let port = match port {
        "" => default_port,
        _ => port.strip_prefix(':').and_then(port_number).ok_or(AddressError(
            "the port must be a number from 1 to 65535; in a password, `/` is written as `%2F`",
        ))?,
    };
    Ok(Endpoint::new(host, port))
}

fn port_number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

fn credentials(text: &str) -> Result<(Option<String>, Option<Secret>), AddressError> {
    let (user, password) = text.split_once(':').ok_or(AddressError(
        "a user needs a password: redis://user:password@host; without a user redis://:password@host",
    ))?;
    let user = decoded(user)?;
    Ok((Some(user).filter(|user| !user.is_empty()), Some(Secret(decoded(password)?))))
}

fn decoded(text: &str) -> Result<String, AddressError> {
    const BROKEN: AddressError = AddressError("`%` must be followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(BROKEN)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BROKEN);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| AddressError("what is percent-encoded must be UTF-8"))?;
    match text.contains('\0') {
        true => Err(AddressError("a zero byte is not allowed")),
        false => Ok(text),
    }
}

impl Endpoint {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// `host:port`, as clusters and Sentinels write it: IPv6 without brackets. An empty host is the one
    /// of the server that says it.
    pub(super) fn of_cluster(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::new(host, port_number(port)?))
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "redis",
            Security::Tls => "rediss",
        };
        match &self.servers {
            Servers::One(endpoint) => write!(f, "{scheme}://{endpoint}")?,
            Servers::Unix(path) => write!(f, "unix://{}", path.display())?,
            Servers::Named { master, sentinels } => {
                write!(f, "{scheme}+sentinel://")?;
                for (n, sentinel) in sentinels.iter().enumerate() {
                    write!(f, "{}{sentinel}", if n > 0 { "," } else { "" })?;
                }
                write!(f, "/{}", master.escape_debug())?;
            }
        }
        match (&self.servers, self.database) {
            (_, 0) => Ok(()),
            (Servers::Unix(_), database) => write!(f, "?db={database}"),
            (_, database) => write!(f, "/{database}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an address of Redis: {}", self.0)
    }
}

impl Error for AddressError {}

const SCHEMES: &str = "it must begin with redis://, rediss://, unix:// or redis+sentinel://";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn each_form_is_read() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("REDIS://localhost/", "redis://localhost:6379"),
            ("redis://10.0.0.5:7000/3", "redis://10.0.0.5:7000/3"),
            ("rediss://cache.example:6380", "rediss://cache.example:6380"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("redis://[fe80::1]:7000/1", "redis://[fe80::1]:7000/1"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/a%20b?db=2", "unix:///run/a b?db=2"),
            ("redis+sentinel://a,b:1,[::2]/main", "redis+sentinel://a:26379,b:1,[::2]:26379/main"),
            ("rediss+sentinel://a/m/4", "rediss+sentinel://a:26379/m/4"),
        ] {
            assert_eq!(parse(url).to_string(), shown, "{url}");
            assert_eq!(parse(url).password, None);
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let login = |url: &str| {
            let address = parse(url);
            (address.user, address.password.map(|it| it.0))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(login("redis://joe:a%40b%3Ac%2f%25@h"), (some("joe"), some("a@b:c/%")));
        assert_eq!(login("redis://:p:q@h"), (None, some("p:q")));
        assert_eq!(login("redis://:p@q@h"), (None, some("p@q")));
        assert_eq!(login("redis://j%c3%b6:@h"), (some("jö"), some("")));
        assert_eq!(login("unix://u:p@/run/r.sock?db=1"), (some("u"), some("p")));
        assert_eq!(login("redis+sentinel://u:p@a,b/m"), (some("u"), some("p")));
    }

    #[test]
    fn nothing_shows_a_password() {
        let address = parse("redis://joe:hunter2@h/1");
        assert!(!format!("{address} {address:?}").contains("hunter2"), "{address:?}");
        for url in [
            "redis://joe:hun/ter2@h",
            "redis://joe:1/hunter2@h",
            "redis://joe:hun?ter2@h",
            "redis://joe:hun#ter2@h",
            "redis://joe:hun%ter2@h",
            "redis://joe:hunter2@h:hunter2",
            "redis://joe:hunter2@h/hunter2",
            "redis://joe:hunter2@/",
            "redis://hunter2@h",
            "redis+sentinel://joe:hunter2@a,/m",
            "redis:/joe:hunter2@h",
            "rediss+unix://joe:hunter2@h",
            "unix://joe:hunter2@h/run?db=hunter2",
        ] {
            let error = Address::parse(url).expect_err(url);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("ter2") && !shown.contains("joe"), "{url}: {shown}");
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        for (url, words) in [
            ("localhost:6379", "must begin with redis://"),
            ("http://localhost", "must begin with redis://"),
            ("redis://", "the host must be a name"),
            ("redis://a b", "the host must be a name"),
            ("redis://h\r\n", "the host must be a name"),
            ("redis://h:0", "from 1 to 65535"),
            ("redis://h:65536", "from 1 to 65535"),
            ("redis://h:+1", "from 1 to 65535"),
            ("redis://h:", "from 1 to 65535"),
            ("redis://::1", "in brackets"),
            ("redis://[::1", "`]` is missing"),
            ("redis://[localhost]", "not an IPv6 address"),
            ("redis://[::1]x", "from 1 to 65535"),
            ("redis://h/one", "must be a number"),
            ("redis://h/+1", "must be a number"),
            ("redis://h/4294967296", "must be a number"),
            ("redis://h?db=1", "no options"),
            ("redis://h/#1", "%23"),
            ("redis://joe@h", "a user needs a password"),
            ("redis://:%zz@h", "hexadecimal"),
            ("redis://:%f@h", "hexadecimal"),
            ("redis://:%ff@h", "UTF-8"),
            ("redis://:%00@h", "zero byte"),
            ("unix://run/redis.sock", "absolute path"),
            ("unix:///", "absolute path"),
            ("unix:///r?database=1", "`db=`"),
            ("redis+sentinel://a,b", "name of the master"),
            ("redis+sentinel://a,,b/m", "the host must be a name"),
        ] {
            let error = Address::parse(url).expect_err(url).to_string();
            assert!(error.contains(words), "{url:?}: {error}");
        }
    }

    #[test]
    fn clusters_write_ipv6_without_brackets() {
        assert_eq!(Endpoint::of_cluster("::1:7000"), Some(Endpoint::new("::1", 7000)));
        assert_eq!(Endpoint::of_cluster(":7000"), Some(Endpoint::new("", 7000)));
        assert_eq!(Endpoint::of_cluster("7000"), None);
        assert_eq!(Endpoint::of_cluster("h:x"), None);
    }
}
