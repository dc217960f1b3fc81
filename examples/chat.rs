//! A chat on all cores: a message arrives with `POST` and is sent to every page. New pages get the last
//! 200 messages. The streams that open and close show who is present.
//!
//! `cargo run --example chat`, then open <http://127.0.0.1:8080> in two windows.

mod datastar_js;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use starwheel::{
    Context, JoinAt, Response, Router, Sse, StatusCode, Topic,
    datastar::{EscapeHtml, PatchElements, PatchMode, Signals},
};

fn main() -> Result<(), Box<dyn Error>> {
    // A page that reconnects continues after the last message it has seen. If the history does not
    // reach back that far, it gets a gap event and then the complete history. The event has a name
    // that Datastar passes to the page, which clears its log.
    let chat = Topic::new("chat").history(200, 256 * 1024).gap_event("datastar-gap")?;
    let present = Arc::<Mutex<Present>>::default();
    let page = datastar_js::page(include_str!("chat.html"))?;
    datastar_js::run_on_all_cores(move || page.serve(routes(chat.clone(), present.clone())))
}

/// The routes of one worker. What workers share has a lock.
fn routes(chat: Topic, present: Arc<Mutex<Present>>) -> Router {
    let heard = chat.clone();
    Router::new()
        .get("/chat", move |req, _cx| {
            let signals = Signals::read(req)?;
            let name = text(&signals, "name", 24)?.to_owned();
            let (came, left) = (present.clone(), present.clone());
            let leaver = name.clone();
            Ok(Sse::new()
                .subscribe_at(&heard, JoinAt::Oldest)
                .subscribe(&people())
                .on_connect(move |stream| Present::enter(&came, name, &mut stream.context()))
                .on_disconnect(move |cx, _id, _reason| Present::leave(&left, &leaver, cx)))
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
        })
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

/// Who is here, and in how many windows: of all workers. If thousands connect and leave, publish the
/// list at most ten times a second, as the example `rooms` does.
#[derive(Default)]
struct Present(BTreeMap<String, usize>);

impl Present {
    fn enter(present: &Mutex<Self>, name: String, cx: &mut Context<'_>) {
        let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
        *present.0.entry(name).or_default() += 1;
        present.tell(cx);
    }

    fn leave(present: &Mutex<Self>, name: &str, cx: &mut Context<'_>) {
        let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(windows) = present.0.get_mut(name) {
            *windows -= 1;
        }
        present.0.retain(|_, windows| *windows > 0);
        present.tell(cx);
    }

    /// Under the lock, so that the newest list is published last.
    fn tell(&self, cx: &mut Context<'_>) {
        let count = self.0.len();
        let item = |name| format!("<li>{}</li>", EscapeHtml(name));
        let items: String = self.0.keys().map(|name| item(name)).collect();
        let list =
            format!("<aside id=\"people\"><h2><b>{count}</b> here</h2><ul>{items}</ul></aside>");
        // If a queue is full, the next list comes with the next visitor.
        cx.publish(&people(), PatchElements::new(list)).ok();
    }
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
