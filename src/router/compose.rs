//! Combining routers, and layers around a part of one.

use super::{Entry, Router, Routes};
use crate::{engine::Handler, http::Method};

/// Your own handler types, combined routers, and layers.
impl Router {
    /// Answers requests of one method with any [`Handler`]; [`on`](Self::on) is the same for closures.
    ///
    /// ```
    /// use starwheel::{Answer, Context, Handler, Method, Request, Response, Router};
    /// struct Counter { count: u64 }
    ///
    /// impl Handler for Counter {
    ///     fn handle(&mut self, _request: &mut Request, _cx: &mut Context<'_>) -> Answer {
    ///         self.count += 1;
    ///         Response::text(self.count.to_string()).into()
    ///     }
    /// }
    ///
    /// let router = Router::new().handler(Method::Post, "/count", Counter { count: 0 });
    /// # let _ = router;
    /// ```
    ///
    /// # Panics
    /// As [`on`](Self::on).
    #[must_use]
    #[track_caller]
    pub fn handler(
        mut self,
        method: Method,
        pattern: &str,
        handler: impl Handler + 'static,
    ) -> Self {
        let route = self.route(pattern);
        self.routes.add_method(route, pattern, method, Box::new(handler));
        self
    }

    /// Answers requests of every method, including `OPTIONS`, with one [`Handler`].
    ///
    /// # Panics
    /// As [`on`](Self::on), and when the pattern has another handler.
    ///
    /// ```
    /// use starwheel::{Context, Request, Response, Router};
    /// let echo = |req: &Request, _: &mut Context<'_>| Response::text(req.method().to_string());
    /// let router = Router::new().any_method("/echo", echo);
    /// # let _ = router;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn any_method(self, pattern: &str, handler: impl Handler + 'static) -> Self {
        let mut one = Self::new();
        let route = one.routes.add_any_method(Box::new(handler));
        one.insert(pattern, route);
        self.merge(one)
    }

    /// Answers requests that match no route with any [`Handler`], instead of 404;
    /// [`fallback`](Self::fallback) is the same for closures.
    ///
    /// ```
    /// use starwheel::{Context, Request, Response, Router};
    /// let home = |_: &Request, _: &mut Context<'_>| Response::redirect("/");
    /// let router = Router::new().fallback_handler(home);
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn fallback_handler(mut self, handler: impl Handler + 'static) -> Self {
        self.fallback = Some(self.routes.add_any_method(Box::new(handler)));
        self
    }

    /// Adds the routes of another router, with the layers around them.
    ///
    /// Both routers may have handlers for different methods of the same pattern, unless a layer is
    /// around it.
    ///
    /// ```
    /// use starwheel::{Response, Router};
    /// fn pages() -> Router {
    ///     Router::new().get("/", |_req, _cx| Response::html("<h1>Hello</h1>"))
    /// }
    /// fn commands() -> Router {
    ///     Router::new().post("/say", |_req, _cx| Response::no_content())
    /// }
    /// let router = pages().merge(commands());
    /// # let _ = router;
    /// ```
    ///
    /// # Panics
    /// When both have a handler for the same method of a pattern, when patterns conflict, or when both
    /// have a fallback.
    #[must_use]
    #[track_caller]
    pub fn merge(mut self, mut other: Self) -> Self {
        let first_layer = self.routes.append_layers(&mut other.routes);
        for Entry { pattern, route: index } in &other.entries {
            let route = self.route(pattern);
            self.routes.join(route, pattern, (&mut other.routes, *index), first_layer);
        }
        if let Some(index) = other.fallback {
            assert!(self.fallback.is_none(), "both routers have a fallback; keep one of them");
            let route = self.routes.add();
            self.routes.join(route, "the fallback", (&mut other.routes, index), first_layer);
            self.fallback = Some(route);
        }
        self
    }

    /// Adds the routes of another router under a prefix, with the layers around them.
    ///
    /// `/` of `inner` becomes the prefix itself. The prefix may have parameters. It is not stripped:
    /// handlers, statistics and logs see the full [`Request::path`](crate::Request::path) and
    /// [`Request::route`](crate::Request::route).
    ///
    /// ```
    /// use starwheel::{testing::Simulation, Response, Router};
    /// let todos = Router::new()
    ///     .get("/", |_req, _cx| Response::text("all"))
    ///     .get("/{id}", |req, _cx| Response::text(req.route().unwrap_or_default().to_owned()));
    /// let mut simulation = Simulation::new(Router::new().nest("/api/todos", todos));
    /// let client = simulation.get("/api/todos");
    /// assert_eq!(simulation.response(client).text(), "all");
    /// let client = simulation.get("/api/todos/7");
    /// assert_eq!(simulation.response(client).text(), "/api/todos/{id}");
    /// ```
    ///
    /// # Panics
    /// As [`merge`](Self::merge); when the prefix does not begin with a slash or ends with one; when
    /// `inner` has a fallback, or a parameter with the name of one in the prefix.
    #[must_use]
    #[track_caller]
    pub fn nest(self, prefix: &str, inner: Self) -> Self {
        assert!(
            prefix.starts_with('/') && !prefix.ends_with('/'),
            "the prefix {prefix:?} must begin with a slash and not end with one; use merge for none"
        );
        assert!(
            inner.fallback.is_none(),
            "the router nested at {prefix} has a fallback; set it on the outer router"
        );
        let mut nested = Self::new();
        for Entry { pattern, route } in &inner.entries {
            assert!(
                pattern.starts_with('/'),
                "the pattern {pattern:?}, nested at {prefix}, must begin with a slash"
            );
            if let Some(name) =
                parameters(pattern).find(|name| parameters(prefix).any(|it| it == *name))
            {
                panic!(
                    "{prefix} and {pattern}, nested there, both have a parameter {name}; rename one"
                );
            }
            let rest = if pattern == "/" { "" } else { pattern };
            nested.insert(&format!("{prefix}{rest}"), *route);
        }
        self.merge(Self { routes: inner.routes, ..nested })
    }

    /// Puts a layer around the routes added so far, and around the fallback if there is one.
    ///
    /// The layer is a [`Handler`] that receives these [`Routes`] and calls them. It runs for every
    /// request that matches one of their patterns, with any method, so it also sees preflights and
    /// 405 responses. Route and parameters are already set. Routes added later are outside the layer,
    /// and so is a 404, unless it comes from a fallback.
    ///
    /// ```
    /// use starwheel::{OriginCheck, Response, Router};
    /// let router = Router::new()
    ///     .post("/pay", |_req, _cx| Response::no_content())
    ///     .layer(|routes| OriginCheck::new().around(routes))
    ///     .post("/webhook", |_req, _cx| Response::no_content());
    /// # let _ = router;
    /// ```
    ///
    /// A layer costs one more call per request inside it, and nothing outside.
    #[must_use]
    pub fn layer<H: Handler + 'static>(mut self, layer: impl FnOnce(Routes) -> H) -> Self {
        self.routes.layer(layer);
        self
    }
}

/// The names of a pattern's parameters: `id` of `/users/{id}`, `rest` of `/files/{*rest}`.
fn parameters(pattern: &str) -> impl Iterator<Item = &str> {
    let pieces = pattern.split('{').skip(1);
    pieces.filter_map(|piece| piece.split_once('}')).map(|(name, _)| name.trim_start_matches('*'))
}
