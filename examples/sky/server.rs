//! The server: a stream per star, and a topic that shows all of them.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::json;
use starwheel::{
    BoxError, Feed, Reactor, Request, Response, Router, Sse, StatusCode, Stream, Topic,
};

pub(crate) fn new(stars: usize) -> io::Result<Reactor> {
    let sky = Rc::new(RefCell::new(Sky::new(stars)));
    let frames = Topic::new("frames").retain();
    let orders = Topic::new("orders");
    let (shown, of_stars, of_orders) = (frames.clone(), Rc::clone(&sky), Rc::clone(&sky));
    let heard = orders.clone();
    let router = Router::new()
        .get("/", |_req, _cx| Response::html(page()))
        .get("/sky", move |_req, _cx| Sse::new().subscribe(&shown))
        .get("/star/{number}", move |req, _cx| star(req, &of_stars))
        .get("/orders", move |_req, _cx| Sse::new().subscribe(&heard))
        .post("/orders/{order}", move |req, cx| {
            let order = of_orders.borrow_mut().order(req.param("order").unwrap_or_default())?;
            cx.publish(&orders, order)?;
            Ok::<_, Response>(Response::no_content())
        });
    // No login: all of this is on loopback.
    #[cfg(feature = "dashboard")]
    let router = router.get("/ops", starwheel::dashboard());
    let mut reactor = Reactor::new(router)?;
    // Rendered once for all who look, and only while somebody does.
    reactor.context().drive(&frames, FRAME, move |feed| sky.borrow_mut().render(feed));
    Ok(reactor)
}

/// With the feature `dashboard`, there is a link to it.
fn page() -> String {
    let link = match cfg!(feature = "dashboard") {
        true => "<a href=\"/ops\">Dashboard</a>",
        false => "",
    };
    include_str!("sky.html").replace("<!-- dashboard -->", link)
}

/// What is known of all stars.
struct Sky {
    /// One character each: see [`DARK`] and those after it.
    stars: Vec<u8>,
    /// Stars from here on are sent so much that clients who do not read stall, until then.
    flooded: (usize, Instant),
    /// By how many milliseconds ticks were late since the last full second.
    lateness: Vec<u32>,
    shown: Lateness,
    shown_at: Instant,
    dice: u64,
}

/// Of the last full second, in milliseconds.
#[derive(Default)]
struct Lateness {
    median: usize,
    of_99_percent: usize,
    worst: usize,
}

fn star(request: &Request, sky: &Rc<RefCell<Sky>>) -> Result<Sse, Response> {
    let number = request.param("number").and_then(|text| text.parse().ok());
    let stars = sky.borrow().stars.len();
    let Some(number) = number.filter(|number| *number < stars) else {
        return Err(Response::error(StatusCode::NOT_FOUND, "there is no such star"));
    };
    let (ticking, ending) = (Rc::clone(sky), Rc::clone(sky));
    let first = Instant::now();
    let tick = move |stream: &mut Stream<'_>| ticking.borrow_mut().tick(number, first, stream);
    let sse = Sse::every(TICK, tick);
    Ok(sse.on_disconnect(move |_cx, _id, _reason| ending.borrow_mut().stars[number] = DARK))
}

impl Sky {
    fn new(stars: usize) -> Self {
        let now = Instant::now();
        Self {
            stars: vec![DARK; stars],
            flooded: (0, now),
            lateness: vec![0; TICK.as_millis() as usize],
            shown: Lateness::default(),
            shown_at: now,
            dice: 0x5EED,
        }
    }

    /// The updater of a star.
    fn tick(&mut self, number: usize, first: Instant, stream: &mut Stream<'_>) {
        // Ticks are due at fixed times, so whatever is more than whole seconds is lateness. The first
        // one was due when its turn began, a moment before `first`: others seem early by as much.
        let age_ms = first.elapsed().as_millis() as usize;
        let late_ms = Some(age_ms % self.lateness.len()).filter(|ms| *ms < EARLY_MS).unwrap_or(0);
        self.lateness[late_ms] += 1;
        self.stars[number] = if late_ms >= LATE_MS { LATE } else { LIT };
        let (from, until) = self.flooded;
        match (from..from + BLOCK).contains(&number) && Instant::now() < until {
            true => stream.send("-".repeat(FLOOD_BYTES)),
            false => stream.send(age_ms.to_string()),
        }
    }

    /// An order for the clients, such as `kill 2000 3000`.
    fn order(&mut self, order: &str) -> Result<String, Response> {
        let stars = self.stars.len();
        let from = self.roll() % stars.saturating_sub(BLOCK).max(1);
        let to = (from + BLOCK).min(stars);
        match order {
            "kill" => Ok(format!("kill {from} {to}")),
            "stall" => {
                self.flooded = (from, Instant::now() + STALL);
                Ok(format!("stall {from} {to}"))
            }
            "storm" => Ok(format!("storm 0 {stars}")),
            _ => Err(Response::error(StatusCode::NOT_FOUND, "kill, stall or storm")),
        }
    }

    fn render(&mut self, feed: &mut Feed<'_>) -> Result<(), BoxError> {
        if self.shown_at.elapsed() >= Duration::from_secs(1) {
            self.shown_at = Instant::now();
            self.shown = Lateness::of(&self.lateness);
            self.lateness.fill(0);
        }
        let cx = feed.context();
        let stats = cx.stats();
        let frame = json!({
            "stars": str::from_utf8(&self.stars)?,
            "streams": stats.streams,
            "ticks": stats.ticks,
            "skipped": stats.ticks_skipped,
            "opened": stats.opened,
            "median_ms": self.shown.median,
            "late_ms": self.shown.of_99_percent,
            "worst_ms": self.shown.worst,
            "memory_bytes": memory_bytes(),
        });
        feed.send(frame.to_string());
        for star in &mut self.stars {
            if *star != DARK {
                *star = OPEN;
            }
        }
        Ok(())
    }

    /// Xorshift.
    fn roll(&mut self) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice as usize
    }
}

impl Lateness {
    fn of(counts: &[u32]) -> Self {
        let all: u32 = counts.iter().sum();
        let at = |rank: u32| {
            let mut left = rank;
            counts.iter().position(|count| {
                let is_there = left < *count;
                left = left.saturating_sub(*count);
                is_there
            })
        };
        let worst = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        let [median, of_99_percent] =
            [all / 2, all - all / 100].map(|rank| at(rank).unwrap_or(worst));
        Self { median, of_99_percent, worst }
    }
}

/// What this process has in memory, where that can be read.
fn memory_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

/// There is no client.
const DARK: u8 = b' ';
/// It has not ticked since the last frame.
const OPEN: u8 = b'.';
/// It has.
const LIT: u8 = b'*';
/// It has, too late.
const LATE: u8 = b'!';

const TICK: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(100);
const LATE_MS: usize = 20;
/// From here on, a tick was not late, but early for the next second.
const EARLY_MS: usize = 900;
/// Stars that are killed or stalled at once.
const BLOCK: usize = 1_000;
const STALL: Duration = Duration::from_secs(10);
/// In each tick of a star whose client does not read: enough to fill its socket in a few seconds.
const FLOOD_BYTES: usize = 32 * 1024;
