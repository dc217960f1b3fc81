//! Temporary errors, in the form that each kind of client understands.

use std::time::Duration;

use starwheel::{
    Config, Method, Response, Router, StatusCode,
    testing::{BodyEnd, Client, ServerEnd, Simulation},
};

use crate::story::{assert_closed, get_1_0, ms, secs};

fn busy() -> Simulation {
    let router = Router::new().fallback(|_req, _cx| {
        Response::error(StatusCode::TOO_MANY_REQUESTS, "one\nat a time")
            .with_retry_after(secs(10))
            .with_header("X-Seen", "yes")
    });
    Simulation::new(router)
}

const EVENT_SOURCE: &[(&str, &str)] = &[("Accept", "text/event-stream")];
const DATASTAR: &[(&str, &str)] =
    &[("Accept", "text/event-stream, text/html, application/json"), ("Datastar-Request", "true")];

fn ask(simulation: &mut Simulation, method: Method, fields: &[(&str, &str)]) -> Client {
    let client = simulation.connect();
    simulation.request(client, method, "/", fields, b"");
    simulation.turn();
    client
}

/// The delay in a body that contains nothing else.
fn retry_delay(body: &str) -> Duration {
    let retry = body.strip_prefix(": one\n: at a time\nretry: ").expect(body);
    let delay = Duration::from_millis(retry.strip_suffix("\n\n").expect(body).parse().unwrap());
    assert!((secs(10)..secs(20)).contains(&delay), "{delay:?}");
    delay
}

#[test]
fn an_event_source_gets_a_stream_that_ends() {
    let mut simulation = busy();
    let client = ask(&mut simulation, Method::Get, EVENT_SOURCE);
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("x-seen"), Some("yes"));
    assert_eq!(answer.events().len(), 0);
    retry_delay(answer.text());
    assert_closed(&simulation, client);
    let stats = simulation.stats();
    assert_eq!((stats.refused.with(StatusCode::TOO_MANY_REQUESTS), stats.opened), (1, 0));
}

#[test]
fn a_get_of_datastar_is_cut_when_it_has_had_time_to_read() {
    let mut simulation = busy();
    let client = ask(&mut simulation, Method::Get, DATASTAR);
    retry_delay(simulation.response(client).text());
    simulation.advance(ms(999));
    assert_eq!(simulation.server_end(client), None);
    simulation.advance(ms(1));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert_eq!(simulation.response(client).end, BodyEnd::Open);
    simulation.half_close(client);
    simulation.turn();
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.stats().timed_out, 0);
}

#[test]
fn a_client_that_leaves_before_the_cut_is_not_awaited() {
    let mut simulation = busy();
    let client = ask(&mut simulation, Method::Get, DATASTAR);
    simulation.half_close(client);
    simulation.turn();
    assert!(!simulation.is_open(client));
}

#[test]
fn a_client_that_does_not_read_before_the_cut_is_closed_in_the_end() {
    let mut simulation = busy();
    let mut faults = starwheel::testing::Faults::default();
    faults.socket_buffer_bytes = 10;
    simulation.set_faults(faults);
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", DATASTAR, b"");
    simulation.advance(secs(60) - ms(1));
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.stats().timed_out, 1);
}

#[test]
fn a_rejected_client_that_does_not_read_has_three_seconds_after_the_cut() {
    let mut config = Config::default();
    config.limits.connections = Some(0);
    let mut simulation = Simulation::with_config(config, 0, Router::new());
    simulation.advance(secs(600));
    let mut faults = starwheel::testing::Faults::default();
    faults.socket_buffer_bytes = 10;
    simulation.set_faults(faults);
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", DATASTAR, b"");
    simulation.advance(secs(4) - ms(1));
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
}

#[test]
fn a_server_that_stops_before_the_cut_resets_a_client_of_http_1_0() {
    let mut simulation = busy();
    let fields = "Accept: text/event-stream\r\nDatastar-Request: true\r\n";
    let client = get_1_0(&mut simulation, "/", fields);
    retry_delay(simulation.response(client).text());
    simulation.shutdown();
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "an end is the last word");
}

#[test]
fn commands_and_pages_get_a_status() {
    for (method, fields) in [
        (Method::Get, &[][..]),
        (Method::Get, &[("Accept", "text/html, */*")]),
        (Method::Post, DATASTAR),
        (Method::Delete, DATASTAR),
        (Method::Post, EVENT_SOURCE),
        (Method::Head, EVENT_SOURCE),
    ] {
        let mut simulation = busy();
        let client = ask(&mut simulation, method, fields);
        let answer = simulation.response(client);
        assert_eq!(answer.status, 429, "{method:?} {fields:?}");
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((10..=20).contains(&seconds), "{seconds}");
        assert_eq!(answer.text(), if method == Method::Head { "" } else { "one\nat a time" });
        assert_closed(&simulation, client);
    }
}

#[test]
fn http_1_0_clients_see_a_cut_by_how_the_connection_ends() {
    let mut simulation = busy();
    let event_source = get_1_0(&mut simulation, "/", "Accept: text/event-stream\r\n");
    retry_delay(simulation.response(event_source).text());
    assert_eq!(simulation.server_end(event_source), Some(ServerEnd::Fin));
    let datastar =
        get_1_0(&mut simulation, "/", "Accept: text/event-stream\r\nDatastar-Request: true\r\n");
    retry_delay(simulation.response(datastar).text());
    simulation.advance(secs(1));
    assert_eq!(simulation.server_end(datastar), Some(ServerEnd::Reset));
}

#[test]
fn clients_rejected_together_do_not_reconnect_together() {
    let mut simulation = busy();
    let mut delays: Vec<_> = (0..100)
        .map(|_| {
            let client = ask(&mut simulation, Method::Get, EVENT_SOURCE);
            retry_delay(simulation.response(client).text())
        })
        .collect();
    delays.sort_unstable();
    // 100 of them in 10 s.
    assert!(delays.windows(2).all(|pair| pair[1] - pair[0] >= ms(30)), "{delays:?}");
}

#[test]
fn only_errors_can_be_temporary() {
    let mut simulation = Simulation::new(
        Router::new().get("/", |_req, _cx| Response::text("x").with_retry_after(secs(1))),
    );
    let client = ask(&mut simulation, Method::Get, EVENT_SOURCE);
    assert_eq!(
        (simulation.response(client).status, simulation.response(client).text()),
        (200, "x")
    );
    assert_eq!(simulation.stats().refused.total(), 0);
}

#[test]
fn a_handler_sheds_load_in_one_line() {
    let router = Router::new().get("/", |_req, _cx| Response::busy(secs(1)));
    let mut simulation = Simulation::with_config(Config::default(), 0, router);
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).status, 503);
    assert!(simulation.response(client).text().contains("busy"));
    assert_eq!(simulation.stats().refused.with(StatusCode::SERVICE_UNAVAILABLE), 1);
}
