//! [`Route`]: which address to try next.
//!
//! Each attempt begins with the URL: names are resolved, Sentinels are asked. An address that cannot
//! be reached is followed by the next one, immediately. The attempt has failed when none is left.

use std::{collections::VecDeque, fmt, io, net::SocketAddr, path::PathBuf};

use super::{
    Down,
    address::{Address, Endpoint, Servers},
};

/// Looks a name up.
pub(super) type Resolve = fn(&Endpoint) -> io::Result<Vec<SocketAddr>>;

#[derive(Debug)]
pub(super) struct Route {
    address: Address,
    resolve: Resolve,
    steps: VecDeque<Step>,
    /// The Sentinel that is asked first. It is the one that knew the master.
    first_sentinel: usize,
    /// This attempt has followed a `MOVED` already.
    has_followed: bool,
    /// Why the last address failed.
    why: Option<Down>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    ResolveSentinel(usize),
    Resolve(Endpoint),
    Take(Hop),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hop {
    /// Ask the Sentinel of this number.
    Ask(usize, Place),
    /// Open both connections.
    Join(Place),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        address: SocketAddr,
        /// As it was written, for its certificate.
        host: String,
    },
    Unix(PathBuf),
}

impl Route {
    pub(super) fn new(address: Address, resolve: Resolve) -> Self {
        Self {
            address,
            resolve,
            steps: VecDeque::new(),
            first_sentinel: 0,
            has_followed: false,
            why: None,
        }
    }

    /// Begins an attempt.
    pub(super) fn restart(&mut self) {
        (self.has_followed, self.why) = (false, None);
        self.steps = match &self.address.servers {
            Servers::One(endpoint) => [Step::Resolve(endpoint.clone())].into(),
            Servers::Unix(path) => [Step::Take(Hop::Join(Place::Unix(path.clone())))].into(),
            Servers::Named { sentinels, .. } => {
                let count = sentinels.len();
                let all = (0..count).map(|n| (self.first_sentinel + n) % count);
                all.map(Step::ResolveSentinel).collect()
            }
        };
    }

    /// The next address. It blocks while a name is looked up.
    ///
    /// # Errors
    /// None is left: why the last one failed.
    pub(super) fn next(&mut self) -> Result<Hop, Down> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Take(hop)) => return Ok(hop),
                Some(Step::Resolve(endpoint)) => self.look_up(&endpoint, Hop::Join),
                Some(Step::ResolveSentinel(number)) => {
                    if let Servers::Named { sentinels, .. } = &self.address.servers
                        && let Some(endpoint) = sentinels.get(number).cloned()
                    {
                        self.look_up(&endpoint, |place| Hop::Ask(number, place));
                    }
                }
                None => return Err(self.why.take().unwrap_or_else(no_address)),
            }
        }
    }

    /// The last address failed.
    pub(super) fn note_failure(&mut self, why: Down) {
        self.why = Some(why);
    }

    /// The Sentinel could not be asked, or does not know.
    pub(super) fn note_silent_sentinel(&mut self, why: &Down) {
        self.why = Some(Down::NoMaster(why.to_string()));
    }

    /// The Sentinel of this number names the master. The others are not asked anymore.
    pub(super) fn found_master(&mut self, sentinel: usize, master: Endpoint) {
        self.first_sentinel = sentinel;
        self.steps = [Step::Resolve(master)].into();
    }

    /// What the Sentinel names is no master: another Sentinel may know more.
    pub(super) fn doubt_sentinel(&mut self) {
        self.first_sentinel = self.first_sentinel.wrapping_add(1);
    }

    /// A server of a cluster names the one that has the namespace. Whether that is tried: once in an
    /// attempt.
    pub(super) fn follow(&mut self, mut endpoint: Endpoint, place: &Place) -> bool {
        if self.has_followed {
            return false;
        }
        self.has_followed = true;
        if endpoint.host.is_empty()
            && let Place::Tcp { host, .. } = place
        {
            endpoint.host.clone_from(host);
        }
        self.steps = [Step::Resolve(endpoint)].into();
        true
    }

    fn look_up(&mut self, endpoint: &Endpoint, hop: impl Fn(Place) -> Hop) {
        match (self.resolve)(endpoint) {
            Ok(addresses) => {
                for address in addresses.into_iter().rev() {
                    let place = Place::Tcp { address, host: endpoint.host.clone() };
                    self.steps.push_front(Step::Take(hop(place)));
                }
            }
            Err(error) => {
                self.why = Some(Down::Unreachable(format!("{}: {error}", endpoint.host)));
            }
        }
    }
}

fn no_address() -> Down {
    Down::Unreachable("the name has no address".into())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `two` has two addresses, `none` has none, others have one with that last digit.
    fn resolve(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        let digits = match endpoint.host.as_str() {
            "two" => "12",
            "none" => return Err(io::Error::other("unknown name")),
            "empty" => "",
            host => &host[host.len() - 1..],
        };
        let address = |digit| format!("10.0.0.{digit}:{}", endpoint.port).parse().unwrap();
        Ok(digits.chars().map(address).collect())
    }

    fn route(url: &str) -> Route {
        let mut route = Route::new(Address::parse(url).unwrap(), resolve);
        route.restart();
        route
    }

    /// All hops, if each of them fails.
    fn hops(route: &mut Route) -> Vec<String> {
        let mut hops = Vec::new();
        loop {
            match route.next() {
                Ok(Hop::Ask(n, place)) => {
                    hops.push(format!("ask {n} at {place}"));
                    route.note_silent_sentinel(&Down::Refused("x".into()));
                }
                Ok(Hop::Join(place)) => {
                    hops.push(format!("join {place}"));
                    route.note_failure(Down::Closed(place.to_string()));
                }
                Err(why) => {
                    hops.push(why.to_string());
                    return hops;
                }
            }
        }
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        let why = "the connection has ended: 10.0.0.2:6379";
        let all = ["join 10.0.0.1:6379", "join 10.0.0.2:6379", why];
        let mut route = route("redis://two");
        assert_eq!(hops(&mut route), all);
        route.restart();
        assert_eq!(hops(&mut route), all);
    }

    #[test]
    fn a_name_without_an_address_is_a_reason() {
        assert_eq!(hops(&mut route("redis://none")), ["cannot connect: none: unknown name"]);
        let no_address = "cannot connect: the name has no address";
        assert_eq!(hops(&mut route("redis://empty")), [no_address]);
        let unix = hops(&mut route("unix:///run/r.sock"));
        assert_eq!(unix, ["join /run/r.sock", "the connection has ended: /run/r.sock"]);
    }

    #[test]
    fn sentinels_are_asked_in_turn_until_one_knows() {
        let mut route = route("redis+sentinel://s3,none,two:7/main");
        let all = [
            "ask 0 at 10.0.0.3:26379",
            "ask 2 at 10.0.0.1:7",
            "ask 2 at 10.0.0.2:7",
            "no Sentinel knows the master: the server reports: x",
        ];
        assert_eq!(hops(&mut route), all);
        route.restart();
        route.next().unwrap();
        assert!(matches!(route.next(), Ok(Hop::Ask(2, _))));
        route.found_master(2, Endpoint::new("m9", 1));
        assert_eq!(hops(&mut route)[0], "join 10.0.0.9:1");
        route.restart();
        assert_eq!(hops(&mut route)[0], "ask 2 at 10.0.0.1:7", "it knew the last time");
        route.doubt_sentinel();
        route.restart();
        assert_eq!(hops(&mut route)[0], "ask 0 at 10.0.0.3:26379");
    }

    #[test]
    fn a_move_is_followed_once_in_an_attempt() {
        let mut route = route("redis://h1");
        let Ok(Hop::Join(place)) = route.next() else { panic!() };
        assert!(route.follow(Endpoint::new("h5", 70), &place));
        assert_eq!(
            route.next().map_err(|_| ()),
            Ok(Hop::Join(Place::Tcp {
                address: "10.0.0.5:70".parse().unwrap(),
                host: "h5".into(),
            }))
        );
        assert!(!route.follow(Endpoint::new("h6", 70), &place));
        route.restart();
        route.next().unwrap();
        assert!(route.follow(Endpoint::new("", 70), &place), "the same host");
        assert_eq!(hops(&mut route)[0], "join 10.0.0.1:70");
    }
}
