//! [`dashboard`]: a live page about the server.
//!
//! It reads what the engine counts anyway, and changes nothing. It does not know who may look: that is
//! the business of the layers around its route.

mod figures;
mod json;
mod page;
mod probe;
mod view;

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use self::view::View;
use crate::{
    engine::{Answer, Context, Sse, StreamCompression},
    http::{Request, media_type},
    topic::Topic,
};

/// A page for operators: streams, lateness, traffic, topics, slow clients, live.
///
/// It is a handler for one route. A request that accepts `text/event-stream` gets the stream with the
/// figures, any other one the page, so what guards the route guards both. **Guard it with a login**:
/// it shows patterns of routes, names of topics, and of slow clients the [tags](crate::Sse::tag), but no
/// addresses and nothing that is sent to clients. The section "Dashboard" of `docs/guide.md` has an
/// example, and so has `examples/dashboard`.
///
/// ```
/// use starwheel::{Response, Router, StatusCode, testing::Simulation};
/// let mut page = starwheel::dashboard();
/// let router = Router::new().get("/ops", move |req, cx| match req.cookie("session") {
///     Some("of an operator") => page(req, cx),
///     _ => Response::error(StatusCode::FORBIDDEN, "for operators").into(),
/// });
/// let mut simulation = Simulation::new(router);
/// let stranger = simulation.get("/ops");
/// assert_eq!(simulation.response(stranger).status, 403);
/// ```
///
/// With [`Workers`](crate::Workers), the page shows all of them, on whichever worker its stream is. One
/// that stands still is shown as silent, with its last figures.
///
/// # Cost
/// Nothing while nobody looks. While somebody does, a worker with viewers makes one snapshot a second
/// for all of them, and each worker looks for slow clients: it walks over its connections, 1,024 in a
/// turn and about a hundred thousand a second. `docs/guide.md` has measured numbers. The last five
/// minutes, up to 512 KiB, are kept from the first viewer until a minute after the last one, so that a
/// second viewer sees them too.
///
/// The page's own stream is a stream like any other and counts in all figures. They are those of
/// [`Stats`](crate::Stats) and [`Handle::prometheus`](crate::Handle::prometheus).
pub fn dashboard() -> impl FnMut(&Request, &mut Context<'_>) -> Answer + 'static {
    let page = page::asset();
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let mut known = Weak::new();
    move |request, cx| match accepts_events(request) {
        true => stream(number, &mut known, cx).into(),
        false => page.clone().into(),
    }
}

/// The topic of the snapshots ends a minute after its last viewer, and its updater with what it knows.
/// Only they hold the view: the handler must not keep them alive. Whoever needs the view takes it and
/// puts it back.
fn stream(number: u64, known: &mut Weak<Cell<View>>, cx: &mut Context<'_>) -> Sse {
    let topic = Topic::dashboard(number);
    let shared = known.upgrade().unwrap_or_else(|| {
        let shared = Rc::<Cell<View>>::default();
        *known = Rc::downgrade(&shared);
        let of_updater = Rc::clone(&shared);
        cx.drive(&topic, EVERY, move |feed| {
            let mut view = of_updater.take();
            view.render(feed);
            of_updater.set(view);
        });
        shared
    });
    let view = shared.take();
    let past = view.past(cx);
    shared.set(view);
    // Tags may be secret, and clients may choose some of them: see BREACH in the crate's documentation.
    Sse::new().compression(StreamCompression::Off).send(past).subscribe(&topic)
}

fn accepts_events(request: &Request) -> bool {
    let mut ranges = request.header_list("accept");
    ranges.any(|range| media_type(range).eq_ignore_ascii_case(b"text/event-stream"))
}

/// How often viewers get a snapshot.
const EVERY: Duration = Duration::from_secs(1);

/// Each dashboard of a process has a topic of its own.
static NUMBERS: AtomicU64 = AtomicU64::new(0);
