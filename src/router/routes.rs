//! The handlers of each pattern, and the layers around them.
//!
//! It knows no patterns: a route is a number here, found by the [`Router`](super::Router).

use std::{
    fmt, mem,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    engine::{Answer, Context, Handler, drop_each},
    http::{Method, Request, Response, RoutesId, StatusCode},
};

/// The routes inside a layer; see [`Router::layer`](super::Router::layer).
///
/// It is a [`Handler`], which the layer calls with the request that it received. A request that the
/// router has not matched gets a 404.
///
/// ```
/// use starwheel::{Answer, Context, Handler, Request, Router, Routes};
/// /// Adds a header field to every response and stream.
/// struct NoFrames(Routes);
///
/// impl Handler for NoFrames {
///     fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
///         self.0.handle(request, cx).with_header("X-Frame-Options", "DENY")
///     }
/// }
/// let router = Router::new().get("/", |_req, _cx| starwheel::Response::html("")).layer(NoFrames);
/// # let _ = router;
/// ```
#[derive(Default)]
pub struct Routes {
    /// Zero outside of layers.
    id: RoutesId,
    targets: Vec<Target>,
    layers: Vec<Layer>,
}

/// A layer, and the name of the routes inside.
struct Layer {
    inside: RoutesId,
    handler: Box<dyn Handler>,
}

/// What answers the requests of one pattern.
enum Target {
    Methods(Methods),
    AnyMethod(Box<dyn Handler>),
    /// This route of the [`Routes`] that are inside this layer.
    Layered {
        layer: usize,
        route: usize,
    },
}

/// Names of routes inside of layers.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

#[derive(Default)]
struct Methods(Vec<(Method, Box<dyn Handler>)>);

impl Routes {
    /// A route that has no methods yet.
    pub(super) fn add(&mut self) -> usize {
        self.targets.push(Target::Methods(Methods::default()));
        self.targets.len() - 1
    }

    /// A new route for a handler of every method.
    pub(super) fn add_any_method(&mut self, handler: Box<dyn Handler>) -> usize {
        self.targets.push(Target::AnyMethod(handler));
        self.targets.len() - 1
    }

    /// # Panics
    /// If the method is taken.
    #[track_caller]
    pub(super) fn add_method(
        &mut self,
        route: usize,
        pattern: &str,
        method: Method,
        handler: Box<dyn Handler>,
    ) {
        let methods = Methods(vec![(method, handler)]);
        self.targets[route].join(Target::Methods(methods), pattern);
    }

    /// Takes over the layers of another router; returns how many there were here.
    pub(super) fn append_layers(&mut self, other: &mut Self) -> usize {
        let count = self.layers.len();
        self.layers.append(&mut other.layers);
        count
    }

    /// Adds what answers a route of another router whose layers begin here at `first_layer`.
    ///
    /// # Panics
    /// If both answer the same.
    #[track_caller]
    pub(super) fn join(
        &mut self,
        route: usize,
        pattern: &str,
        other: (&mut Self, usize),
        first_layer: usize,
    ) {
        let (other, index) = other;
        let nothing = Target::Methods(Methods::default());
        let mut target = mem::replace(&mut other.targets[index], nothing);
        if let Target::Layered { layer, .. } = &mut target {
            *layer += first_layer;
        }
        self.targets[route].join(target, pattern);
    }

    /// Puts a layer around all routes.
    pub(super) fn layer<H: Handler + 'static>(&mut self, layer: impl FnOnce(Self) -> H) {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut inside = mem::take(self);
        inside.id = id;
        let all = 0..inside.targets.len();
        self.targets = all.map(|route| Target::Layered { layer: 0, route }).collect();
        self.layers.push(Layer { inside: id, handler: Box::new(layer(inside)) });
    }

    /// Has one route answer.
    pub(super) fn answer(
        &mut self,
        route: usize,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Answer {
        match &mut self.targets[route] {
            Target::Methods(methods) => methods.handle(request, cx),
            Target::AnyMethod(handler) => handler.handle(request, cx),
            Target::Layered { layer, route } => {
                let layer = &mut self.layers[*layer];
                let depth = request.layers_mut().enter(layer.inside, *route);
                let answer = layer.handler.handle(request, cx);
                request.layers_mut().leave(depth);
                answer
            }
        }
    }
}

impl Handler for Routes {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        match request.layers().route(self.id) {
            Some(route) if route < self.targets.len() => self.answer(route, request, cx),
            _ => Response::not_found().into(),
        }
    }
}

impl Target {
    #[track_caller]
    fn join(&mut self, other: Self, pattern: &str) {
        match (self, other) {
            (Self::Methods(methods), Self::Methods(others)) => methods.join(others, pattern),
            (target @ Self::Methods(_), other) if target.is_empty() => *target = other,
            (Self::AnyMethod(_), _) | (_, Self::AnyMethod(_)) => {
                panic!("{pattern} has a handler for all methods, so it can have no other")
            }
            (Self::Layered { .. }, _) | (_, Self::Layered { .. }) => panic!(
                "{pattern} is inside a layer already; add all of its methods before Router::layer"
            ),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Methods(Methods(methods)) if methods.is_empty())
    }
}

impl Methods {
    #[track_caller]
    fn join(&mut self, others: Self, pattern: &str) {
        for (method, handler) in others.0 {
            let taken = self.0.iter().any(|(other, _)| *other == method);
            assert!(!taken, "{method} {pattern} has a handler already");
            self.0.push((method, handler));
        }
    }

    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let method = request.method();
        let exact = self.0.iter().position(|(known, _)| *known == method);
        let found = exact.or_else(|| {
            let get = || self.0.iter().position(|(known, _)| *known == Method::Get);
            (method == Method::Head).then(get).flatten()
        });
        match found {
            Some(found) => self.0[found].1.handle(request, cx),
            None if method == Method::Options => {
                Response::no_content().with_header("Allow", self.allow()).into()
            }
            None => Response::error(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not allowed here, but {}", self.allow()),
            )
            .with_header("Allow", self.allow())
            .into(),
        }
    }

    /// The methods that are answered, for the `Allow` field (RFC 9110, 10.2.1).
    fn allow(&self) -> String {
        let mut allowed: Vec<&str> = self.0.iter().map(|(method, _)| method.as_str()).collect();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        if !allowed.contains(&"OPTIONS") {
            allowed.push("OPTIONS");
        }
        allowed.join(", ")
    }
}

/// Handlers are dropped one by one: two destructors that panic in one unwinding end the process.
impl Drop for Routes {
    fn drop(&mut self) {
        for target in self.targets.drain(..) {
            match target {
                Target::Methods(Methods(methods)) => {
                    drop_each(methods.into_iter().map(|(_, handler)| handler));
                }
                Target::AnyMethod(handler) => drop_each([handler]),
                Target::Layered { .. } => {}
            }
        }
        drop_each(self.layers.drain(..).map(|layer| layer.handler));
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("count", &self.targets.len()).finish_non_exhaustive()
    }
}
