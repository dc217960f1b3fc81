//! Signals in both directions: a counter that all visitors share. The page sends its signals with a
//! command (`POST`), and a stream sends the new values to every page.
//!
//! `cargo run --example counter`, then open <http://127.0.0.1:8080> in two windows.

mod datastar_js;

use std::{cell::Cell, error::Error, rc::Rc, time::Duration};

use serde_json::json;
use starwheel::{
    Response, Router, Sse, StatusCode,
    datastar::{PatchSignals, Signals},
};

fn main() -> Result<(), Box<dyn Error>> {
    // There is only one thread, so an `Rc` is enough to share the count.
    let count = Rc::new(Cell::new(0_i64));
    let shown = Rc::clone(&count);
    let router = Router::new()
        .post("/add", move |req, _cx| {
            let signals = Signals::read(req)?;
            // A page can send anything, so check it.
            let Some(step @ -10..=10) = signals.i64("step") else {
                return Err(Response::error(
                    StatusCode::BAD_REQUEST,
                    "step is a whole number from -10 to 10",
                ));
            };
            count.set(count.get().saturating_add(step));
            Ok(Response::no_content())
        })
        .get("/count", move |_req, _cx| {
            let shown = Rc::clone(&shown);
            Sse::every(Duration::from_millis(50), move |stream| {
                let visitors = stream.context().stats().streams;
                let signals = json!({ "count": shown.get(), "visitors": visitors });
                stream.send(PatchSignals::new(&signals)?);
                Ok(())
            })
            .skip_unchanged()
        });
    datastar_js::run(datastar_js::serve_page(router, include_str!("counter.html"))?)
}
