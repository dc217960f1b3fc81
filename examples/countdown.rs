//! An updater that ends: a countdown from ten that then finishes the stream.
//!
//! `cargo run --example countdown`, then open <http://127.0.0.1:8080>.

use std::{env, error::Error, time::Duration};

use starwheel::{Event, Next, Reactor, Response, Router, Sse};

fn main() -> Result<(), Box<dyn Error>> {
    let router =
        Router::new().get("/", |_req, _cx| Response::html(PAGE)).get("/countdown", |_req, _cx| {
            let mut left = 10;
            Sse::every(Duration::from_millis(300), move |stream| {
                stream.send(format_args!("{left}"));
                left -= 1;
                if left >= 0 {
                    return Ok(Next::Again);
                }
                stream.send(Event::new("lift-off").name("done")?);
                Ok(Next::Finish)
            })
            .on_disconnect(|_cx, id, reason| eprintln!("{id}: {reason}"))
        });

    let mut reactor = Reactor::new(router)?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);
    Ok(reactor.run()?)
}

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>starwheel countdown</title><link rel="icon" href="data:,">
<style>
  body { min-height: 100vh; margin: 0; display: grid; place-content: center; text-align: center;
    background: #0b0f1e; color: #e8ecf8; font: 1.2rem system-ui, sans-serif }
  #left { font: 600 9rem/1 ui-monospace, monospace; color: #ffd166 }
</style>
<div id="left">–</div><div id="state">waiting</div>
<script>
  const show = (id, text) => document.getElementById(id).textContent = text
  const source = new EventSource('/countdown')
  source.onmessage = event => { show('left', event.data); show('state', 'counting') }
  // An EventSource reconnects whenever a stream ends, so the page closes it when it is done.
  source.addEventListener('done', () => { source.close(); show('state', 'done') })
</script>"#;
