//! The server of a random scenario, and what its closures saw: the model that the engine must
//! match.

use std::{cell::RefCell, rc::Rc, time::Duration};

use starwheel::{
    Alignment, CloseReason, Context, Ending, FirstTick, KeepAlive, Next, Response, Router, Sse,
    StreamId,
};

use crate::{
    random::Random,
    story::{Census, ms},
};

/// What happens to a stream; decided before the request.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) interval_ms: Option<u64>,
    first_tick: FirstTick,
    pub(crate) alignment: Alignment,
    events_per_tick: usize,
    payload_bytes_max: usize,
    first_events: usize,
    /// After this many ticks something happens.
    last_tick: Option<(u64, Last)>,
    lifetime_ms: Option<u64>,
    keep_alive: KeepAlive,
    ending: Option<Ending>,
    panics_at_birth: bool,
}

#[derive(Debug, Clone, Copy)]
enum Last {
    Close,
    Drop,
    Fail,
    Panic,
    CloseItself,
}

impl Plan {
    pub(crate) fn random(random: &mut Random) -> Self {
        let ticks = random.percent(70);
        let lasts =
            [Last::Close, Last::Close, Last::Drop, Last::Fail, Last::Panic, Last::CloseItself];
        Self {
            interval_ms: ticks.then(|| random.pick(&[2, 10, 50, 70, 100, 999, 1000, 5000, 30_000])),
            first_tick: random.pick(&[FirstTick::Now, FirstTick::Now, FirstTick::AfterInterval]),
            alignment: random.pick(&[Alignment::Own, Alignment::Own, Alignment::Shared]),
            events_per_tick: random.below(4),
            payload_bytes_max: random.pick(&[1, 20, 100, 400]),
            first_events: random.below(3),
            last_tick: random.percent(50).then(|| (random.between(1, 20), random.pick(&lasts))),
            lifetime_ms: random.percent(20).then(|| random.between(0, 20_000)),
            keep_alive: random.pick(&[
                KeepAlive::Default,
                KeepAlive::Off,
                KeepAlive::Every(ms(700)),
                KeepAlive::Every(ms(50)),
                KeepAlive::Event(ms(300)),
            ]),
            ending: random.percent(15).then(|| random.pick(&[Ending::Finish, Ending::Drop])),
            panics_at_birth: random.percent(2),
        }
    }

    /// One that only ticks, without an end.
    #[allow(dead_code, reason = "not every program that shares the scenarios needs it")]
    pub(crate) fn ticking(interval_ms: u64) -> Self {
        Self {
            interval_ms: Some(interval_ms),
            first_tick: FirstTick::Now,
            alignment: Alignment::Own,
            events_per_tick: 1,
            payload_bytes_max: 20,
            first_events: 0,
            last_tick: None,
            lifetime_ms: None,
            keep_alive: KeepAlive::Default,
            ending: None,
            panics_at_birth: false,
        }
    }
}

/// One stream as its closures know it.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) plan: Plan,
    /// Events that the engine has taken.
    pub(crate) sent: usize,
    pub(crate) id: Option<StreamId>,
    pub(crate) born_ms: Vec<u64>,
    pub(crate) ends: Vec<End>,
    /// The end with which a closure closed it.
    pub(crate) closed_with: Option<Ending>,
    /// Its end was decided, though its hook may not have run yet.
    pub(crate) is_decided: bool,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) at_ms: u64,
    /// The clock jumped from here; ticks due in between need not have run.
    pub(crate) jumped_from_ms: Option<u64>,
}

impl Story {
    pub(crate) fn is_live(&self) -> bool {
        !self.born_ms.is_empty() && self.ends.is_empty() && !self.is_decided
    }

    /// It ended as slow, but not because its queue exceeded the limit.
    pub(crate) fn has_stalled_out(&self) -> bool {
        let is_slow = matches!(self.ends.first(), Some(End { reason: CloseReason::Slow, .. }));
        is_slow && !self.is_decided
    }

    /// The range of the number of ticks run, skipped or missed in its life.
    pub(crate) fn ticks_due(&self, now_ms: u64) -> (u64, u64) {
        let (Some(&born), Some(interval)) = (self.born_ms.first(), self.plan.interval_ms) else {
            return (0, 0);
        };
        if self.plan.panics_at_birth {
            return (0, 0);
        }
        let at_birth = u64::from(self.plan.first_tick == FirstTick::Now);
        let until = |time_ms: u64| match self.plan.alignment {
            Alignment::Own => time_ms.saturating_sub(born) / interval,
            _ => time_ms / interval - born / interval,
        };
        match self.ends.first() {
            None => (at_birth + until(now_ms), at_birth + until(now_ms)),
            Some(end) => {
                let before = end.at_ms.saturating_sub(1).max(born);
                let least = until(end.jumped_from_ms.unwrap_or(before).max(born));
                (at_birth + least, at_birth + until(end.at_ms))
            }
        }
    }
}

/// The text of event `n` of stream `key`.
pub(crate) fn text(key: usize, n: usize, plan: &Plan) -> String {
    let filler = "x".repeat((key * 7 + n * 13) % plan.payload_bytes_max);
    let newline = if n.is_multiple_of(5) { "\n" } else { "" };
    format!("{key} {n} {filler}{newline}")
}

/// What all closures share. Borrowed across calls of the engine on purpose.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) stories: Vec<Story>,
    pub(crate) ticks: u64,
    pub(crate) panics: u64,
    pub(crate) jumped_from_ms: Option<u64>,
}

pub(crate) type Shared = Rc<RefCell<World>>;

impl World {
    pub(crate) fn plan(&mut self, plan: Plan) -> usize {
        self.stories.push(Story {
            plan,
            sent: 0,
            id: None,
            born_ms: Vec::new(),
            ends: Vec::new(),
            closed_with: None,
            is_decided: false,
        });
        self.stories.len() - 1
    }

    /// Sends the next event of a stream through `send`, which returns whether it was taken.
    pub(crate) fn emit(&mut self, key: usize, send: impl FnOnce(String) -> bool) -> bool {
        let story = &mut self.stories[key];
        let taken = send(text(key, story.sent, &story.plan));
        story.sent += usize::from(taken);
        taken
    }
}

/// `/plain` returns a requested body; `/stream` follows its plan.
pub(crate) fn server(world: &Shared, census: &Census) -> Router {
    let (world, census) = (Rc::clone(world), census.clone());
    let number = |req: &starwheel::Request, name: &str| -> usize {
        req.query_value(name).and_then(|value| value.parse().ok()).expect("a number")
    };
    Router::new()
        .get("/plain", move |req, _| Response::text(plain(number(req, "n"), number(req, "bytes"))))
        .get("/stream", move |req, _| stream(&world, &census, number(req, "key")))
}

/// The body of a plain answer.
pub(crate) fn plain(n: usize, bytes: usize) -> String {
    format!("{n:bytes$}")
}

fn stream(world: &Shared, census: &Census, key: usize) -> Sse {
    let plan = world.borrow().stories[key].plan.clone();
    let mut sse = match plan.interval_ms {
        Some(interval) => Sse::every(Duration::from_millis(interval), {
            let (world, citizen, plan) = (Rc::clone(world), census.citizen(), plan.clone());
            let mut ticks = 0;
            move |stream| {
                let _ = &citizen;
                ticks += 1;
                let mut world = world.borrow_mut();
                world.ticks += 1;
                for _ in 0..plan.events_per_tick {
                    world.emit(key, |text| {
                        stream.send(text);
                        true
                    });
                }
                match plan.last_tick {
                    Some((last, how)) if ticks >= last => match how {
                        Last::Close => Next::Finish,
                        Last::Drop => Next::Drop,
                        Last::Fail => Next::Fail("as planned".into()),
                        Last::Panic => {
                            world.panics += 1;
                            drop(world);
                            std::panic::resume_unwind(Box::new("as planned"))
                        }
                        Last::CloseItself => {
                            stream.close(Ending::Finish);
                            Next::Again
                        }
                    },
                    _ => Next::Again,
                }
            }
        }),
        None => Sse::new(),
    };
    sse = sse.first_tick(plan.first_tick).alignment(plan.alignment).keep_alive(plan.keep_alive);
    if let Some(lifetime) = plan.lifetime_ms {
        sse = sse.max_lifetime(ms(lifetime));
    }
    if let Some(ending) = plan.ending {
        sse = sse.ending(ending);
    }
    for _ in 0..plan.first_events {
        let mut taken = None;
        world.borrow_mut().emit(key, |text| {
            taken = Some(text);
            true
        });
        sse = sse.send(taken.expect("emitted"));
    }
    let (born, dead) = (Rc::clone(world), Rc::clone(world));
    let (citizen, other) = (census.citizen(), census.citizen());
    sse.on_connect(move |stream| {
        let _ = &citizen;
        let mut world = born.borrow_mut();
        let story = &mut world.stories[key];
        story.id = Some(stream.id());
        story.born_ms.push(stream.now().as_millis() as u64);
        if story.plan.panics_at_birth {
            world.panics += 1;
            drop(world);
            std::panic::resume_unwind(Box::new("as planned"));
        }
    })
    .on_disconnect(move |cx: &mut Context<'_>, id, reason| {
        let _ = &other;
        let mut world = dead.borrow_mut();
        let jumped_from_ms = world.jumped_from_ms;
        let story = &mut world.stories[key];
        assert_eq!(story.id, Some(id));
        assert!(!cx.send(id, "to the dead") && !cx.close(id, Ending::Drop));
        story.ends.push(End { reason, at_ms: cx.now().as_millis() as u64, jumped_from_ms });
    })
}
