//! The Datastar protocol, 1.0: builders for its events, and the signals in requests.
//!
//! ```
//! use starwheel::{Ending, Router, Sse, datastar::{EscapeHtml, PatchElements, Signals}};
//!
//! // For a page with <input data-bind:name> and <p id="hello">.
//! let router = Router::new().get("/greet", |req, _cx| {
//!     let signals = Signals::read(req)?;
//!     let name = EscapeHtml(signals.str("name").unwrap_or("you"));
//!     let hello = PatchElements::new(format!("<p id=hello>Hello {name}</p>"));
//!     Ok(Sse::new().send(hello).ending(Ending::Finish))
//! });
//! # let mut simulation = starwheel::testing::Simulation::new(router);
//! # let page = simulation.get("/greet?datastar=%7B%22name%22%3A%22Ann%22%7D");
//! # assert_eq!(simulation.events(page)[0].data, "elements <p id=hello>Hello Ann</p>");
//! ```
//!
//! | to the page | from the page |
//! |---|---|
//! | [`PatchElements`]: adds, changes or removes HTML elements | [`Signals`] |
//! | [`PatchSignals`]: sets or removes signals | |
//! | [`ExecuteScript`]: runs JavaScript | |
//!
//! Guarantees: lines are in the order of the SDK's ADR, defaults are omitted as it says, and the
//! client reads exactly the given text in every field, never an additional line. This layer knows
//! no connections, and of HTTP only the parts of a request that carry signals.
//!
//! Source of all rules: `sdk/ADR.md` of starfederation/datastar. Items mention where the 1.0 client
//! differs or the ADR is silent.

mod elements;
mod header_values;
mod html;
mod patch_signals;
mod request;
mod response;
mod script;
mod signals;
mod surrogates;

pub use elements::{ById, BySelector, Namespace, PatchElements, PatchMode};
pub use html::{DATASTAR_VERSION, EscapeHtml, ScriptTag};
pub use patch_signals::{PatchSignals, PatchSignalsError};
pub use script::{AttributeNameError, ExecuteScript};
pub use signals::{Signals, SignalsError};

use crate::sse::{EventBuffer, EventId, EventName, Retry};

/// What every Datastar event may carry besides its data.
#[derive(Debug, Clone, Default)]
struct Envelope<'a> {
    id: Option<EventId<'a>>,
    retry: Option<Retry>,
}

impl Envelope<'_> {
    fn encode(&self, name: &EventName<'_>, out: &mut EventBuffer) {
        out.event(name);
        if let Some(id) = &self.id {
            out.id(id);
        }
        if let Some(retry) = self.retry
            && retry.millis() != RETRY_MS_DEFAULT
        {
            out.retry_field(retry);
        }
    }
}

/// The setters of the envelope, the same on every builder.
macro_rules! envelope_setters {
    ($a:lifetime) => {
        /// Gives the event an id, text or a number, which the client sends as `Last-Event-ID`
        /// when it retries. The empty id makes it forget the last one.
        ///
        /// # Errors
        ///
        /// An [`EventError`](crate::EventError) if clients would not send it back: see
        /// [`EventId`](crate::EventId). A number is always valid.
        pub fn id<I>(mut self, id: I) -> Result<Self, $crate::EventError>
        where
            I: TryInto<$crate::EventId<$a>>,
            $crate::EventError: From<I::Error>,
        {
            self.envelope.id = Some(id.try_into()?);
            Ok(self)
        }

        /// How long the client waits before it retries, from now on; from 1 ms to 2^31 - 1 ms. One
        /// second is Datastar's default and is omitted, as the ADR requires. To return to it after
        /// another value, send [`Event::retry_only`](crate::Event::retry_only).
        pub fn retry(mut self, delay: std::time::Duration) -> Self {
            self.envelope.retry = Some($crate::sse::Retry::new(delay));
            self
        }
    };
}
use envelope_setters;

/// Appends a `selector` or `viewTransitionSelector` line. Line ends become spaces, which mean the
/// same in CSS; the client would read a second line as another selector.
fn encode_selector(key: &str, selector: &str, out: &mut EventBuffer) {
    out.data_with(Some(key), |data| {
        for (index, part) in selector.split(['\r', '\n']).enumerate() {
            if index > 0 {
                data.push_str(" ");
            }
            data.push_str(part);
        }
    });
}

const PATCH_ELEMENTS: EventName<'static> = EventName::from_static("datastar-patch-elements");
const PATCH_SIGNALS: EventName<'static> = EventName::from_static("datastar-patch-signals");
const RETRY_MS_DEFAULT: u32 = 1000;
