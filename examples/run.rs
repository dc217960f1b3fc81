//! Runs with an end, like the answers of a language model: `POST /runs` starts a thread that writes, and
//! any number of pages watch it. A page that is reloaded, reconnects or comes late gets the whole answer,
//! from either worker. After the end, its `EventSource` is told to stay away. A run that nobody watches
//! stops.
//!
//! `cargo run --example run`, then open <http://127.0.0.1:8080>. Arguments change it: `tokens=2000`,
//! `pace_ms=10` between two of them, `patience_s=10` without anyone who watches, and `keep_s=600`, how
//! long an answer is kept after its end.

use std::{
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use starwheel::{
    Event, EventError, Handle, JoinAt, Request, Response, Router, Sse, StatusCode, Topic,
    TrySendError, Workers,
};

fn main() -> Result<(), Box<dyn Error>> {
    let runs = Runs::default();
    let workers = Workers::new(2, move |worker| {
        routes(runs.clone(), worker.handle_of_all(), worker.number())
    })?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", workers.listen(format!("127.0.0.1:{port}"))?);
    Ok(workers.run()?)
}

/// The routes of one worker.
fn routes(runs: Runs, handle: Handle, worker: usize) -> Router {
    let listed = runs.clone();
    Router::new()
        .get("/", |_req, _cx| Response::html(include_str!("run.html")))
        .get("/runs", move |_req, _cx| Ok(Response::json(&listed.states())?))
        .post("/runs", move |_req, _cx| {
            let (number, runs, handle) = (runs.begin(), runs.clone(), handle.clone());
            thread::spawn(move || runs.end(number, write(&handle, &topic(number))));
            Ok(Response::json(&json!({ "run": number }))?)
        })
        .get("/runs/{run}", |_req, _cx| Response::html(include_str!("run.html")))
        .get("/runs/{run}/events", move |req: &Request, _cx| {
            let number = req.param("run").and_then(|text| text.parse().ok());
            let number =
                number.ok_or_else(|| Response::error(StatusCode::NOT_FOUND, "no such run"))?;
            // From the first token on, however late the page comes.
            let sse = Sse::new().subscribe_at(&topic(number), JoinAt::Oldest);
            Ok(sse.send(named("worker", worker.to_string())?))
        })
}

/// The topic of a run. The name identifies it, so the program need not store it.
fn topic(number: usize) -> Topic {
    let kept = Duration::from_secs(setting("keep_s", 600));
    Topic::new(format!("run-{number}")).history(4096, 1 << 20).keep_finished(kept)
}

/// Writes an answer, one token after the other. Returns how it ended.
fn write(handle: &Handle, run: &Topic) -> Result<&'static str, EventError> {
    let (tokens, pace) = (setting("tokens", 2000), Duration::from_millis(setting("pace_ms", 10)));
    let patience = Duration::from_secs(setting("patience_s", 10));
    let mut last_watched = Instant::now();
    for token in WORDS.split_inclusive(' ').cycle().take(tokens as usize) {
        if !patiently(|| handle.publish(run, token)) {
            return Ok("cut off by the end of the server");
        }
        // On all workers and, with a backplane, all machines.
        if handle.subscribers_on_machines(run) > 0 {
            last_watched = Instant::now();
        } else if last_watched.elapsed() >= patience {
            let end = named("stopped", "nobody watched")?;
            patiently(|| handle.finish(run, &end));
            return Ok("stopped, because nobody watched");
        }
        thread::sleep(pace);
    }
    let end = named("done", tokens.to_string())?;
    patiently(|| handle.finish(run, &end));
    Ok("complete")
}

/// Tries again while the server is overloaded. False once it has stopped.
fn patiently<T>(send: impl Fn() -> Result<(), TrySendError<T>>) -> bool {
    loop {
        match send() {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(_)) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn named(name: &'static str, data: impl Into<String>) -> Result<Event<'static>, EventError> {
    Event::new(data.into()).name(name)
}

/// How each run is going; the first one has the number 1.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<&'static str>>>);

impl Runs {
    fn begin(&self) -> usize {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.push("being written");
        states.len()
    }

    fn end(&self, number: usize, how: Result<&'static str, EventError>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states[number - 1] = how.unwrap_or("failed");
    }

    fn states(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A number from the arguments.
fn setting(name: &str, default: u64) -> u64 {
    let value = |argument: String| argument.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    env::args().find_map(value).unwrap_or(default)
}

const WORDS: &str = "Every stream is a row of small events, and each of them is written once. A page that \
watches gets them in order; one that was away continues after the last one it has seen. When the \
answer is complete, a last event says so, and the connections are free again. ";
