//! Route patterns, as numbers that fit a gap in each connection.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::conn::RouteIndex;

#[derive(Debug, Default)]
pub(in crate::engine) struct Routes {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, RouteIndex, BuildHasherDefault<Fnv>>,
    /// The last one looked up: bursts of requests are usually for one route.
    last: Option<RouteIndex>,
}

impl Routes {
    /// The number of a pattern that has one.
    #[inline]
    pub(in crate::engine) fn find(&mut self, pattern: &str) -> Option<RouteIndex> {
        if let Some(last) = self.last
            && **self.name(last) == *pattern
        {
            return self.last;
        }
        self.last = self.numbers.get(pattern).copied();
        self.last
    }

    /// Gives a pattern its number. A program that generates patterns runs out of numbers; its further
    /// routes have none.
    #[cold]
    pub(in crate::engine) fn add(&mut self, pattern: &str) -> Option<RouteIndex> {
        let number = RouteIndex::new(self.names.len())?;
        let name: Arc<str> = pattern.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        self.last = Some(number);
        self.last
    }

    pub(in crate::engine) fn name(&self, route: RouteIndex) -> &Arc<str> {
        &self.names[route.number()]
    }
}

/// FNV-1a: the quickest for texts of a few bytes. Patterns come from the program, not from clients,
/// so none are made to collide.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_number_and_numbers_end() {
        let mut routes = Routes::default();
        assert_eq!(routes.find("/a"), None);
        let [a, b] = ["/a", "/b"].map(|route| routes.add(route).unwrap());
        assert_ne!(a, b);
        assert_eq!(
            (routes.find("/a"), &**routes.name(a), &**routes.name(b)),
            (Some(a), "/a", "/b")
        );
        for number in 0..70_000 {
            routes.add(&format!("/{number}"));
        }
        assert_eq!((routes.add("/one more"), routes.find("/one more")), (None, None));
        assert_eq!(routes.find("/b"), Some(b));
    }
}
