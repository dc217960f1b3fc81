//! Log lines contain nothing of a peer that a terminal would obey or that would split a line, and
//! expected ends are logged only at debug level.

#[path = "support/story.rs"]
mod story;

use std::{cell::RefCell, fmt::Write, io, sync::Once, time::SystemTime};

use log::{Level, LevelFilter, Log, Metadata, Record};
use starwheel::{
    BoxError, CloseReason, Config, Context, Ending, Event, Hosts, Method, Next, OriginCheck,
    Request, Response, Router, Sse, Topic, testing::Simulation,
};
use story::{echo, ms, secs, serving, serving_with};

/// Keeps the records of each test's own thread: everything in a simulation runs on it.
struct Collector;

thread_local! {
    static RECORDS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let entry = (record.level(), record.args().to_string());
        RECORDS.with_borrow_mut(|records| records.push(entry));
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).expect("no other logger");
        log::set_max_level(LevelFilter::Trace);
    });
    RECORDS.take();
}

/// The records since the last call, checked line by line.
#[track_caller]
fn logged() -> Vec<(Level, String)> {
    let records = RECORDS.take();
    for (_, text) in &records {
        assert!(!text.chars().any(is_dangerous), "{text:?}");
        assert!(text.len() < 6_500, "{} bytes in a line", text.len());
    }
    records
}

/// Control characters (line ends and terminal escapes, of 7 and 8 bits), and those that change the
/// text direction or hide text.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0001}'..='\u{e007f}')
}

#[track_caller]
fn assert_one(level: Level, part: &str) {
    let records = logged();
    let found: Vec<_> = records.iter().filter(|(_, text)| text.contains(part)).collect();
    assert_eq!(found.len(), 1, "{part:?} in {records:#?}");
    assert_eq!(found[0].0, level, "{}", found[0].1);
}

/// Colours, a faked log line, a direction mark, an 8-bit escape, NUL, and a title.
const HOSTILE: &str = "MARK\u{1b}[31m\r\n2026-11-21 ERROR all is lost\n\u{202e}\u{2028}\u{85}\u{9b}1m\0\u{7f}\
     \u{1b}]0;title\u{7}\u{feff}\u{200b}\u{e0041}";

/// The error of a closure that quotes its client.
fn failing(text: &'static str) -> Result<(), BoxError> {
    Err(text.into())
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        write!(path, "%{byte:02x}").expect("memory");
        path
    })
}

// Peers' bytes.

#[test]
fn a_path_is_escaped() {
    listen();
    let router = Router::new().fallback(|_, _| Sse::new().header("X-Split", "a\r\nb"));
    let mut simulation = Simulation::new(router);
    let path = HOSTILE.replace('\0', "");
    let client = simulation.get(&format!("/{}", escaped(&path)));
    assert_eq!(simulation.response(client).status, 500);
    assert_one(Level::Error, r"/MARK\u{1b}[31m\r\n2026");
}

#[test]
fn an_error_of_a_closure_that_quotes_a_peer_is_escaped() {
    listen();
    let mut simulation = serving(|_, _| Sse::every(secs(1), |_| failing(HOSTILE)));
    simulation.get("/");
    assert_one(Level::Warn, r"MARK\u{1b}[31m");

    simulation.run(|cx| {
        cx.every(secs(1), |_| failing(HOSTILE));
    });
    simulation.advance(secs(1));
    assert_one(Level::Warn, r"MARK\u{1b}[31m");

    let topic = Topic::new("hostile");
    let watched = topic.clone();
    let mut simulation = serving(move |_, _| Sse::new().subscribe(&watched));
    simulation.run(|cx| cx.drive(&topic, secs(1), |_| failing(HOSTILE)));
    simulation.get("/");
    assert_one(Level::Warn, r"MARK\u{1b}[31m");
}

#[test]
fn an_error_of_a_handler_that_quotes_a_peer_is_escaped() {
    listen();
    let mut simulation =
        serving(|_, _| -> Result<Response, Response> { Err(io::Error::other(HOSTILE))? });
    simulation.get("/");
    assert_one(Level::Error, r"MARK\u{1b}[31m");

    let mut simulation = serving(|req, _| -> Result<Sse, Response> {
        let id = req.query_value("id").unwrap_or_default().into_owned();
        Ok(Sse::new().send(Event::new("x").id(&id)?))
    });
    let client = simulation.get(&format!("/?id={}", escaped(HOSTILE)));
    assert_eq!(simulation.response(client).status, 500);
    let records = logged();
    assert_eq!(records.len(), 1, "{records:#?}");
}

#[test]
fn a_panic_that_quotes_a_peer_is_escaped() {
    listen();
    let mut simulation = serving(|_, _| -> Response { panic!("{HOSTILE}") });
    simulation.get("/");
    assert_one(Level::Error, r"MARK\u{1b}[31m");

    let mut simulation = serving(|_, _| Sse::every(secs(1), |_| -> Next { panic!("{HOSTILE}") }));
    simulation.get("/");
    assert_one(Level::Error, r"MARK\u{1b}[31m");
}

#[test]
fn a_response_header_that_quotes_a_peer_is_escaped() {
    listen();
    let mut simulation = serving(|_, _| Response::text("x").with_header(HOSTILE, "y"));
    simulation.get("/");
    assert_one(Level::Error, r"MARK\u{1b}[31m");
    let mut simulation = serving(|_, _| Sse::new().header(HOSTILE, "y"));
    simulation.get("/");
    assert_one(Level::Error, r"MARK\u{1b}[31m");
    let mut simulation = serving(|_, _| Response::text("x").with_header("X", HOSTILE));
    simulation.get("/");
    assert!(logged().iter().all(|(_, text)| !text.contains("MARK")), "values may be secrets");
}

#[test]
fn a_foreign_origin_is_escaped() {
    listen();
    let router = Router::new().post("/", |_, _| Response::no_content());
    let mut simulation = Simulation::new(OriginCheck::new().around(router));
    let client = simulation.connect();
    simulation
        .send(client, b"POST / HTTP/1.1\r\nHost: a\r\nOrigin: MARK\x9b31m\xe2\x80\xae\r\n\r\n");
    simulation.turn();
    assert_eq!(simulation.response(client).status, 403);
    assert_one(Level::Debug, r"MARK\x9b31m\xe2\x80\xae");
}

#[test]
fn a_long_text_is_cut() {
    listen();
    for text in ["\u{1b}".repeat(100_000), "ä".repeat(100_000), format!("x{}", "€".repeat(9_999))]
    {
        let length = text.len();
        let mut simulation = serving(move |_, _| -> Result<Response, Response> {
            Err(io::Error::other(text.clone()))?
        });
        simulation.get("/");
        let records = logged();
        let left = length - 1000;
        let is_cut = |(_, text): &(Level, String)| {
            (left..left + 3).any(|left| text.ends_with(&format!("... ({left} more bytes)")))
        };
        assert!(records.iter().any(is_cut), "{records:?}");
    }
}

#[test]
fn a_long_foreign_origin_is_cut() {
    listen();
    let router = Router::new().post("/", |_, _| Response::no_content());
    let mut simulation = Simulation::new(OriginCheck::new().around(router));
    for (length, end) in [(1_000, "xx"), (15_000, "xx... (14000 more bytes)")] {
        let client = simulation.connect();
        let origin = "x".repeat(length);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n");
        simulation.send(client, head.as_bytes());
        simulation.turn();
        assert_eq!(simulation.response(client).status, 403);
        let records = logged();
        assert!(records.iter().any(|(_, text)| text.ends_with(end)), "{records:?}");
    }
}

#[test]
fn refusals_do_not_quote_the_input() {
    listen();
    let mut config = Config::default();
    config.hosts = Hosts::only(["a.example"]).expect("a host");
    let mut simulation = serving_with(config, |_, _| Response::text("hi"));
    let sent: Vec<u8> = HOSTILE.bytes().collect();
    let good = b"Host: a.example\r\n";
    for bytes in [
        sent.clone(),
        [b"GET /", &sent[..], b" HTTP/1.1\r\n", good, b"\r\n"].concat(),
        [b"GET / HTTP/1.1\r\nHost: ", &sent[..], b"\r\n\r\n"].concat(),
        [b"GET / HTTP/1.1\r\n", &good[..], &sent, b": a\r\n\r\n"].concat(),
        [b"GET / HTTP/1.1\r\n", &good[..], b"A: ", &sent, b"\r\n\r\n"].concat(),
        [b"POST / HTTP/1.1\r\n", &good[..], b"Content-Length: MARK\r\n\r\n"].concat(),
        [b"POST / HTTP/1.1\r\n", &good[..], b"Transfer-Encoding: MARK\r\n\r\n"].concat(),
        [b"POST / HTTP/1.1\r\n", &good[..], b"Transfer-Encoding: chunked\r\n\r\n", &sent].concat(),
        b"GET / HTTP/1.1\r\nHost: MARK.example\r\n\r\n".to_vec(),
    ] {
        let client = simulation.connect();
        simulation.send(client, &bytes);
        simulation.turn();
        assert!((400..502).contains(&simulation.response(client).status));
        let records = logged();
        assert_eq!(records.len(), 1, "{records:#?}");
        let (level, text) = &records[0];
        assert_eq!(*level, Level::Debug, "{text}");
        assert!(text.contains("refused with") && !text.contains("MARK"), "{text}");
    }
}

#[test]
fn ids_and_queries_of_peers_are_not_logged() {
    listen();
    let topic = Topic::new("news").history(10, 10_000);
    let mut simulation = serving(move |_, _| Sse::new().subscribe(&topic));
    let client = simulation.connect();
    let fields =
        b"GET /?lastEventId=MARK HTTP/1.1\r\nHost: a\r\nLast-Event-ID: MARK\x9b31m\r\n\r\n";
    simulation.send(client, fields);
    simulation.turn();
    simulation.half_close(client);
    simulation.turn();
    let records = logged();
    assert!(!records.is_empty() && records.iter().all(|(_, text)| !text.contains("MARK")));
}

// Culprits.

/// The first client of a simulation.
const PEER: &str = "192.0.2.1:1024";

#[test]
fn a_panic_is_logged_with_the_route_and_client_of_its_closure() {
    fn panics() -> Next {
        panic!("ouch")
    }
    let panics_at = |what: &'static str| {
        move |_: &Request, _: &mut Context<'_>| {
            let at = move |here| {
                if here == what {
                    panics();
                }
            };
            at("the handler");
            Sse::every(secs(1), move |_| at("an updater"))
                .on_connect(move |_| at("on_connect"))
                .on_disconnect(move |_, _, _| at("on_disconnect"))
        }
    };
    for what in ["an updater", "on_connect", "on_disconnect"] {
        listen();
        let mut simulation = Simulation::new(Router::new().get("/room/{id}", panics_at(what)));
        let client = simulation.get("/room/7?token=secret");
        simulation.reset(client);
        simulation.turn();
        assert_one(Level::Error, &format!("{what} of /room/{{id}} for {PEER} panicked: ouch"));
    }
    listen();
    let handler = panics_at("the handler");
    let mut simulation = Simulation::new(Router::new().get("/room/{id}", handler));
    simulation.get("/room/7?token=secret");
    assert_one(Level::Error, &format!("the handler of GET /room/{{id}} for {PEER} panicked: ouch"));

    let topic = Topic::new("news\u{202e}");
    let watched = topic.clone();
    let mut simulation = serving(move |_, _| Sse::new().subscribe(&watched));
    simulation.run(|cx| cx.drive(&topic, secs(1), |_| panics()));
    simulation.get("/");
    assert_one(Level::Error, r#"the updater of a topic, "news\u{202e}", panicked: ouch"#);
    simulation.queue(|_| {
        panics();
    });
    simulation.turn();
    assert_one(Level::Error, "a closure passed to Handle::run panicked: ouch");
}

#[test]
fn an_error_is_logged_with_the_route_and_client_of_its_closure() {
    listen();
    let read = |_: &Request, _: &mut Context<'_>| -> Result<Response, Response> {
        Err(io::Error::other("no disk"))?
    };
    let watch = |_: &Request, _: &mut Context<'_>| -> Result<Sse, Response> {
        Ok(Sse::new().send(Event::new("x").id("a\nb")?))
    };
    let broken = |_: &Request, _: &mut Context<'_>| Response::text("x").with_header("X", "a\nb");
    let router = Router::new()
        .get("/file/{name}", read)
        .get("/watch", watch)
        .get("/broken", broken)
        .get("/sensor", |_, _| Sse::every(secs(1), |_| failing("no sensor")));
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/file/passwd");
    assert_eq!(simulation.response(client).status, 500);
    assert_one(
        Level::Error,
        &format!("the handler of GET /file/{{name}} for {PEER} failed: no disk"),
    );
    simulation.get("/watch");
    assert_one(
        Level::Error,
        "the handler of GET /watch for 192.0.2.1:1025 failed: an event id must",
    );
    simulation.get("/broken");
    assert_one(Level::Error, "the handler of GET /broken for 192.0.2.1:1026 failed: the response");
    simulation.get("/sensor");
    assert_one(Level::Warn, " of /sensor for 192.0.2.1:1027: the updater failed: no sensor");

    let topic = Topic::new("load");
    let watched = topic.clone();
    let mut simulation = serving(move |_, _| Sse::new().subscribe(&watched));
    simulation.run(|cx| cx.drive(&topic, secs(1), |_| failing("no sensor")));
    simulation.get("/");
    assert_one(Level::Warn, r#"the updater of a topic, "load", failed: no sensor"#);
}

// Levels.

#[track_caller]
fn assert_nothing_above_debug(what: &str) {
    let records = logged();
    let loud: Vec<_> = records.iter().filter(|(level, _)| *level < Level::Debug).collect();
    assert!(loud.is_empty(), "{what}: {loud:?}");
}

#[test]
fn expected_ends_are_logged_at_debug_level() {
    listen();
    let streams = || {
        serving(|_, _| Sse::every(secs(1), |stream| stream.send("tick")).max_lifetime(secs(3600)))
    };
    let mut simulation = streams();
    let client = simulation.get("/");
    simulation.half_close(client);
    simulation.turn();
    assert_one(Level::Debug, "the client disconnected");

    let client = simulation.get("/");
    simulation.reset(client);
    simulation.advance(secs(2));
    assert_nothing_above_debug("a reset stream");

    let client = simulation.connect();
    simulation.send(client, b"GET / HT");
    simulation.turn();
    simulation.reset(client);
    simulation.turn();
    assert_nothing_above_debug("a reset request");

    simulation.get("/");
    simulation.advance(secs(3600));
    assert_one(Level::Debug, "maximum lifetime");

    simulation.get("/");
    simulation.drain(secs(1));
    simulation.advance(secs(2));
    assert_one(Level::Debug, "the server is shutting down");

    for ending in [Ending::Finish, Ending::Drop] {
        serving(move |_, _| Sse::new().send("one").ending(ending)).get("/");
        assert_nothing_above_debug("a one-shot stream");
    }
    let mut simulation = echo();
    let (idle, slow) = (simulation.connect(), simulation.connect());
    simulation.send(slow, b"GET / HT");
    simulation.get("/nothing");
    simulation.advance(secs(120));
    assert!(!simulation.is_open(idle) && !simulation.is_open(slow));
    assert_nothing_above_debug("time limits and a wrong path");

    let mut simulation = serving(|_, _| Sse::new().expires_at(SystemTime::UNIX_EPOCH));
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    assert_nothing_above_debug("an expired login");
}

#[test]
fn surprises_are_warnings() {
    listen();
    let mut config = Config::default();
    config.limits.outbox_bytes = 1000;
    let mut simulation = serving_with(config, |_, _| Sse::new());
    let client = simulation.get("/");
    simulation.stall(client);
    for _ in 0..100 {
        simulation.run(|cx| {
            for id in cx.streams().collect::<Vec<_>>() {
                cx.send(id, "x".repeat(10_000));
            }
        });
        simulation.advance(ms(1));
    }
    assert_one(Level::Warn, &CloseReason::Slow.to_string());

    serving(|_, _| Sse::every(secs(1), |_| failing("no sensor"))).get("/");
    assert_one(Level::Warn, "no sensor");

    serving(|_, _| Sse::every(secs(1), |_| -> Next { panic!("ouch") })).get("/");
    let levels: Vec<_> = logged().into_iter().map(|(level, _)| level).collect();
    assert_eq!(levels, [Level::Error, Level::Warn], "the panic and the end of its stream");
}

#[test]
#[cfg(target_os = "linux")]
fn a_listener_that_cannot_accept_logs_it_once() {
    use std::net::{Shutdown, TcpListener};
    listen();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // From here on Linux answers each attempt with EINVAL, which lasts as long as EMFILE would.
    socket2::SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    let mut reactor = starwheel::Reactor::new(Router::new()).unwrap();
    reactor.listen_on(listener).unwrap();
    while reactor.stats().accept_failures < 3 {
        reactor.turn(None).unwrap();
    }
    assert_one(Level::Warn, "cannot accept connections");
}
