//! Helpers for tests of the engine.

#![allow(dead_code, reason = "each test file uses the words it needs")]

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

use starwheel::{
    Answer, Config, Context, Ending, Request, Response, Router, Sse, StreamId,
    testing::{BodyEnd, Client, ClientResponse, Faults, ServerEnd, Simulation},
};

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const HOUR: Duration = secs(3600);

/// A server that answers `GET /` in one way.
pub(crate) fn serving<R: Into<Answer> + 'static>(
    handler: impl FnMut(&Request, &mut Context<'_>) -> R + 'static,
) -> Simulation {
    Simulation::new(Router::new().get("/", handler))
}

/// The same with its own settings.
pub(crate) fn serving_with<R: Into<Answer> + 'static>(
    config: Config,
    handler: impl FnMut(&Request, &mut Context<'_>) -> R + 'static,
) -> Simulation {
    Simulation::with_config(config, 0, Router::new().get("/", handler))
}

pub(crate) fn faults(set: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    set(&mut faults);
    faults
}

/// All network faults that do not end a connection.
pub(crate) fn bad_network() -> Faults {
    faults(|faults| {
        faults.short_writes_percent = 60;
        faults.short_reads_percent = 60;
        faults.would_block_percent = 40;
        faults.interrupts_percent = 20;
        faults.spurious_readiness_percent = 30;
    })
}

/// The data of all events in an answer.
pub(crate) fn data_of(answer: &ClientResponse) -> Vec<String> {
    answer.events().into_iter().map(|event| event.data).collect()
}

/// The data of all events that a client has read.
pub(crate) fn data(simulation: &Simulation, client: Client) -> Vec<String> {
    data_of(&simulation.response(client))
}

/// The same when all data are numbers.
#[track_caller]
pub(crate) fn numbers(simulation: &Simulation, client: Client) -> Vec<u64> {
    data(simulation, client).iter().map(|text| text.parse().expect("a number")).collect()
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
}

/// A client of HTTP/1.0 asks, with `fields` ready for the wire.
pub(crate) fn get_1_0(simulation: &mut Simulation, target: &str, fields: &str) -> Client {
    let client = simulation.connect();
    simulation.send(client, format!("GET {target} HTTP/1.0\r\n{fields}\r\n").as_bytes());
    simulation.turn();
    client
}

/// A server that answers with the body it got, or with its query; and with streams.
pub(crate) fn echo() -> Simulation {
    let router = Router::new()
        .get("/", |req, _| Response::text(req.query().unwrap_or("-").to_owned()))
        .post("/", |req, _| Response::text(req.body().to_vec()))
        .get("/once", |_, _| Sse::new().send("once").ending(Ending::Finish))
        .get("/stream", |_, _| Sse::every(secs(1), |stream| stream.send("tick")));
    Simulation::new(router)
}

pub(crate) fn texts(simulation: &Simulation, client: Client) -> Vec<String> {
    simulation.responses(client).iter().map(|answer| answer.text().to_owned()).collect()
}

/// The client has its last response, and the connection was closed in order.
#[track_caller]
pub(crate) fn assert_closed(simulation: &Simulation, client: Client) {
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    let answers = simulation.responses(client);
    let last = answers.last().expect("an answer");
    assert_eq!(last.header("connection"), Some("close"));
    assert_eq!((last.end, last.rest.as_slice()), (BodyEnd::Complete, &b""[..]));
}

/// Notes of closures, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, entry: impl fmt::Display) {
        self.0.borrow_mut().push(entry.to_string());
    }

    pub(crate) fn read(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Stream ids stored by closures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(Rc<RefCell<Vec<StreamId>>>);

impl Ids {
    pub(crate) fn keep(&self, id: StreamId) {
        self.0.borrow_mut().push(id);
    }

    pub(crate) fn last(&self) -> StreamId {
        *self.0.borrow().last().expect("a stream was opened")
    }

    pub(crate) fn all(&self) -> Vec<StreamId> {
        self.0.borrow().clone()
    }
}

/// A captured value whose destructor panics.
#[derive(Debug)]
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor of the user's");
    }
}

/// Counts the values that live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census(Rc<Cell<usize>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Citizen(Rc<Cell<usize>>);

impl Census {
    pub(crate) fn citizen(&self) -> Citizen {
        self.0.set(self.0.get() + 1);
        Citizen(Rc::clone(&self.0))
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
