//! Publish from another thread to all clients, on all cores: a plain thread publishes on a topic, and
//! every open page gets each event, whichever worker serves it.
//!
//! `cargo run --release --example broadcast`, then open <http://127.0.0.1:8080> in a few windows.
//! `PORT` selects another port; 0 is any free port.

use std::{env, error::Error, thread, time::Duration};

use starwheel::{Handle, JoinAt, Response, Router, Sse, Topic, Workers};

fn main() -> Result<(), Box<dyn Error>> {
    // The topic keeps the last half minute. A new page has its charts at once, and a page that
    // reconnects gets exactly the events it missed.
    let prices = Topic::new("prices").history(HISTORY, 64 * 1024);
    let watched = prices.clone();
    let workers = Workers::new(Workers::per_core(), move |_worker| {
        let watched = watched.clone();
        Router::new()
            .get("/", |_req, _cx| Response::html(include_str!("broadcast.html")))
            .get("/prices", move |_req, _cx| Sse::new().subscribe_at(&watched, JoinAt::Oldest))
    })?;
    let handle = workers.handle();
    thread::spawn(move || trade(&handle, &prices));

    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", workers.listen(format!("127.0.0.1:{port}"))?);
    Ok(workers.run()?)
}

/// The source of events: six prices that change ten times a second, with or without viewers.
fn trade(handle: &Handle, prices: &Topic) {
    let mut dice = 0x5EED_u64;
    let mut cents = [4210, 18_750, 9_930, 27_400, 1_480, 6_640];
    for tick in 1_u64.. {
        for price in &mut cents {
            // Steps of up to 0.8 % of the price, which never falls below a dollar.
            let step = roll(&mut dice, 161) - 80;
            *price = (*price + *price * step / 10_000).max(100);
        }
        let viewers = handle.stats().streams;
        let quotes = format_args!(r#"{{"tick":{tick},"viewers":{viewers},"cents":{cents:?}}}"#);
        // Never blocks. A price is stale soon, so it is dropped if the queue is full.
        if handle.publish(prices, quotes).is_err_and(|refused| refused.is_closed()) {
            return;
        }
        // The first half minute is published at once, so that the first page has complete charts too.
        if tick >= HISTORY as u64 {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Xorshift: a number from 0 to `sides` - 1.
fn roll(dice: &mut u64, sides: u64) -> i64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    (*dice % sides) as i64
}

/// Ticks in the charts.
const HISTORY: usize = 300;
