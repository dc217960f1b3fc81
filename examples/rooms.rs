//! Many rooms, each with a wall to draw on: one topic per room, created where it is needed. An empty
//! room costs nothing. Its drawing is removed a minute after the last visitor left.
//!
//! `cargo run --example rooms`, then open <http://127.0.0.1:8080> in two windows and draw.

use std::{collections::BTreeMap, env, error::Error, time::Duration};

use serde_json::json;
use starwheel::{
    BoxError, Event, Feed, JoinAt, Reactor, Request, Response, Router, Sse, StatusCode, Topic,
};

fn main() -> Result<(), Box<dyn Error>> {
    // The list of rooms is rendered once for all visitors, and only while there are visitors.
    let lobby = Topic::new("lobby").retain();
    let seen = lobby.clone();
    let router = Router::new()
        .get("/", |_req, _cx| Response::redirect("/rooms/garden"))
        .get("/rooms/{room}", |_req, _cx| Response::html(include_str!("rooms.html")))
        .get("/rooms/{room}/events", move |req, _cx| {
            let room = room_name(req)?;
            // First the existing drawing, then each new stroke.
            Ok(Sse::new().tag(room).subscribe_at(&wall(room), JoinAt::Oldest).subscribe(&seen))
        })
        .post("/rooms/{room}/strokes", |req, cx| {
            let wall = wall(room_name(req)?);
            // A hue and points, parsed and serialized again, so that nothing else is published.
            let stroke: Vec<u16> = serde_json::from_slice(req.body()).map_err(|error| {
                Response::error(StatusCode::BAD_REQUEST, format!("not a stroke: {error}"))
            })?;
            if stroke.len() > STROKE_MAX || cx.subscribers(&wall) == 0 {
                return Err(Response::error(
                    StatusCode::BAD_REQUEST,
                    "the stroke is too long, or this room is empty",
                ));
            }
            cx.publish(&wall, format_args!("{stroke:?}"))?;
            Ok(Response::no_content())
        });

    let mut reactor = Reactor::new(router)?;
    reactor.context().drive(&lobby, Duration::from_millis(100), list_rooms);
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);
    Ok(reactor.run()?)
}

/// One topic per room. The name alone identifies it, so the program need not store it.
fn wall(room: &str) -> Topic {
    Topic::new(format!("room-{room}")).history(5000, 512 * 1024)
}

/// How many people are in which room: each stream is tagged with its room.
fn list_rooms(feed: &mut Feed<'_>) -> Result<(), BoxError> {
    let mut people =
        BTreeMap::from(["attic", "garden", "kitchen"].map(|room| (room.to_owned(), 0)));
    let cx = feed.context();
    for room in cx.streams().filter_map(|id| cx.tag(id)) {
        *people.entry(room.to_owned()).or_default() += 1;
    }
    feed.send(Event::new(json!(people).to_string()).name("rooms")?);
    Ok(())
}

fn room_name(request: &Request) -> Result<&str, Response> {
    let name = request.param("room").unwrap_or_default();
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    match plain && (1..=16).contains(&name.len()) {
        true => Ok(name),
        false => Err(Response::error(StatusCode::BAD_REQUEST, "a room has 1 to 16 of a-z and 0-9")),
    }
}

/// Numbers in one stroke: the hue and 127 points.
const STROKE_MAX: usize = 255;
