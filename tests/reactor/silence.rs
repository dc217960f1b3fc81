//! Silent clients, and the TCP options for them.
#![cfg(all(target_os = "linux", not(starwheel_portable)))]

use std::time::Duration;

use socket2::SockRef;
use starwheel::{Config, Context, KeepAlive, Reactor, Request, Router, Sse};

use crate::{
    adopting::pair,
    client::{Client, wait_for},
    server::Server,
};

fn serving(set: impl FnOnce(&mut Config) + Send + 'static) -> Server {
    Server::start(move || {
        let mut config = Config::default();
        set(&mut config);
        let flood = "x".repeat(100_000);
        let router = Router::new().get("/flood", move |_req, _cx| {
            let flood = flood.clone();
            Sse::every(Duration::from_millis(1), move |stream| stream.send(&*flood))
        });
        let mut reactor = Reactor::with_config(config, router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    })
}

/// Like a browser that is stopped, or whose tab is frozen: the window is full, and its system
/// answers our probes.
#[test]
fn the_user_timeout_ends_a_client_that_is_there_but_does_not_read() {
    let patient = serving(|config| config.tcp.user_timeout = None);
    let hasty = serving(|config| config.tcp.user_timeout = Some(Duration::from_millis(500)));
    let _clients = [&patient, &hasty].map(|server| Client::streaming(server.address, "/flood"));
    patient.wait_for("the window is full", |stats| stats.ticks_skipped > 0);
    let stats = hasty.wait_for("its stream is dropped", |stats| stats.streams == 0);
    assert_eq!((stats.closed.io, stats.closed.total()), (1, 1));
    assert_eq!(patient.stats().streams, 1);
}

#[test]
fn adopted_sockets_get_the_same_options_as_accepted_ones() {
    let server = serving(|config| {
        config.tcp.user_timeout = Some(Duration::from_millis(12_345));
    });
    let (_client, accepted) = pair();
    let seen = accepted.try_clone().unwrap();
    server.handle.adopt(accepted, Vec::new()).unwrap();
    server.wait_for("it is adopted", |stats| stats.connections == 1);
    let socket = SockRef::from(&seen);
    assert!(seen.nodelay().unwrap() && !socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
}

#[test]
fn streams_without_comments_are_probed_apart_from_each_other_and_more_than_once() {
    let server = Server::start(|| {
        let mut config = Config::default();
        config.tcp.user_timeout = Some(Duration::from_secs(3));
        config.tcp.keep_alive_idle = Some(Duration::from_secs(8));
        config.tcp.keep_alive_interval = Duration::ZERO; // As short as can be.
        config.tcp.keep_alive_probes = 2;
        let quiet = |every| move |_: &Request, _: &mut Context<'_>| Sse::new().keep_alive(every);
        let router = Router::new()
            .get("/off", quiet(KeepAlive::Off))
            .get("/rare", quiet(KeepAlive::Every(Duration::from_secs(41))))
            .get("/often", quiet(KeepAlive::Every(Duration::from_secs(40))))
            .get("/default", quiet(KeepAlive::Default));
        let mut reactor = Reactor::with_config(config, router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    let mut opened = 0;
    let mut open = |path| {
        let (mut client, accepted) = pair();
        let seen = accepted.try_clone().unwrap();
        server.handle.adopt(accepted, Vec::new()).unwrap();
        client.open_stream(path);
        opened += 1;
        server.wait_for("it is born", |stats| stats.opened == opened);
        (client, seen)
    };
    for path in ["/often", "/default", "/often", "/default"] {
        let (_client, seen) = open(path);
        assert!(!SockRef::from(&seen).keepalive().unwrap(), "comments do, on {path}");
    }
    let mut idle_times = Vec::new();
    for path in ["/off", "/rare", "/off", "/rare"] {
        let (_client, seen) = open(path);
        let socket = SockRef::from(&seen);
        assert!(socket.keepalive().unwrap(), "{path}");
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(1));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        let idle = socket.tcp_keepalive_time().unwrap();
        // Otherwise Linux would drop the connection after one probe.
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(idle + Duration::from_secs(2)));
        idle_times.push(idle.as_secs());
    }
    idle_times.sort_unstable();
    assert_eq!(idle_times, [8, 9, 10, 11]);
}

#[test]
fn times_that_no_system_takes_cost_the_probes_alone() {
    let server = Server::start(|| {
        let mut config = Config::default();
        config.tcp.keep_alive_idle = Some(Duration::MAX);
        config.tcp.keep_alive_interval = Duration::MAX;
        config.tcp.keep_alive_probes = u32::MAX;
        let router =
            Router::new().get("/", |_, _| Sse::new().keep_alive(KeepAlive::Off).send("on"));
        let mut reactor = Reactor::with_config(config, router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    assert_eq!(Client::streaming(server.address, "/").event().as_deref(), Some("data: on"));
}

#[test]
fn the_system_s_own_patience_can_be_had_back() {
    let server = serving(|config| config.tcp.user_timeout = None);
    let (_client, accepted) = pair();
    let socket = SockRef::from(&accepted);
    // Like a parent process may have left it.
    socket.set_keepalive(true).unwrap();
    socket.set_tcp_user_timeout(Some(Duration::from_secs(1))).unwrap();
    let seen = accepted.try_clone().unwrap();
    server.handle.adopt(accepted, Vec::new()).unwrap();
    wait_for("both options are reset", || {
        let socket = SockRef::from(&seen);
        let is_reset = !socket.keepalive().unwrap() && socket.tcp_user_timeout().unwrap().is_none();
        is_reset.then_some(())
    });
}
