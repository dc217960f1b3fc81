//! [`Down`]: why there is no connection to Redis.

use std::{fmt, time::Duration};

use super::address::Endpoint;
use crate::error::Logged;

/// Why there is no connection, for a status and for the log. Texts of a server are its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// Nothing accepts connections at the address, or its name is unknown.
    Unreachable(String),
    /// No encrypted connection: a certificate that is not accepted, for example.
    Tls(String),
    /// The connection has ended.
    Closed(String),
    /// The server is connected and has sent nothing for so long.
    Silent(Duration),
    /// NOAUTH, WRONGPASS, NOPERM, DENIED.
    Denied(String),
    /// A replica: READONLY, MASTERDOWN, or the answer to ROLE.
    NotMaster(String),
    /// LOADING, BUSY.
    Busy(String),
    /// The namespace is on another server of a cluster.
    Moved(Endpoint),
    /// A key of the namespace has a value of another program.
    WrongType(String),
    /// NOSCRIPT: the next connection loads it again.
    ScriptGone(String),
    /// Any other error.
    Refused(String),
    /// A reply of more than 64 MiB, or of a million parts: ask for less at once.
    TooLarge,
    /// Not what Redis answers.
    Malformed(String),
    /// The two connections have reached different servers, or different lives of one.
    TwoServers,
    /// No Sentinel knows the master.
    NoMaster(String),
}

impl Down {
    /// From the words of an error reply.
    pub(super) fn of_error(words: &str) -> Self {
        let kind: fn(String) -> Self = match code(words) {
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Self::Denied,
            "READONLY" | "MASTERDOWN" | "UNBLOCKED" => Self::NotMaster,
            "LOADING" | "BUSY" => Self::Busy,
            "WRONGTYPE" => Self::WrongType,
            "NOSCRIPT" => Self::ScriptGone,
            "MOVED" => {
                let place = words.rsplit(' ').next().and_then(Endpoint::of_cluster);
                return place.map_or_else(|| Self::Refused(words.to_owned()), Self::Moved);
            }
            _ => Self::Refused,
        };
        kind(words.to_owned())
    }
}

/// Whether a server that answers a write like this has written nothing and may take it later.
pub(super) fn is_refusal(words: &str) -> bool {
    matches!(code(words), "OOM" | "MISCONF" | "NOREPLICAS")
}

/// The first word. Redis 6 hides that of an error in a script: `ERR Error running script (call to
/// f_…): @user_script:1: -OOM command not allowed …`.
fn code(words: &str) -> &str {
    let in_script = words.starts_with("ERR Error running script");
    let hidden = if in_script { words.rsplit_once(": -") } else { None };
    let words = hidden.map_or(words, |(_, words)| words);
    words.split(' ').next().unwrap_or_default()
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot connect: {}", Logged(why)),
            Self::Tls(why) => write!(f, "TLS failed: {}", Logged(why)),
            Self::Closed(why) => write!(f, "the connection has ended: {}", Logged(why)),
            Self::Silent(limit) => write!(f, "no answer for {limit:?}"),
            Self::Denied(words) => write!(f, "access denied: {}", Logged(words)),
            Self::NotMaster(words) => write!(f, "not a master: {}", Logged(words)),
            Self::Busy(words) => write!(f, "the server is busy: {}", Logged(words)),
            Self::Moved(place) => write!(f, "the namespace is on {}", Logged(&place.to_string())),
            Self::WrongType(words) => {
                write!(f, "another program uses keys of the namespace: {}", Logged(words))
            }
            Self::ScriptGone(words) => {
                write!(f, "the server has lost the script: {}", Logged(words))
            }
            Self::Refused(words) => write!(f, "the server reports: {}", Logged(words)),
            Self::TooLarge => f.write_str("a reply is too large"),
            Self::Malformed(what) => write!(f, "not an answer of Redis: {}", Logged(what)),
            Self::TwoServers => f.write_str("two connections have reached different servers"),
            Self::NoMaster(why) => write!(f, "no Sentinel knows the master: {}", Logged(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_their_first_word() {
        let shown = |words: &str| Down::of_error(words);
        let kept =
            |kind: fn(String) -> Down, words: &str| assert_eq!(shown(words), kind(words.into()));
        kept(Down::Denied, "NOAUTH Authentication required.");
        kept(Down::Denied, "WRONGPASS invalid username-password pair or user is disabled.");
        kept(Down::Denied, "NOPERM this user has no permissions to run the 'xread' command");
        kept(Down::NotMaster, "READONLY You can't write against a read only replica.");
        kept(Down::NotMaster, "MASTERDOWN Link with MASTER is down");
        kept(Down::Busy, "LOADING Redis is loading the dataset in memory");
        kept(Down::Busy, "BUSY Redis is busy running a script.");
        kept(Down::WrongType, "WRONGTYPE Operation against a key holding the wrong kind of value");
        kept(Down::ScriptGone, "NOSCRIPT No matching script. Please use EVAL.");
        kept(Down::Refused, "ERR unknown command");
        kept(Down::Refused, "");
        kept(Down::Refused, "MOVED");
        kept(Down::Refused, "MOVED 12 nowhere");
        let moved = Down::Moved(Endpoint::new("10.0.0.7", 7001));
        assert_eq!(shown("MOVED 3999 10.0.0.7:7001"), moved);
    }

    #[test]
    fn an_error_inside_a_script_counts_on_redis_6_too() {
        let of_6 = "ERR Error running script (call to f_8a1): @user_script:1: @user_script: 1: \
                    -OOM command not allowed when used memory > 'maxmemory'.";
        let of_7 = "OOM command not allowed when used memory > 'maxmemory'. script: 8a1, on @user_script:1.";
        assert!(is_refusal(of_6) && is_refusal(of_7));
        let of_6 = "ERR Error running script (call to f_8a1): @user_script:1: -WRONGTYPE Operation";
        assert_eq!(Down::of_error(of_6), Down::WrongType(of_6.to_owned()));
        assert!(!is_refusal("ERR a text: -OOM in it"));
    }

    #[test]
    fn words_of_a_server_cannot_break_a_line_of_the_log() {
        let shown = Down::Refused("ERR a\nb\u{202e}".into()).to_string();
        assert_eq!(shown, "the server reports: ERR a\\nb\\u{202e}");
    }
}
