//! A codec of plain commands and a member that writes down what happens, for the tests of connections.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

use super::{
    Address, Codec, Down, Link, Membership, ReplyError, Server, Settings, Wake,
    frames::write_command, handshake::frame_text,
};
use crate::span::protocol::{Batch, Content, Entry, Greeting, Reply, Request, Retention};

pub(super) const SCRIPT: &str = "return redis.call('INCR', KEYS[1])";

/// `Greet` is an ECHO, `Append` the script, `Recall` an LRANGE, and `Read` the real XREAD.
pub(super) struct TestCodec;

impl Codec for TestCodec {
    fn script(&self) -> &str {
        SCRIPT
    }

    fn encode(&self, request: &Request, server: &Server, out: &mut Vec<u8>) {
        match request {
            Request::Greet { floor } => {
                write_command(out, &[b"ECHO", floor.to_string().as_bytes()]);
            }
            Request::Append { .. } => {
                write_command(out, &[b"EVALSHA", server.script.as_bytes(), b"1", b"{test}:n"]);
            }
            Request::Recall(topics) => {
                write_command(out, &[b"LRANGE", topics[0].as_bytes(), b"0", b"-1"]);
            }
            Request::Count { .. } => unreachable!("no test counts over a connection"),
            Request::Read { after, most } => {
                let (after, most) = (format!("{after}-0"), most.to_string());
                let words =
                    ["XREAD", "COUNT", &most, "BLOCK", "1000", "STREAMS", "{test}:log", &after];
                write_command(out, &words.map(str::as_bytes));
            }
        }
    }

    fn decode(&self, request: &Request, frame: OwnedFrame) -> Result<Reply, ReplyError> {
        match (request, frame) {
            (Request::Greet { .. }, frame) => {
                let position = frame_text(&frame).and_then(|it| it.parse().ok());
                let position = position.ok_or(ReplyError::Malformed("not a number"))?;
                Ok(Reply::Greeted(Greeting {
                    generations: Vec::new(),
                    position,
                    watched: Vec::new(),
                }))
            }
            (Request::Append { batch, .. }, OwnedFrame::Integer(up_to)) => {
                Ok(appended(batch.number, up_to as u64))
            }
            (Request::Append { .. }, _) => Err(ReplyError::Malformed("not a number")),
            (Request::Recall(_), _) => Ok(Reply::Recalled { up_to: 0, histories: Vec::new() }),
            (Request::Count { .. }, _) => Ok(Reply::Counted(Vec::new())),
            (Request::Read { .. }, OwnedFrame::Null) => Ok(Reply::Entries(Vec::new())),
            (Request::Read { after, .. }, _) => {
                let entry = Entry { place: after + 1, content: Content::Unreadable };
                Ok(Reply::Entries(vec![entry]))
            }
        }
    }
}

pub(super) fn append(number: u64) -> Request {
    let batch = Arc::new(Batch { number, posts: Vec::new(), bytes: 0 });
    Request::Append { batch, base: number, retention: Retention { log_entries: 1, history_s: 1 } }
}

pub(super) fn appended(number: u64, up_to: u64) -> Reply {
    Reply::Appended { number, was_known: false, up_to }
}

/// Commands as text, one a line.
pub(super) fn commands(mut bytes: &[u8]) -> Vec<String> {
    let mut commands = Vec::new();
    while let Some((frame, used)) = decode(bytes).unwrap() {
        let OwnedFrame::Array(words) = frame else { panic!("{frame:?}") };
        let words: Vec<_> = words.iter().map(|word| frame_text(word).unwrap()).collect();
        commands.push(words.join(" "));
        bytes = &bytes[used..];
    }
    assert!(bytes.is_empty());
    commands
}

/// What a member has heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Connected,
    Disconnected(Down),
    Answered(Reply),
}

/// A member that sends what the test says. It reads from the place that it is given, again and again.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Request>,
    reads_after: Option<u64>,
    events: Vec<Event>,
    /// Asked directly after the member had nothing to send.
    late: Option<(Request, Wake)>,
    is_over: bool,
    is_drained: bool,
}

impl Recorder {
    pub(super) fn ask(&self, request: Request) {
        self.lock().requests.push_back(request);
    }

    /// A publisher comes between the next look at the member and the sleep of the thread.
    pub(super) fn ask_after_the_next_look(&self, request: Request, wake: &Wake) {
        self.lock().late = Some((request, wake.clone()));
    }

    pub(super) fn ask_to_read(&self, after: u64) {
        self.lock().reads_after = Some(after);
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        mem::take(&mut self.lock().events)
    }

    /// All reactors have ended. Call [`Wake::end`](super::Wake::end) then.
    pub(super) fn finish(&self, drained: bool) {
        let mut state = self.lock();
        (state.is_over, state.is_drained) = (true, drained);
    }

    /// Waits for an event, and takes it and all before it.
    pub(super) fn wait_for(&self, is_it: impl Fn(&Event) -> bool) -> Event {
        let (mut state, end) = (self.lock(), Instant::now() + PATIENCE);
        loop {
            if let Some(n) = state.events.iter().position(&is_it) {
                return state.events.drain(..=n).next_back().expect("it was there");
            }
            let left = end.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, left).unwrap().0;
            assert!(!left.is_zero(), "it has not come, but {:?}", state.events);
        }
    }

    pub(super) fn wait_until_connected(&self) {
        self.wait_for(|event| *event == Event::Connected);
    }

    pub(super) fn wait_until_down(&self) -> Down {
        let Event::Disconnected(why) = self.wait_for(|it| matches!(it, Event::Disconnected(_)))
        else {
            unreachable!()
        };
        why
    }

    pub(super) fn wait_for_reply(&self) -> Reply {
        let Event::Answered(reply) = self.wait_for(|it| matches!(it, Event::Answered(_))) else {
            unreachable!()
        };
        reply
    }

    fn record(&self, event: Event) {
        self.lock().events.push(event);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Membership for Recorder {
    fn connected(&self) {
        self.record(Event::Connected);
    }

    fn disconnected(&self, why: Down) {
        self.record(Event::Disconnected(why));
    }

    fn next_request(&self) -> Option<Request> {
        let mut state = self.lock();
        let request = state.requests.pop_front();
        if request.is_none()
            && let Some((late, wake)) = state.late.take()
        {
            state.requests.push_back(late);
            wake.wake();
        }
        request
    }

    fn next_read(&self) -> Option<Request> {
        self.lock().reads_after.map(|after| Request::Read { after, most: 10 })
    }

    fn answered(&self, reply: Reply) {
        self.record(Event::Answered(reply));
    }

    fn next_deadline(&self) -> Option<Duration> {
        None
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }

    fn is_drained(&self) -> bool {
        self.lock().is_drained
    }
}

/// A thread with its member, which ends with the test.
pub(super) struct Running {
    pub(super) member: Arc<Recorder>,
    pub(super) wake: Wake,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(url: &str) -> Self {
        Self::start_with(Settings {
            address: Address::parse(url).unwrap(),
            client_name: "test".into(),
            tls_roots: None,
            tls_name: None,
        })
    }

    pub(super) fn start_with(settings: Settings) -> Self {
        let link = Link::new(settings, Box::new(TestCodec)).unwrap();
        let (member, wake) = (Arc::<Recorder>::default(), link.wake());
        let thread = Some(link.start(member.clone()).unwrap());
        Self { member, wake, thread }
    }

    pub(super) fn ask(&self, request: Request) {
        self.member.ask(request);
        self.wake.wake();
    }

    pub(super) fn finish(&mut self, drained: bool) {
        self.member.finish(drained);
        self.wake.end();
        if let Some(thread) = self.thread.take() {
            let start = Instant::now();
            while !thread.is_finished() {
                assert!(start.elapsed() < PATIENCE, "the thread does not end");
                thread::yield_now();
            }
            thread.join().expect("the thread has not panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.finish(true);
        }
    }
}

/// No test waits for so long unless it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
