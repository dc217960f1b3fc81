//! [`Router`]: maps method and path to a handler.

mod compose;
mod routes;

use std::{collections::HashMap, fmt};

pub use self::routes::Routes;
use crate::{
    engine::{Answer, Context, Handler},
    http::{Method, Request, Response},
};

/// Finds the handler of a request by its method and path.
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
///
/// Patterns are those of `matchit`: `/users/{id}` matches one segment, `/files/{*path}` all
/// remaining ones. Handlers read the matched text with [`Request::param`]. An escaped slash does not
/// end a segment.
///
/// The router itself answers the rest: 404 for an unknown path, 405 with `Allow` for another method
/// of a known path, and `OPTIONS` with `Allow`. `HEAD` uses the handler for `GET`.
///
/// [`merge`](Self::merge) and [`nest`](Self::nest) combine routers, [`layer`](Self::layer) wraps some
/// routes in a check, and [`handler`](Self::handler) takes your own [`Handler`] types.
#[derive(Default)]
pub struct Router {
    patterns: matchit::Router<usize>,
    by_pattern: HashMap<String, usize>,
    entries: Vec<Entry>,
    routes: Routes,
    /// The route for requests that match no pattern.
    fallback: Option<usize>,
}

/// A pattern, and the route that answers for it.
struct Entry {
    pattern: String,
    route: usize,
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
    /// When the pattern is malformed, conflicts with an earlier one, or already has a handler for this
    /// method. A route that can never be reached is a mistake that should show at startup.
    #[must_use]
    pub fn on<F, R>(self, method: Method, pattern: &str, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.handler(method, pattern, handler)
    }

    /// Answers requests that match no route, instead of 404.
    #[must_use]
    pub fn fallback<F, R>(self, handler: F) -> Self
    where
        F: FnMut(&Request, &mut Context<'_>) -> R + 'static,
        R: Into<Answer> + 'static,
    {
        self.fallback_handler(handler)
    }

    /// The route of a pattern; a new one if there is none.
    #[track_caller]
    fn route(&mut self, pattern: &str) -> usize {
        match self.by_pattern.get(pattern) {
            Some(&index) => self.entries[index].route,
            None => {
                let route = self.routes.add();
                self.insert(pattern, route);
                route
            }
        }
    }

    #[track_caller]
    fn insert(&mut self, pattern: &str, route: usize) {
        let index = self.entries.len();
        if let Err(error) = self.patterns.insert(pattern, index) {
            panic!("the route {pattern} cannot be added: {error}");
        }
        self.by_pattern.insert(pattern.to_owned(), index);
        self.entries.push(Entry { pattern: pattern.to_owned(), route });
    }
}

impl Handler for Router {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        // The path is taken out while its pieces are put into the request beside it.
        let path = request.take_route_path();
        let found = self.patterns.at(&path).ok().map(|found| {
            request.set_params(found.params.iter());
            *found.value
        });
        request.put_route_path(path);
        let route = found.map(|index| {
            let entry = &self.entries[index];
            request.set_route(&entry.pattern);
            entry.route
        });
        match route.or(self.fallback) {
            Some(route) => self.routes.answer(route, request, cx),
            None if request.target() == "*" => Response::no_content().into(),
            None => Response::not_found().into(),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("patterns", &self.by_pattern.keys()).finish_non_exhaustive()
    }
}
