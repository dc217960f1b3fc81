//! A chat: a message arrives with `POST` and is sent to every page. New pages get the last 200
//! messages. The tags of the streams show who is present.
//!
//! `cargo run --example chat`, then open <http://127.0.0.1:8080> in two windows.

mod datastar_js;

use std::{collections::BTreeSet, error::Error, time::SystemTime};

use starwheel::{
    Context, JoinAt, Response, Router, Sse, StatusCode, Topic,
    datastar::{EscapeHtml, PatchElements, PatchMode, Signals},
};

fn main() -> Result<(), Box<dyn Error>> {
    // A page that reconnects continues after the last message it has seen. If the history does not
    // reach back that far, it gets a gap event and then the complete history. The event has a name
    // that Datastar passes to the page, which clears its log.
    let chat = Topic::new("chat").history(200, 256 * 1024).gap_event("datastar-gap")?;
    let heard = chat.clone();
    let router = Router::new()
        .get("/chat", move |req, _cx| {
            let signals = Signals::read(req)?;
            Ok(Sse::new()
                .tag(text(&signals, "name", 24)?)
                .subscribe_at(&heard, JoinAt::Oldest)
                .subscribe(&people())
                .on_connect(|stream| tell_who_is_here(&mut stream.context()))
                .on_disconnect(|cx, _id, _reason| tell_who_is_here(cx)))
        })
        .post("/say", move |req, cx| {
            // The page may claim any name. In a real application, take it from the session.
            let signals = Signals::read(req)?;
            let message = message(text(&signals, "name", 24)?, text(&signals, "text", 500)?);
            cx.publish(
                &chat,
                PatchElements::new(message).selector("#log").mode(PatchMode::Append),
            )?;
            Ok(Response::no_content())
        });
    datastar_js::run(datastar_js::serve_page(router, include_str!("chat.html"))?)
}

/// A message as a list item. The visitor's input is text, never HTML.
fn message(name: &str, text: &str) -> String {
    let hue = name.bytes().fold(0, |hue, byte| (hue * 67 + u32::from(byte)) % 360);
    let sent = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    let (name, text) = (EscapeHtml(name), EscapeHtml(text));
    // The name is not part of attributes that contain code: they read it from `data-from`.
    format!(
        "<li style=\"--hue: {hue}\" data-from=\"{name}\" data-class:mine=\"el.dataset.from === $name\">\
         <b>{name}</b> <time data-text=\"clock({sent})\"></time><p>{text}</p></li>"
    )
}

/// Presence: the tags of the open streams are the names of those present. A person with two windows
/// is listed once. This walks over all streams. If thousands connect and leave, do it at most ten
/// times a second, as the example `rooms` does.
fn tell_who_is_here(cx: &mut Context<'_>) {
    let names: BTreeSet<_> = cx.streams().filter_map(|id| cx.tag(id)).collect();
    let count = names.len();
    let items: String = names.iter().map(|name| format!("<li>{}</li>", EscapeHtml(name))).collect();
    let list = format!("<aside id=\"people\"><h2><b>{count}</b> here</h2><ul>{items}</ul></aside>");
    // A reactor never refuses events of its own closures.
    cx.publish(&people(), PatchElements::new(list)).ok();
}

fn people() -> Topic {
    Topic::new("people")
}

/// A signal that must be text of 1 to `longest` characters.
fn text<'a>(signals: &'a Signals, name: &str, longest: usize) -> Result<&'a str, Response> {
    let text = signals.str(name).unwrap_or_default().trim();
    match text.chars().count() {
        length if (1..=longest).contains(&length) => Ok(text),
        _ => Err(Response::error(
            StatusCode::BAD_REQUEST,
            format!("{name} has 1 to {longest} characters"),
        )),
    }
}
