//! `datastar-patch-elements`: adds, changes and removes HTML elements.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use super::{
    Envelope, PATCH_ELEMENTS, encode_selector, envelope_setters, header_values::selector_value,
};
use crate::{
    http::Response,
    sse::{Encode, EventBuffer},
};

/// Patches elements into the page.
///
/// Without a selector, each top-level element of the HTML is morphed into the element with the same
/// `id`, which is the usual way:
///
/// ```
/// use starwheel::{datastar::PatchElements, EventBuffer};
/// let mut out = EventBuffer::new();
/// out.push(&PatchElements::new("<b id=\"left\">9</b>"));
/// assert_eq!(
///     out.as_bytes(),
///     b"event: datastar-patch-elements\ndata: elements <b id=\"left\">9</b>\n\n",
/// );
/// ```
///
/// With a selector all eight modes are available. Without one most are not: the client refuses
/// them, and so does the compiler:
///
/// ```
/// use starwheel::{datastar::{PatchElements, PatchMode}, EventBuffer};
/// let mut out = EventBuffer::new();
/// out.push(&PatchElements::new("<li>hello</li>").selector("#log").mode(PatchMode::Append));
/// assert_eq!(
///     out.as_bytes(),
///     b"event: datastar-patch-elements\n\
///       data: selector #log\n\
///       data: mode append\n\
///       data: elements <li>hello</li>\n\n",
/// );
/// ```
///
/// ```compile_fail
/// use starwheel::datastar::{PatchElements, PatchMode};
/// let nowhere = PatchElements::new("<li>hello</li>").mode(PatchMode::Append);
/// ```
///
/// The elements are anything that implements `Display`: text, `format_args!`, the templates of most
/// template engines. They are formatted once per encoding, directly into the event. They are HTML
/// and are not escaped: pass untrusted text through [`EscapeHtml`](crate::datastar::EscapeHtml)
/// first. Line ends arrive as LF, which is how HTML reads them anyway.
///
/// The type parameters are the type of the elements and of the target ([`ById`] or [`BySelector`]).
/// A function that returns a patch can return `PatchElements<'static, String>`.
#[derive(Debug, Clone)]
#[must_use = "a patch does nothing until it is sent or published"]
pub struct PatchElements<'a, H, T = ById> {
    elements: H,
    target: T,
    view_transition: ViewTransition<'a>,
    namespace: Namespace,
    envelope: Envelope<'a>,
}

impl<'a, H: fmt::Display> PatchElements<'a, H> {
    /// Patches this HTML: each of its top-level elements is morphed into the element with the same
    /// `id`. Elements whose `id` is not on the page are dropped, with a warning in the browser's
    /// console. Empty HTML changes nothing.
    pub fn new(elements: H) -> Self {
        Self {
            elements,
            target: ById { mode: PatchMode::Outer },
            view_transition: ViewTransition::None,
            namespace: Namespace::Html,
            envelope: Envelope::default(),
        }
    }

    /// Replaces the elements with the same `id` instead of morphing them: their state (focus,
    /// scroll position, input) is lost.
    pub fn replace(mut self) -> Self {
        self.target.mode = PatchMode::Replace;
        self
    }

    /// Patches every element that matches this CSS selector instead.
    ///
    /// Line ends in the selector become spaces; CSS reads them as white space anyway. The client
    /// treats an empty selector as none and reports `PatchElementsExpectedSelector` in the page's
    /// console unless the mode is `Outer` or `Replace`.
    pub fn selector(
        self,
        selector: impl Into<Cow<'a, str>>,
    ) -> PatchElements<'a, H, BySelector<'a>> {
        PatchElements {
            elements: self.elements,
            target: BySelector { selector: selector.into(), mode: self.target.mode },
            view_transition: self.view_transition,
            namespace: self.namespace,
            envelope: self.envelope,
        }
    }
}

impl<'a> PatchElements<'a, &'static str, BySelector<'a>> {
    /// Removes every element that matches this CSS selector.
    ///
    /// ```
    /// use starwheel::{datastar::PatchElements, EventBuffer};
    /// let mut out = EventBuffer::new();
    /// out.push(&PatchElements::remove("#row-7"));
    /// assert_eq!(
    ///     out.as_bytes(),
    ///     b"event: datastar-patch-elements\ndata: selector #row-7\ndata: mode remove\n\n",
    /// );
    /// ```
    pub fn remove(selector: impl Into<Cow<'a, str>>) -> Self {
        PatchElements::new("").selector(selector).mode(PatchMode::Remove)
    }
}

impl<H> PatchElements<'_, H, BySelector<'_>> {
    /// Where the elements go, relative to the target. `Outer` by default.
    pub fn mode(mut self, mode: PatchMode) -> Self {
        self.target.mode = mode;
        self
    }
}

impl<'a, H, T> PatchElements<'a, H, T> {
    /// Lets the browser animate the change with the View Transition API, if it has one.
    pub fn use_view_transition(mut self) -> Self {
        if matches!(self.view_transition, ViewTransition::None) {
            self.view_transition = ViewTransition::OfDocument;
        }
        self
    }

    /// Like [`use_view_transition`](Self::use_view_transition), but animates the element that
    /// matches this CSS selector instead of the document. Needs Datastar 1.0.2 or later. Line ends
    /// in the selector become spaces.
    pub fn view_transition_selector(mut self, selector: impl Into<Cow<'a, str>>) -> Self {
        self.view_transition = ViewTransition::OfElement(selector.into());
        self
    }

    /// The namespace in which the elements are created. `Html` by default.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    envelope_setters!('a);
}

impl<H: fmt::Display, T: Target> Encode for PatchElements<'_, H, T> {
    fn encode(&self, out: &mut EventBuffer) {
        self.envelope.encode(&PATCH_ELEMENTS, out);
        let (selector, mode) = (self.target.selector(), self.target.mode());
        if let Some(selector) = selector {
            encode_selector("selector", selector, out);
        }
        if mode != PatchMode::default() {
            out.data_with_key("mode", mode.as_str());
        }
        if !matches!(self.view_transition, ViewTransition::None) {
            out.data_with_key("useViewTransition", "true");
        }
        if let ViewTransition::OfElement(selector) = &self.view_transition {
            encode_selector("viewTransitionSelector", selector, out);
        }
        if self.namespace != Namespace::default() {
            out.data_with_key("namespace", self.namespace.as_str());
        }
        let wrote_elements = out.data_unless_empty("elements", |data| {
            // Writing to memory does not fail; a `Display` that reports an error ends its data.
            let _ = write!(data, "{}", self.elements);
        });
        if !wrote_elements && selector.is_none() {
            // An event without data would not be dispatched, and its id not stored.
            out.data_with_key("elements", "");
        }
    }
}

impl<H: fmt::Display, T: Target> PatchElements<'_, H, T> {
    /// The patch as a response that is not a stream: header fields instead of lines.
    pub(super) fn into_response(self) -> Response {
        let mut html = String::new();
        // Writing to memory does not fail; a `Display` that reports an error ends its data.
        let _ = write!(html, "{}", self.elements);
        let mut response = Response::html(html);
        let (selector, mode) = (self.target.selector(), self.target.mode());
        if let Some(selector) = selector {
            response = response.with_header("datastar-selector", selector_value(selector));
        }
        if mode != PatchMode::default() {
            response = response.with_header("datastar-mode", mode.as_str());
        }
        if !matches!(self.view_transition, ViewTransition::None) {
            response = response.with_header("datastar-use-view-transition", "true");
        }
        if self.namespace != Namespace::default() {
            response = response.with_header("datastar-namespace", self.namespace.as_str());
        }
        response
    }
}

/// How [`PatchElements`] finds its target. Sealed: it has no public path.
pub trait Target {
    /// The CSS selector, if there is one.
    fn selector(&self) -> Option<&str>;
    /// Where the elements go, relative to the target.
    fn mode(&self) -> PatchMode;
}

/// The target of [`PatchElements`] without a selector: the elements with the same `id`.
///
/// ```
/// use starwheel::datastar::{ById, PatchElements};
/// fn count(count: u32) -> PatchElements<'static, String, ById> {
///     PatchElements::new(format!("<b id=count>{count}</b>"))
/// }
/// # let _ = count(1);
/// ```
#[derive(Debug, Clone)]
pub struct ById {
    /// `Outer` or `Replace`.
    mode: PatchMode,
}

impl Target for ById {
    fn selector(&self) -> Option<&str> {
        None
    }

    fn mode(&self) -> PatchMode {
        self.mode
    }
}

/// The target of [`PatchElements`] with a selector: all elements that match it.
///
/// ```
/// use starwheel::datastar::{BySelector, PatchElements, PatchMode};
/// fn message(text: String) -> PatchElements<'static, String, BySelector<'static>> {
///     PatchElements::new(text).selector("#messages").mode(PatchMode::Append)
/// }
/// # let _ = message(String::new());
/// ```
#[derive(Debug, Clone)]
pub struct BySelector<'a> {
    selector: Cow<'a, str>,
    mode: PatchMode,
}

impl Target for BySelector<'_> {
    fn selector(&self) -> Option<&str> {
        Some(&self.selector)
    }

    fn mode(&self) -> PatchMode {
        self.mode
    }
}

/// Where patched elements go, relative to the target of the selector.
///
/// ```
/// use starwheel::datastar::{PatchElements, PatchMode};
/// let row = PatchElements::new("<li>new</li>").selector("#rows").mode(PatchMode::Prepend);
/// # let _ = row;
/// ```
///
/// Morphing changes an element into the new one in place and keeps what both share: focus, scroll
/// position, state of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PatchMode {
    /// The target itself is morphed. The default.
    #[default]
    Outer,
    /// The content of the target is morphed.
    Inner,
    /// The target is replaced without morphing.
    Replace,
    /// Into the target, before its first child.
    Prepend,
    /// Into the target, after its last child.
    Append,
    /// Before the target.
    Before,
    /// After the target.
    After,
    /// The target is removed; the elements are ignored.
    Remove,
}

impl PatchMode {
    /// The name of the mode in the protocol.
    ///
    /// ```
    /// assert_eq!(starwheel::datastar::PatchMode::Prepend.as_str(), "prepend");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
            Self::Replace => "replace",
            Self::Prepend => "prepend",
            Self::Append => "append",
            Self::Before => "before",
            Self::After => "after",
            Self::Remove => "remove",
        }
    }
}

/// The XML namespace in which patched elements are created.
///
/// ```
/// use starwheel::datastar::{Namespace, PatchElements};
/// let dot = PatchElements::new("<circle id=dot r=5 />").namespace(Namespace::Svg);
/// # let _ = dot;
/// ```
///
/// Needed when the top-level elements belong inside an `<svg>` or `<math>` on the page; complete
/// `<svg>` elements are HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Namespace {
    /// HTML. The default.
    #[default]
    Html,
    /// SVG.
    Svg,
    /// MathML.
    MathMl,
}

impl Namespace {
    /// The name of the namespace in the protocol.
    ///
    /// ```
    /// assert_eq!(starwheel::datastar::Namespace::MathMl.as_str(), "mathml");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Svg => "svg",
            Self::MathMl => "mathml",
        }
    }
}

/// The client ignores a view transition's selector without a transition, so that combination does
/// not exist here.
#[derive(Debug, Clone)]
enum ViewTransition<'a> {
    None,
    OfDocument,
    OfElement(Cow<'a, str>),
}
