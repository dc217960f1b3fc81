//! [`Router`]: selects a closure by method and path.

use std::{collections::HashMap, fmt};

use crate::{
    engine::{Answer, Context, Handler, drop_each},
    http::{Method, Request, Response, StatusCode},
};

/// Selects a closure for a request by its method and path.
///
/// Patterns are those of `matchit`: `/users/{id}` matches one segment, `/files/{*path}` the rest of
/// the path. A handler reads the matched text with [`Request::param`]. An escaped slash stays
/// inside its segment.
///
/// Requests that no closure answers are answered here: 404 for an unknown path; 405 with `Allow`
/// for a known path and another method; `OPTIONS` with `Allow`; `HEAD` through the closure for
/// `GET`.
///
/// ```
/// use starwheel::{testing::Simulation, Response, Router, StatusCode};
///
/// let router = Router::new()
///     .get("/hello/{name}", |req, _cx| {
///         Response::text(format!("Hello, {}!", req.param("name").unwrap_or_default()))
///     })
///     .post("/hello/{name}", |_req, _cx| Response::no_content())
///     .fallback(|req, _cx| Response::error(StatusCode::NOT_FOUND, format!("there is no {}", req.path())));
///
/// let mut simulation = Simulation::new(router);
/// let client = simulation.get("/hello/G%C3%B6del");
/// assert_eq!(simulation.response(client).body, "Hello, Gödel!".as_bytes());
/// ```
#[derive(Default)]
pub struct Router {
    patterns: matchit::Router<usize>,
    by_pattern: HashMap<String, usize>,
    routes: Vec<Route>,
    fallback: Option<Box<dyn Handler>>,
}

/// The closures of one pattern.
struct Route {
    pattern: String,
    by_method: Vec<(Method, Box<dyn Handler>)>,
}

impl Router {
    /// A router that answers 404 to everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `GET` requests, and `HEAD` requests without the body.
    #[must_use]
    pub fn get<F, R>(self, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.on(Method::Get, pattern, handler)
    }

    /// Answers `POST` requests.
    #[must_use]
    pub fn post<F, R>(self, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.on(Method::Post, pattern, handler)
    }

    /// Answers `PUT` requests.
    #[must_use]
    pub fn put<F, R>(self, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.on(Method::Put, pattern, handler)
    }

    /// Answers `PATCH` requests.
    #[must_use]
    pub fn patch<F, R>(self, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.on(Method::Patch, pattern, handler)
    }

    /// Answers `DELETE` requests.
    #[must_use]
    pub fn delete<F, R>(self, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.on(Method::Delete, pattern, handler)
    }

    /// Answers requests of any one method.
    ///
    /// ```
    /// use starwheel::{Context, Method, Response, Request, Router};
    /// fn search(_req: &Request, _cx: &mut Context<'_>) -> Response {
    ///     Response::text("found")
    /// }
    /// let router = Router::new().on(Method::Query, "/search", search).get("/search", search);
    /// # let _ = router;
    /// ```
    ///
    /// # Panics
    /// When the pattern is malformed, conflicts with an earlier one, or already has a handler for
    /// this method. Such mistakes appear at startup.
    #[must_use]
    pub fn on<F, R>(mut self, method: Method, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        let route = self.route(pattern);
        let taken = route.by_method.iter().any(|(other, _)| *other == method);
        assert!(!taken, "{method} {pattern} has a handler already");
        route.by_method.push((method, Box::new(handler)));
        self
    }

    /// Answers requests that match no route, instead of 404.
    #[must_use]
    pub fn fallback<F, R>(mut self, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.fallback = Some(Box::new(handler));
        self
    }

    fn route(&mut self, pattern: &str) -> &mut Route {
        let next = self.routes.len();
        let index = *self.by_pattern.entry(pattern.to_owned()).or_insert(next);
        if index == next {
            if let Err(error) = self.patterns.insert(pattern, index) {
                panic!("the route {pattern} cannot be added: {error}");
            }
            self.routes.push(Route { pattern: pattern.to_owned(), by_method: Vec::new() });
        }
        &mut self.routes[index]
    }
}

impl Handler for Router {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        // The path is taken out while its pieces are stored in the same request.
        let path = request.take_route_path();
        let found = self.patterns.at(&path).ok().map(|found| {
            request.set_params(found.params.iter());
            *found.value
        });
        request.put_route_path(path);
        match found {
            Some(index) => {
                request.set_route(&self.routes[index].pattern);
                self.routes[index].handle(request, cx)
            }
            None => match &mut self.fallback {
                Some(fallback) => fallback.handle(request, cx),
                None if request.target() == "*" => Response::no_content().into(),
                None => Response::not_found().into(),
            },
        }
    }
}

impl Handler for Route {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let method = request.method();
        let exact = self.by_method.iter().position(|(known, _)| *known == method);
        let found = exact.or_else(|| {
            let get = || self.by_method.iter().position(|(known, _)| *known == Method::Get);
            (method == Method::Head).then(get).flatten()
        });
        match found {
            Some(found) => self.by_method[found].1.handle(request, cx),
            None if method == Method::Options => {
                Response::no_content().with_header("Allow", self.allow()).into()
            }
            None => Response::error(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not allowed here; use {}", self.allow()),
            )
            .with_header("Allow", self.allow())
            .into(),
        }
    }
}

impl Route {
    /// The allowed methods, for the `Allow` field (RFC 9110, 10.2.1).
    fn allow(&self) -> String {
        let mut allowed: Vec<&str> = self.by_method.iter().map(|(m, _)| m.as_str()).collect();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        if !allowed.contains(&"OPTIONS") {
            allowed.push("OPTIONS");
        }
        allowed.join(", ")
    }
}

/// Closures are dropped one by one: two destructors that panic during one unwinding abort the
/// process.
impl Drop for Router {
    fn drop(&mut self) {
        let of_routes = self.routes.drain(..).flat_map(|route| route.by_method);
        drop_each(of_routes.map(|(_, handler)| handler).chain(self.fallback.take()));
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("patterns", &self.by_pattern.keys()).finish_non_exhaustive()
    }
}
