//! One random scenario: what clients, network and closures do, step by step.

use std::{cell::Cell, rc::Rc};

use starwheel::{
    Config, Ending, TimerId,
    testing::{Faults, Simulation},
};

use crate::{
    clients::{Asked, Excuses, Stall, Version, Visitor},
    random::Random,
    story::{Census, ms},
    world::{Plan, Shared, World, server},
};

/// A scenario of some 60 steps, and its fingerprint. `seed` is that of the network's faults.
pub(crate) fn live_through(random: Random, seed: u64) -> u64 {
    let mut chaos = Chaos::new(random, seed);
    for _ in 0..chaos.random.between(10, 80) {
        if chaos.random.is_exhausted() {
            break;
        }
        chaos.step();
    }
    chaos.simulation.turn();
    chaos.check();
    chaos.judge(false);
    chaos.finish()
}

/// A running scenario.
pub(crate) struct Chaos {
    pub(crate) random: Random,
    pub(crate) simulation: Simulation,
    pub(crate) world: Shared,
    pub(crate) visitors: Vec<Visitor>,
    timers: Vec<(TimerId, Rc<Cell<Timer>>)>,
    pub(crate) excuses: Excuses,
    pub(crate) faults: Faults,
    outbox_bytes: usize,
    stall_ms: u64,
    slow_expected: Rc<Cell<u64>>,
    paused: bool,
    in_streams: Census,
    in_timers: Census,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Armed,
    Ran,
    Cancelled,
}

impl Chaos {
    pub(crate) fn new(mut random: Random, seed: u64) -> Self {
        let mut config = Config::default();
        config.limits.outbox_bytes = random.pick(&[1_000, 5_000, 20_000, 256 * 1024]);
        let stall_ms = random.pick(&[1, 1_000, 60_000, 60_000]);
        config.limits.stall_timeout = ms(stall_ms);
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = random.pick(&[50, 300, 4_000, 64 * 1024]);
        let (world, in_streams) = (Shared::default(), Census::default());
        let outbox_bytes = config.limits.outbox_bytes;
        let mut simulation = Simulation::with_config(config, seed, server(&world, &in_streams));
        simulation.set_faults(faults.clone());
        Self {
            random,
            simulation,
            world,
            visitors: Vec::new(),
            timers: Vec::new(),
            excuses: Excuses::default(),
            faults,
            outbox_bytes,
            stall_ms,
            slow_expected: Rc::default(),
            paused: false,
            in_streams,
            in_timers: Census::default(),
        }
    }

    /// One random action.
    fn step(&mut self) {
        match self.random.below(100) {
            0..14 => self.open_stream(),
            14..22 => self.ask_plain(),
            22..27 => self.ask_again(),
            27..33 => self.send_the_rest(),
            33..52 => {
                self.send_events();
                // In one turn with ticks that are due, with births and with deaths.
                match self.random.below(3) {
                    0 => self.pause(),
                    1 => self.advance(),
                    _ => {}
                }
            }
            52..57 => self.close_stream(),
            57..62 => self.set_timer(),
            62..64 => self.cancel_timer(),
            64..69 => {
                self.stall();
                if self.random.percent(30) {
                    let length = self.random.pick(&[500, 2_000, 10_000]);
                    self.simulation.advance(ms(length));
                }
            }
            69..75 => self.resume(),
            75..78 => self.go(),
            78..80 => self.talk_nonsense(),
            80..84 => self.change_the_network(),
            84..86 => self.pause(),
            _ => self.advance(),
        }
        // Often several things happen before the engine runs.
        if self.random.percent(70) {
            self.simulation.turn();
            self.check();
        }
    }

    fn request(&mut self, visitor: usize, target: &str) {
        let version = match self.visitors[visitor].version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1\r\nHost: test",
        };
        let bytes = format!("GET {target} {version}\r\n\r\n").into_bytes();
        let visitor = &mut self.visitors[visitor];
        if !visitor.unsent.is_empty() {
            return visitor.unsent.extend(bytes);
        }
        let cut =
            if self.random.percent(30) { self.random.below(bytes.len()) } else { bytes.len() };
        self.simulation.send(visitor.client, &bytes[..cut]);
        visitor.unsent = bytes[cut..].to_vec();
        visitor.may_be_refused |= cut < bytes.len();
    }

    fn open_stream(&mut self) {
        let version = if self.random.percent(15) { Version::Http10 } else { Version::Http11 };
        let client = self.simulation.connect();
        self.visitors.push(Visitor::new(client, version));
        self.ask_stream(self.visitors.len() - 1);
    }

    fn ask_stream(&mut self, visitor: usize) {
        let key = self.world.borrow_mut().plan(Plan::random(&mut self.random));
        self.visitors[visitor].asked.push(Asked::Stream { key });
        self.request(visitor, &format!("/stream?key={key}"));
        if self.random.percent(10) && self.visitors[visitor].version == Version::Http11 {
            self.ask(visitor, |n, bytes| Asked::Behind { n, bytes });
        }
    }

    fn ask_plain(&mut self) {
        let client = self.simulation.connect();
        self.visitors.push(Visitor::new(client, Version::Http11));
        for _ in 0..self.random.between(1, 20) {
            self.ask(self.visitors.len() - 1, |n, bytes| Asked::Plain { n, bytes });
        }
    }

    fn ask(&mut self, visitor: usize, asked: fn(usize, usize) -> Asked) {
        let n = self.visitors[visitor].asked.len();
        let bytes = self.random.pick(&[1, 100, 5_000, 30_000]);
        self.visitors[visitor].asked.push(asked(n, bytes));
        self.request(visitor, &format!("/plain?n={n}&bytes={bytes}"));
    }

    /// A client whose responses so far are complete sends another request.
    fn ask_again(&mut self) {
        let Some(visitor) = self.somebody() else { return };
        let one = &self.visitors[visitor];
        if one.version == Version::Http10 || one.was_half_closed || one.may_be_refused {
            return;
        }
        match one.last_stream() {
            Some(key) => {
                let dead = !self.world.borrow().stories[key].ends.is_empty();
                if !dead {
                    return self.ask(visitor, |n, bytes| Asked::Behind { n, bytes });
                }
                // The connection is of use only if the stream was finished on it, in time.
                if one.asked.len() == 1 && one.stalls.is_empty() {
                    let kept = self.simulation.server_end(one.client).is_none();
                    if kept {
                        self.ask_stream(visitor);
                    }
                }
            }
            None => self.ask(visitor, |n, bytes| Asked::Plain { n, bytes }),
        }
    }

    fn send_the_rest(&mut self) {
        let waiting: Vec<usize> =
            (0..self.visitors.len()).filter(|&v| !self.visitors[v].unsent.is_empty()).collect();
        if waiting.is_empty() {
            return;
        }
        let visitor = &mut self.visitors[self.random.pick(&waiting)];
        let cut = 1 + self.random.below(visitor.unsent.len());
        let rest = visitor.unsent.split_off(cut);
        self.simulation.send(visitor.client, &visitor.unsent);
        visitor.unsent = rest;
    }

    pub(crate) fn send_events(&mut self) {
        let Some(key) = self.some_stream() else { return };
        let count = self.random.between(1, 8);
        let (shared, slow) = (Rc::clone(&self.world), Rc::clone(&self.slow_expected));
        self.simulation.queue(move |cx| {
            for _ in 0..count {
                let mut world = shared.borrow_mut();
                let Some(id) = world.stories[key].id else { return };
                let live = world.stories[key].is_live();
                let taken = world.emit(key, |text| cx.send(id, text));
                if live && !taken {
                    world.stories[key].is_decided = true;
                    return slow.set(slow.get() + 1);
                }
                assert_eq!(taken, live, "sending to stream {key}");
            }
        });
    }

    pub(crate) fn close_stream(&mut self) {
        let Some(key) = self.some_stream() else { return };
        let ending = self.random.pick(&[Ending::Finish, Ending::Drop]);
        let shared = Rc::clone(&self.world);
        self.simulation.run(|cx| {
            let mut world = shared.borrow_mut();
            let Some(id) = world.stories[key].id else { return };
            let live = world.stories[key].is_live();
            assert_eq!(cx.close(id, ending), live, "closing stream {key}");
            assert!(!cx.close(id, ending), "twice");
            if live {
                world.stories[key].closed_with = Some(ending);
                world.stories[key].is_decided = true;
            }
        });
    }

    fn set_timer(&mut self) {
        let delay_ms = self.random.pick(&[0, 1, 10, 500, 3_000, 100_000]);
        let state = Rc::new(Cell::new(Timer::Armed));
        let (own, citizen) = (Rc::clone(&state), self.in_timers.citizen());
        let world = Rc::clone(&self.world);
        let due_ms = self.simulation.now().as_millis() as u64 + delay_ms.max(1);
        let id = Cell::new(None);
        self.simulation.run(|cx| {
            id.set(Some(cx.after(ms(delay_ms), move |cx| {
                let _ = &citizen;
                assert_eq!(own.replace(Timer::Ran), Timer::Armed, "once, and not when cancelled");
                let now_ms = cx.now().as_millis() as u64;
                let jumped = world.borrow().jumped_from_ms.is_some();
                assert!(now_ms == due_ms || (jumped && now_ms > due_ms), "{now_ms} for {due_ms}");
            })));
        });
        self.timers.push((id.get().expect("set"), state));
    }

    fn cancel_timer(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let (id, state) = &self.timers[self.random.below(self.timers.len())];
        self.simulation.run(|cx| {
            let armed = state.get() == Timer::Armed;
            assert_eq!(cx.cancel(*id), armed);
            if armed {
                state.set(Timer::Cancelled);
            }
        });
    }

    pub(crate) fn stall(&mut self) {
        let Some(visitor) = self.somebody() else { return };
        let (now_ms, visitor) = (self.now_ms(), &mut self.visitors[visitor]);
        self.simulation.stall(visitor.client);
        if !visitor.is_stalled() {
            visitor.stalls.push(Stall { from_ms: now_ms, to_ms: None, waits_since_ms: None });
        }
    }

    pub(crate) fn resume(&mut self) {
        let stalled: Vec<usize> =
            (0..self.visitors.len()).filter(|&v| self.visitors[v].is_stalled()).collect();
        if !stalled.is_empty() {
            let visitor = self.random.pick(&stalled);
            self.resume_one(visitor);
        }
    }

    /// When a stalled client reads again, it gets what was kept for it, and that is bounded.
    fn resume_one(&mut self, visitor: usize) {
        let (now_ms, visitor) = (self.now_ms(), &mut self.visitors[visitor]);
        let before = self.simulation.take_received(visitor.client);
        let was_stalled = visitor.end_stall(now_ms);
        visitor.received.extend(before);
        self.simulation.resume(visitor.client);
        self.simulation.turn();
        let kept = self.simulation.take_received(visitor.client);
        // A client that pipelines also gets new responses, and they are not bounded by what was
        // kept.
        if was_stalled && visitor.asked.len() == 1 && visitor.last_stream().is_some() {
            let one_tick_and_one_burst_bytes = 4 * 500 + 3 * 8 * 500;
            let head_bytes = 500;
            let bound = self.faults.socket_buffer_bytes
                + self.outbox_bytes
                + one_tick_and_one_burst_bytes
                + head_bytes;
            assert!(kept.len() <= bound, "{} bytes were kept, not {bound}", kept.len());
        }
        visitor.received.extend(kept);
    }

    /// Clients disconnect, in order or not.
    pub(crate) fn go(&mut self) {
        let Some(visitor) = self.somebody() else { return };
        let visitor = &mut self.visitors[visitor];
        if self.random.percent(50) {
            self.simulation.reset(visitor.client);
            visitor.was_reset = true;
        } else {
            self.simulation.half_close(visitor.client);
            visitor.was_half_closed = true;
        }
    }

    fn talk_nonsense(&mut self) {
        let client = self.simulation.connect();
        let mut visitor = Visitor::new(client, Version::Http11);
        visitor.may_be_refused = true;
        self.simulation.send(
            client,
            self.random.pick(&[
                &b"\x16\x03\x01"[..],
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET /plain\r\n",
                b"\r\n\r\n",
                b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            ]),
        );
        self.visitors.push(visitor);
    }

    fn change_the_network(&mut self) {
        let random = &mut self.random;
        let mut percent = || random.pick(&[0, 0, 5, 30, 80]);
        self.faults.short_writes_percent = percent();
        self.faults.short_reads_percent = percent();
        self.faults.would_block_percent = percent();
        self.faults.interrupts_percent = percent();
        self.faults.spurious_readiness_percent = percent();
        self.faults.resets_percent = u8::from(self.random.percent(4));
        self.excuses.refused_writes |= self.faults.would_block_percent > 0;
        self.excuses.resets |= self.faults.resets_percent > 0;
        self.simulation.set_faults(self.faults.clone());
    }

    fn pause(&mut self) {
        let length = ms(self.random.pick(&[1, 100, 2_000, 40_000]));
        self.paused = true;
        self.world.borrow_mut().jumped_from_ms = Some(self.simulation.now().as_millis() as u64);
        self.simulation.pause(length);
        self.world.borrow_mut().jumped_from_ms = None;
    }

    fn advance(&mut self) {
        let length =
            if self.random.percent(5) { 20_000 } else { self.random.pick(&[1, 10, 100, 999]) };
        let length = ms(length);
        self.simulation.advance(length);
    }

    fn somebody(&mut self) -> Option<usize> {
        (!self.visitors.is_empty()).then(|| self.random.below(self.visitors.len()))
    }

    fn some_stream(&mut self) -> Option<usize> {
        let count = self.world.borrow().stories.len();
        (count > 0).then(|| self.random.below(count))
    }

    fn now_ms(&self) -> u64 {
        self.simulation.now().as_millis() as u64
    }

    /// The engine's statistics match what the closures saw. Nothing is pending.
    pub(crate) fn check(&mut self) {
        self.check_stalls();
        let (world, stats) = (self.world.borrow(), self.simulation.stats());
        let (mut live, mut opened, mut ended) = (0, 0, 0);
        for story in &world.stories {
            assert!(story.born_ms.len() <= 1, "born twice: {story:?}");
            assert!(story.ends.len() <= story.born_ms.len(), "ended twice or unborn: {story:?}");
            opened += story.born_ms.len() as u64;
            ended += story.ends.len() as u64;
            live += u64::from(story.is_live());
        }
        assert_eq!((stats.streams, stats.opened, stats.closed.total()), (live, opened, ended));
        let open = self.visitors.iter().filter(|one| self.simulation.is_open(one.client)).count();
        assert_eq!(stats.connections, open as u64);
        assert_eq!(stats.accepted, self.visitors.len() as u64);
        assert_eq!((stats.ticks, stats.panics), (world.ticks, world.panics));
        let stalled_out = world.stories.iter().filter(|story| story.has_stalled_out()).count();
        assert_eq!(stats.closed.slow, self.slow_expected.get() + stalled_out as u64);
        self.check_ticks(&world);
    }

    /// No client with waiting output has taken nothing for longer than the limit.
    fn check_stalls(&mut self) {
        let now_ms = self.now_ms();
        let stalled = self.visitors.iter_mut().filter(|visitor| visitor.is_stalled());
        let mut streams = Vec::new();
        for visitor in stalled {
            let id = visitor.last_stream().and_then(|key| self.world.borrow().stories[key].id);
            streams.push((visitor, id));
        }
        let mut queued = Vec::new();
        self.simulation.run(|cx| {
            let bytes = |id| cx.queued_bytes(id).unwrap_or(0);
            queued.extend(streams.iter().map(|(_, id)| id.map_or(0, bytes)));
        });
        for ((visitor, _), queued) in streams.into_iter().zip(queued) {
            let stall = visitor.stalls.last_mut().expect("it is stalled");
            if queued == 0 {
                stall.waits_since_ms = None;
                continue;
            }
            let since_ms = *stall.waits_since_ms.get_or_insert(now_ms);
            assert!(now_ms < since_ms + self.stall_ms, "{queued} bytes wait since {since_ms}");
        }
    }

    /// Every due tick was run, skipped or missed, and counted as such.
    fn check_ticks(&self, world: &World) {
        let now_ms = self.simulation.now().as_millis() as u64;
        let stats = self.simulation.stats();
        let counted = stats.ticks + stats.ticks_skipped + stats.ticks_missed;
        let (mut least, mut most) = (0, 0);
        for story in &world.stories {
            let due = story.ticks_due(now_ms);
            least += due.0;
            most += due.1;
        }
        assert!((least..=most).contains(&counted), "{counted} of {least} to {most} ticks");
        if !self.paused {
            assert_eq!(
                (stats.tick_lateness_ms.sum(), stats.ticks_missed),
                (0, 0),
                "no tick was late"
            );
        }
    }

    fn judge(&mut self, settled: bool) {
        for visitor in &mut self.visitors {
            visitor.received.extend(self.simulation.take_received(visitor.client));
        }
        let world = self.world.borrow();
        for visitor in &self.visitors {
            visitor.judge(&world, self.excuses, &self.simulation, settled);
            for asked in &visitor.asked {
                if let Asked::Stream { key } = *asked {
                    let story = &world.stories[key];
                    assert!(
                        visitor.explains(story, self.excuses, self.stall_ms),
                        "{story:?} of {visitor:?}"
                    );
                }
            }
        }
    }

    /// The network is repaired, all clients read, and then the server ends in one of several ways.
    pub(crate) fn finish(mut self) -> u64 {
        self.faults = Faults::default();
        self.faults.socket_buffer_bytes = 64 * 1024;
        self.simulation.set_faults(self.faults.clone());
        for visitor in 0..self.visitors.len() {
            self.simulation.resume(self.visitors[visitor].client);
            let now_ms = self.now_ms();
            self.visitors[visitor].end_stall(now_ms);
        }
        self.simulation.turn();
        self.check();
        self.judge(true);

        self.excuses.stopping = true;
        if self.random.percent(60) {
            let window = ms(self.random.pick(&[0, 1, 1_000, 60_000]));
            self.simulation.drain(window);
            if self.random.percent(50) {
                self.open_stream();
                self.ask_plain();
            }
            self.simulation.advance(window + ms(1));
        } else {
            self.simulation.shutdown();
        }
        assert!(self.simulation.is_stopped());
        self.check();
        self.judge(false);
        let stats = self.simulation.stats();
        assert_eq!((stats.connections, stats.streams), (0, 0));
        assert_eq!(stats.opened, stats.closed.total());
        assert_eq!(self.in_streams.alive(), 0, "closures of streams are left");

        let mut fingerprint = stats.bytes_out;
        for visitor in &self.visitors {
            for &byte in &visitor.received {
                fingerprint = fingerprint.wrapping_mul(31).wrapping_add(u64::from(byte));
            }
        }
        drop(self.simulation);
        assert_eq!(self.in_timers.alive(), 0, "closures of timers are left");
        fingerprint
    }
}
