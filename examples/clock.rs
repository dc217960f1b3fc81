//! The basic use: a page with live numbers, fed by one updater closure per visitor.
//!
//! `cargo run --release --example clock`, then open <http://127.0.0.1:8080>. `PORT` selects another
//! port; 0 is any free port.

use std::{env, error::Error, time::Duration};

use starwheel::{Context, Reactor, Request, Response, Router, Sse};

fn main() -> Result<(), Box<dyn Error>> {
    let router = Router::new()
        .get("/", |_req, _cx| Response::html(include_str!("clock.html")))
        .get("/clock", clock);

    let mut reactor = Reactor::new(router)?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let address = reactor.listen(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{address}");
    Ok(reactor.run()?)
}

/// Ten ticks a second for this visitor. The closure owns the visitor's counter.
fn clock(_request: &Request, _cx: &mut Context<'_>) -> Sse {
    let mut ticks = 0_u64;
    Sse::every(Duration::from_millis(100), move |stream| {
        ticks += 1;
        let visitors = stream.context().stats().streams;
        stream.send(format_args!(r#"{{"ticks":{ticks},"visitors":{visitors}}}"#));
    })
}
