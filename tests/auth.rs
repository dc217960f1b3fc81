//! Permission to open a stream, and its expiry; with the example `auth` as the site.

#[allow(dead_code, reason = "the example has a main of its own")]
#[path = "../examples/auth.rs"]
mod auth;
#[path = "support/story.rs"]
mod story;

use starwheel::{
    Method, Router, Sse, StatusCode,
    testing::{BodyEnd, Client, Simulation},
};
use std::time::{Duration, SystemTime};
use story::{Diary, ms, secs, serving};

const NEW_YEAR_2026: Duration = Duration::from_secs(1_767_225_600);

fn site() -> Simulation {
    let mut count = 0;
    Simulation::new(auth::site(move || {
        count += 1;
        Ok(format!("id{count}"))
    }))
}

fn ask(
    simulation: &mut Simulation,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
) -> Client {
    post(simulation, method, target, fields, "")
}

fn post(
    simulation: &mut Simulation,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Client {
    let client = simulation.connect();
    let fields = [fields, &[("Content-Type", "application/x-www-form-urlencoded")]].concat();
    simulation.request(client, method, target, &fields, body.as_bytes());
    simulation.turn();
    client
}

/// Logs in and returns the cookie to send.
fn log_in(simulation: &mut Simulation) -> String {
    let client = post(simulation, Method::Post, "/login", &[], "user=G%C3%B6del&password=sesame");
    let answer = simulation.response(client);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
    pair.to_owned()
}

#[test]
fn without_a_session_there_is_no_stream() {
    let mut simulation = site();
    for cookie in ["", "session=", "session=id1", "other=id1", "session=id1; session=id2"] {
        let client = ask(&mut simulation, Method::Get, "/news", &[("Cookie", cookie)]);
        let answer = simulation.response(client);
        assert_eq!((answer.status, answer.text()), (401, "log in first"), "{cookie}");
        assert!(answer.header("www-authenticate").is_some(), "RFC 9110 section 15.5.2");
    }
    assert_eq!(simulation.stats().opened, 0);
}

#[test]
fn a_wrong_password_opens_nothing() {
    let mut simulation = site();
    for body in ["user=a&password=Sesame", "user=&password=sesame", "user=a", "", "%zz=%00"] {
        let client = post(&mut simulation, Method::Post, "/login", &[], body);
        let answer = simulation.response(client);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{body}");
    }
}

#[test]
fn a_login_from_a_foreign_page_is_refused() {
    let mut simulation = site();
    let foreign = [("Origin", "https://attacker.net")];
    let body = "user=a&password=sesame";
    let client = post(&mut simulation, Method::Post, "/login", &foreign, body);
    assert_eq!(simulation.response(client).status, 403);
}

#[test]
fn a_stream_ends_with_its_session_and_reconnecting_is_refused() {
    let mut simulation = site();
    let cookie = log_in(&mut simulation);
    simulation.advance(secs(20));
    let client = ask(&mut simulation, Method::Get, "/news", &[("Cookie", &cookie)]);
    assert_eq!(simulation.events(client)[0].data, "something new for Gödel");
    simulation.advance(ms(39_999));
    assert_eq!((simulation.stats().streams, simulation.events(client).len()), (1, 40));
    simulation.advance(ms(1));
    assert_eq!((simulation.stats().streams, simulation.stats().closed.lifetime), (0, 1));
    // Dropped, not finished: Datastar does not reconnect after a finish.
    assert_eq!(simulation.response(client).end, BodyEnd::Open);
    assert!(simulation.server_end(client).is_some());

    let again = ask(&mut simulation, Method::Get, "/news", &[("Cookie", &cookie)]);
    assert_eq!(simulation.response(again).status, 401);
    assert_eq!(simulation.stats().opened, 1);
}

#[test]
fn a_logout_ends_the_streams_of_its_session_and_of_no_other() {
    let mut simulation = site();
    let (mine, other) = (log_in(&mut simulation), log_in(&mut simulation));
    let stream = ask(&mut simulation, Method::Get, "/news", &[("Cookie", &mine)]);
    let others = ask(&mut simulation, Method::Get, "/news", &[("Cookie", &other)]);
    ask(&mut simulation, Method::Post, "/logout", &[("Cookie", &mine)]);
    assert!(simulation.server_end(stream).is_some());
    assert!(simulation.server_end(others).is_none());
    let again = ask(&mut simulation, Method::Get, "/news", &[("Cookie", &mine)]);
    assert_eq!(simulation.response(again).status, 401);
    // A logout without a session ends no stream.
    ask(&mut simulation, Method::Post, "/logout", &[]);
    assert!(simulation.server_end(others).is_none());
}

#[test]
fn the_earlier_of_age_and_expiry_ends_a_stream() {
    for (age, expiry, end) in [
        (secs(10), secs(20), secs(10)),
        (secs(20), secs(10), secs(10)),
        (secs(5), secs(5), secs(5)),
    ] {
        let diary = Diary::default();
        let noted = diary.clone();
        let mut simulation = serving(move |_, cx| {
            let noted = noted.clone();
            let expires = cx.system_time() + expiry;
            Sse::new()
                .max_lifetime(age)
                .expires_at(expires)
                .on_disconnect(move |_, _, reason| noted.note(reason))
        });
        simulation.get("/");
        simulation.advance(end - ms(1));
        assert_eq!(diary.read(), [""; 0]);
        simulation.advance(ms(1));
        assert_eq!(diary.read(), ["reached its maximum lifetime"]);
    }
}

#[test]
fn a_stream_that_has_expired_before_its_birth_is_not_opened() {
    for (expiry, method) in
        [(Duration::ZERO, Method::Get), (NEW_YEAR_2026, Method::Get), (NEW_YEAR_2026, Method::Head)]
    {
        let mut simulation = Simulation::new(
            Router::new()
                .get("/", move |_, _| Sse::new().expires_at(SystemTime::UNIX_EPOCH + expiry)),
        );
        let client = ask(&mut simulation, method, "/", &[]);
        assert_eq!(simulation.response(client).status, 403);
        assert_eq!(
            (simulation.stats().opened, simulation.stats().refused.with(StatusCode::FORBIDDEN)),
            (0, 1)
        );
    }
}

#[test]
fn a_session_that_lasts_longer_than_a_wheel_turns_is_fine() {
    let mut simulation = serving(|_, _| {
        // The latest time of this type.
        let year_292_billion = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
        Sse::new().expires_at(year_292_billion)
    });
    simulation.get("/");
    simulation.advance(secs(3600));
    assert_eq!(simulation.stats().streams, 1);
}

#[test]
fn the_time_of_day_moves_with_the_turns() {
    let mut simulation = Simulation::new(Router::new());
    simulation.advance(ms(2_999));
    simulation.run(|cx| {
        assert_eq!(cx.system_time(), SystemTime::UNIX_EPOCH + NEW_YEAR_2026 + secs(2));
    });
}
