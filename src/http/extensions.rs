//! [`Extensions`]: values that layers pass to the handlers inside them.

use std::{
    any::{Any, TypeId},
    fmt,
};

/// Values that travel with a [`Request`](crate::Request), at most one of each type. A layer uses them to
/// pass something to the handlers inside it, such as the user who has logged in.
///
/// ```
/// use starwheel::{Answer, Context, Handler, Request, Response, Router, StatusCode};
/// use starwheel::testing::Simulation;
///
/// #[derive(Clone)]
/// struct User { name: String }
///
/// struct LoggedIn<H>(H);
///
/// impl<H: Handler> Handler for LoggedIn<H> {
///     fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
///         let Some(name) = request.cookie("user").map(str::to_owned) else {
///             return Response::error(StatusCode::UNAUTHORIZED, "log in first").into();
///         };
///         request.extensions_mut().insert(User { name });
///         self.0.handle(request, cx)
///     }
/// }
///
/// let router = Router::new().get("/", |req, _cx| match req.extension::<User>() {
///     Some(user) => Response::text(format!("hello {}", user.name)),
///     None => Response::text("hello"),
/// });
/// let mut simulation = Simulation::new(LoggedIn(router));
/// let client = simulation.get("/");
/// assert_eq!(simulation.response(client).status, 401);
/// ```
///
/// Use your own types, so that layers do not overwrite each other's values. They are dropped when the
/// request has been answered; a stream's closures must take along what they need. A request without
/// values allocates nothing. Lookups are linear in the number of values.
///
/// The engine catches panics of their destructors one by one. If you keep a clone of the request, two
/// destructors that panic when it is dropped abort the process, as in any struct.
#[derive(Clone, Default)]
pub struct Extensions {
    values: Vec<(TypeId, Box<dyn Value>)>,
}

impl Extensions {
    pub(super) const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Adds a value, and returns the one of this type that it replaces.
    ///
    /// It must be `Clone` because requests are, and `Send` and `Sync` so that a request may move to
    /// another thread. An `Arc` is all of these. Costs one allocation.
    ///
    /// ```
    /// let mut extensions = starwheel::Extensions::default();
    /// assert_eq!(extensions.insert(1_u8), None);
    /// assert_eq!(extensions.insert(2_u8), Some(1));
    /// ```
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let replaced = self.remove();
        self.values.push((TypeId::of::<T>(), Box::new(value)));
        replaced
    }

    /// The value of this type.
    ///
    /// ```
    /// let mut extensions = starwheel::Extensions::default();
    /// extensions.insert("text");
    /// assert_eq!((extensions.get::<&str>(), extensions.get::<u8>()), (Some(&"text"), None));
    /// ```
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let (_, value) = self.values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.as_ref().as_any().downcast_ref()
    }

    /// The value of this type, mutable.
    ///
    /// ```
    /// let mut extensions = starwheel::Extensions::default();
    /// extensions.insert(1_u8);
    /// *extensions.get_mut::<u8>().unwrap() += 1;
    /// assert_eq!(extensions.get(), Some(&2_u8));
    /// ```
    #[must_use]
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        let (_, value) = self.values.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.as_mut().as_any_mut().downcast_mut()
    }

    /// Removes and returns the value of this type.
    ///
    /// ```
    /// let mut extensions = starwheel::Extensions::default();
    /// extensions.insert(1_u8);
    /// assert_eq!((extensions.remove::<u8>(), extensions.remove::<u8>()), (Some(1), None));
    /// ```
    pub fn remove<T: 'static>(&mut self) -> Option<T> {
        let index = self.values.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, value) = self.values.swap_remove(index);
        value.into_any().downcast().ok().map(|value| *value)
    }

    /// Removes any value, to be dropped separately: its destructor may panic.
    pub(crate) fn pop(&mut self) -> Option<impl Sized + use<>> {
        self.values.pop()
    }
}

/// Any value that can be cloned.
trait Value: Send + Sync {
    fn boxed_clone(&self) -> Box<dyn Value>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Clone + Send + Sync + 'static> Value for T {
    fn boxed_clone(&self) -> Box<dyn Value> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

// `as_ref`, because a box of a value is a `Value` itself and would be asked for its own clone.
impl Clone for Box<dyn Value> {
    fn clone(&self) -> Self {
        self.as_ref().boxed_clone()
    }
}

/// Shows no values, because they may be secrets.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").field("values", &self.values.len()).finish()
    }
}
