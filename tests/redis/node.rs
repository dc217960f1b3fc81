//! One machine of the drills: a server whose topics are shared over Redis, and a publisher of numbers.
//!
//! Settings are in the environment: `REDIS`, `NAMESPACE`, `HISTORY`, `OUTBOX`, `LOG`, `WORKERS`. Prints its address.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use starwheel::{
    Backplane, Backpressure, Context, Handle, Request, Response, Router, Sse, Topic, Workers,
};

/// What was published, by topic.
type Published = BTreeMap<String, u64>;

#[derive(Clone, Default)]
struct Publisher {
    is_running: Arc<AtomicBool>,
    state: Arc<Mutex<(Published, u64)>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::default();
    let workers = Workers::new(setting("WORKERS", 1), move |worker| {
        routes(worker.handle_of_all(), publisher.clone())
    })?;
    let backplane = Backplane::redis(&env::var("REDIS")?)?
        .namespace(&env::var("NAMESPACE").unwrap_or_else(|_| "drills".into()))
        .log_bytes(setting("LOG", 64 << 20) as u64)
        .outbox_bytes(setting("OUTBOX", 16 << 20));
    workers.join(&backplane)?;
    println!("{}", workers.listen("127.0.0.1:0")?);
    Ok(workers.run()?)
}

fn setting(name: &str, otherwise: usize) -> usize {
    env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

fn topic(name: &str) -> Topic {
    Topic::new(name)
        .history(setting("HISTORY", 10_000), 16 << 20)
        .backpressure(Backpressure::DropOldest)
}

/// The names in the query, or in the body if there are many.
fn topics(req: &Request) -> Vec<String> {
    let of_body = String::from_utf8_lossy(req.body());
    let of_query = req.query_value("topics").unwrap_or_default();
    let names = if of_query.is_empty() { of_body } else { of_query };
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn routes(handle: Handle, publisher: Publisher) -> Router {
    let (starting, stopping) = (publisher.clone(), publisher.clone());
    let (of_metrics, of_state, of_count) = (handle.clone(), handle.clone(), handle.clone());
    Router::new()
        .get("/live", |req: &Request, _cx: &mut Context<'_>| {
            topics(req).iter().fold(Sse::new(), |sse, name| sse.subscribe(&topic(name)))
        })
        .get("/tick", |_req, _cx| {
            Sse::every(Duration::from_millis(100), |stream| stream.send("tick"))
        })
        .post("/publish", |req: &Request, cx: &mut Context<'_>| {
            let text = String::from_utf8_lossy(req.body()).into_owned();
            let topic = topic(&req.query_value("topic").unwrap_or_default());
            match req.query_value("key") {
                Some(key) => cx.publish_once(&topic, &key, text)?,
                None => cx.publish(&topic, text)?,
            }
            Ok::<_, Response>(Response::no_content())
        })
        .post("/run", move |req: &Request, _cx: &mut Context<'_>| {
            let rate = req.query_value("rate").and_then(|rate| rate.parse().ok()).unwrap_or(0);
            starting.start(handle.clone(), topics(req), rate);
            Response::no_content()
        })
        .post("/stop", move |_req, _cx| {
            stopping.is_running.store(false, Ordering::SeqCst);
            Response::no_content()
        })
        // One line for each topic, then the number of refusals.
        .get("/published", move |_req, _cx| {
            let (published, refused) = &*publisher.state.lock().unwrap();
            let lines = published.iter().map(|(topic, number)| format!("{topic} {number}\n"));
            Response::text(format!("{}refused {refused}\n", lines.collect::<String>()))
        })
        .get("/metrics", move |_req, _cx| Response::text(of_metrics.prometheus()))
        .get("/count", move |req: &Request, _cx: &mut Context<'_>| {
            let numbers = topics(req).into_iter();
            let counted = numbers.map(|name| of_count.subscribers_on_machines(&topic(&name)));
            Response::text(counted.sum::<usize>().to_string())
        })
        .get("/state", move |_req, _cx| {
            let backplane = of_state.backplane().unwrap_or_default();
            Response::text(format!("{} {}", backplane.connected, backplane.last_error))
        })
}

/// The time of day, which processes of one machine share.
fn nanos() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos())
}

impl Publisher {
    /// Publishes the numbers from 1 on each of the topics in turn, `rate` events a second in all;
    /// zero is as fast as it goes. A number that is refused is tried again.
    fn start(&self, handle: Handle, topics: Vec<String>, rate: u64) {
        self.is_running.store(true, Ordering::SeqCst);
        let Self { is_running, state } = self.clone();
        thread::spawn(move || {
            let start = Instant::now();
            let topics: Vec<_> = topics.iter().map(|name| (name, topic(name))).collect();
            for count in 0_u64.. {
                if let Some(due) = (count * 1_000_000_000).checked_div(rate) {
                    let due = Duration::from_nanos(due);
                    // By the millisecond, as a busy source would.
                    if count % (rate / 1_000).max(1) == 0 {
                        thread::sleep(due.saturating_sub(start.elapsed()));
                    }
                }
                let (name, topic) = &topics[count as usize % topics.len()];
                let number = count / topics.len() as u64 + 1;
                while is_running.load(Ordering::SeqCst) {
                    match handle.publish(topic, format!("{name} {number} {}", nanos())) {
                        Ok(()) => {
                            let published = &mut state.lock().unwrap().0;
                            published.insert((*name).clone(), number);
                            break;
                        }
                        Err(refused) => {
                            assert!(refused.is_full());
                            state.lock().unwrap().1 += 1;
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
                if !is_running.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
    }
}
