//! Route patterns of streams, as numbers that fit a gap in each connection.

use std::{collections::HashMap, sync::Arc};

use crate::conn::RouteIndex;

#[derive(Debug, Default)]
pub(in crate::engine) struct Routes {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, RouteIndex>,
    /// The last one looked up: bursts of requests are usually for one route.
    last: Option<RouteIndex>,
}

impl Routes {
    /// The number of a pattern. A program that generates patterns runs out of numbers; its further
    /// streams have none.
    pub(in crate::engine) fn number(&mut self, route: Option<&str>) -> Option<RouteIndex> {
        let route = route?;
        if let Some(last) = self.last
            && self.name(last) == route
        {
            return self.last;
        }
        self.last = self.numbers.get(route).copied().or_else(|| self.add(route));
        self.last
    }

    fn add(&mut self, route: &str) -> Option<RouteIndex> {
        let number = RouteIndex::new(self.names.len())?;
        let name: Arc<str> = route.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Some(number)
    }

    pub(in crate::engine) fn name(&self, route: RouteIndex) -> &str {
        &self.names[route.number()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_number_and_numbers_end() {
        let mut routes = Routes::default();
        assert_eq!(routes.number(None), None);
        let [a, b] = ["/a", "/b"].map(|route| routes.number(Some(route)).unwrap());
        assert_ne!(a, b);
        assert_eq!(
            (routes.number(Some("/a")), routes.name(a), routes.name(b)),
            (Some(a), "/a", "/b")
        );
        for number in 0..70_000 {
            routes.number(Some(&format!("/{number}")));
        }
        assert_eq!(routes.number(Some("/one more")), None);
        assert_eq!(routes.number(Some("/b")), Some(b));
    }
}
