//! Statistics that are listed by name: of routes and topics.

use super::{RouteStats, Stats, TopicStats};

/// By route.
impl Stats {
    /// Figures by route, with the pattern of each; see [`RouteStats`]. `other` is the first.
    ///
    /// ```
    /// use starwheel::{Router, Sse, testing::Simulation};
    /// let mut simulation = Simulation::new(Router::new().get("/rooms/{id}", |_req, _cx| Sse::new()));
    /// simulation.get("/rooms/1");
    /// simulation.get("/rooms/2");
    /// let by_route: Vec<_> =
    ///     simulation.stats().routes().map(|(pattern, route)| (pattern, route.streams)).collect();
    /// assert_eq!(by_route, [("other", 0), ("/rooms/{id}", 2)]);
    /// ```
    pub fn routes(&self) -> impl Iterator<Item = (&str, &RouteStats)> {
        self.routes.iter()
    }

    /// Figures of the route with this pattern; `None` if it has had no request.
    ///
    /// ```
    /// assert!(starwheel::Stats::default().route("/rooms/{id}").is_none());
    /// ```
    #[must_use]
    pub fn route(&self, pattern: &str) -> Option<&RouteStats> {
        self.routes.get(pattern)
    }
}

/// By topic.
impl Stats {
    /// Figures of the topics that [ask for it](crate::Topic::metrics), with the name of each: at most
    /// 100 of a reactor. They are at most 100 ms old, and [`TopicStats::lag`] at most a second, or as
    /// of the last turn that changed something.
    ///
    /// ```
    /// use starwheel::{Router, Sse, Topic, testing::Simulation};
    /// let news = Topic::new("news").metrics();
    /// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&news));
    /// let mut simulation = Simulation::new(router);
    /// simulation.get("/news");
    /// let topics: Vec<_> =
    ///     simulation.stats().topics().map(|(name, topic)| (name, topic.subscribers)).collect();
    /// assert_eq!(topics, [("news", 1)]);
    /// ```
    pub fn topics(&self) -> impl Iterator<Item = (&str, &TopicStats)> {
        self.topics.iter()
    }

    /// Figures of one of them.
    ///
    /// ```
    /// assert!(starwheel::Stats::default().topic("news").is_none());
    /// ```
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicStats> {
        self.topics.get(name)
    }
}
