//! Topics: anybody publishes, a page rendered once for all, and the same page rendered for each.

use std::{array, sync::LazyLock, time::Duration};

use starwheel::{
    Asset, Context, Ending, Event, Handle, KeepAlive, Request, Response, Router, Sse, StatusCode,
    Topic, datastar::PatchElements,
};

use super::query::{compress, number, tagged};

/// `all` is the handle of all workers, if there are several.
pub(crate) fn add_routes(router: Router, all: Option<Handle>) -> Router {
    let (figures, live_source) = (all.clone(), Asset::live_source());
    router
        .get("/topic", watch)
        .post("/publish", publish)
        .post("/finish", move |req, cx| finish(req, cx, all.as_ref()))
        .get("/live.js", move |_req, _cx| live_source.clone())
        .get("/page", page)
        .get("/private", private)
        .get("/metrics", move |_req, cx| {
            let text = match &figures {
                Some(all) => all.prometheus(),
                None => cx.stats().prometheus(),
            };
            Response::bytes("text/plain; version=0.0.4", text)
        })
}

/// Ends the streams with a tag, on whichever worker they are.
fn finish(
    request: &Request,
    cx: &mut Context<'_>,
    all: Option<&Handle>,
) -> Result<Response, Response> {
    let tag = request.query_value("tag").unwrap_or_default().into_owned();
    let end = move |cx: &mut Context<'_>| {
        for id in cx.tagged(&tag) {
            cx.close(id, Ending::Finish);
        }
    };
    match all {
        Some(all) => all.run_on_all(end)?,
        None => end(cx),
    }
    Ok(Response::no_content())
}

/// With `history`, clients resume after any of the last so many events; with `retry`, they wait so
/// many milliseconds before they reconnect.
fn watch(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let mut topic = topic(request);
    if let events @ 1.. = number(request, "history", 0)? {
        topic = topic.history(usize::try_from(events).unwrap_or(usize::MAX), 1 << 20);
    }
    if number(request, "metrics", 0)? > 0 {
        topic = topic.metrics();
    }
    let mut sse = Sse::new().subscribe(&topic).compression(compress(request)?);
    if let ms @ 1.. = number(request, "retry", 0)? {
        sse = sse.send(Event::retry_only(Duration::from_millis(ms)));
    }
    Ok(tagged(request, kept_alive(request, sse)?))
}

/// With `beat`, keep-alive events are sent every so many milliseconds.
fn kept_alive(request: &Request, sse: Sse) -> Result<Sse, Response> {
    Ok(match number(request, "beat", 0)? {
        0 => sse,
        ms => sse.keep_alive(KeepAlive::Event(Duration::from_millis(ms))),
    })
}

fn topic(request: &Request) -> Topic {
    let name = request.query_value("name").unwrap_or_else(|| "topic".into());
    Topic::new(&*name)
}

fn publish(request: &Request, cx: &mut Context<'_>) -> Result<Response, Response> {
    let text = std::str::from_utf8(request.body())
        .map_err(|_| Response::error(StatusCode::BAD_REQUEST, "the body must be UTF-8 text"))?;
    cx.publish(&topic(request), text)?;
    Ok(Response::no_content())
}

/// One topic for each interval that is asked for, driven while somebody watches.
fn page(request: &Request, cx: &mut Context<'_>) -> Result<Sse, Response> {
    let (interval, compress) = (interval(request)?, compress(request)?);
    let page = Topic::new(format!("page every {} ms", interval.as_millis())).retain();
    if cx.subscribers(&page) == 0 {
        let mut dashboard = Dashboard::new();
        cx.drive(&page, interval, move |feed| {
            dashboard.change();
            feed.send(PatchElements::new(dashboard.render()));
        });
    }
    kept_alive(request, Sse::new().subscribe(&page).compression(compress))
}

/// The same fragment with a first row of the stream's own.
fn private(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let interval = interval(request)?;
    let mut dashboard = Dashboard::new();
    let views = Sse::every(interval, move |stream| {
        dashboard.change();
        dashboard.caption = format!("for {} alone", stream.id());
        stream.send(PatchElements::new(dashboard.render()));
    });
    Ok(views.compression(compress(request)?))
}

fn interval(request: &Request) -> Result<Duration, Response> {
    match number(request, "ms", 100)? {
        0 => Err(Response::error(StatusCode::BAD_REQUEST, "ms must be at least 1")),
        ms => Ok(Duration::from_millis(ms)),
    }
}

/// A table of 200 rows, about 20 KB, of which ten change each time.
struct Dashboard {
    caption: String,
    values: [u32; ROWS],
    changes: u32,
}

impl Dashboard {
    fn new() -> Self {
        let values = array::from_fn(|row| 1000 + 37 * row as u32 % 900);
        Self { caption: "for everybody".into(), values, changes: 0 }
    }

    fn change(&mut self) {
        for step in 0..10 {
            self.changes = self.changes.wrapping_add(1);
            let row = (self.changes.wrapping_mul(2_654_435_761) >> 8) as usize % ROWS;
            self.values[row] = self.values[row].wrapping_mul(31).wrapping_add(step) % 10_000;
        }
    }

    /// From a template, as cheaply as can be: what is measured by it is the server.
    fn render(&self) -> String {
        let mut html = String::with_capacity(HTML_BYTES);
        html.push_str("<table id=\"dashboard\">\n<tr><td colspan=\"3\">");
        html.push_str(&self.caption);
        html.push_str("</td></tr>\n");
        let mut digits = itoa::Buffer::new();
        for (start, &value) in ROW_STARTS.iter().zip(&self.values) {
            html.push_str(start);
            html.push_str(digits.format(value));
            html.push_str("</td><td class=\"unit\">units</td></tr>\n");
        }
        html.push_str("</table>");
        html
    }
}

static ROW_STARTS: LazyLock<[String; ROWS]> = LazyLock::new(|| {
    array::from_fn(|row| {
        format!(
            "<tr id=\"row-{row}\"><td class=\"name\">instrument {row:03}</td><td class=\"value\">"
        )
    })
});
/// A little more than it takes.
const HTML_BYTES: usize = 24 * 1024;
const ROWS: usize = 200;
