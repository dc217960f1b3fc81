//! Sockets that were accepted elsewhere.

use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

use starwheel::{Config, Reactor};

use crate::{
    client::{Client, get},
    routes,
    server::Server,
    turn_until_quiet,
};

#[test]
fn a_socket_is_taken_over_with_the_request_that_was_read() {
    let server = Server::serving(routes);
    let (mut client, accepted) = pair();
    server.handle.adopt(accepted, get("/hello").into()).unwrap();
    assert_eq!(client.answer().body, "hello");
    assert_eq!(client.get("/hello").body, "hello", "it continues like any other connection");
}

#[test]
fn a_socket_is_taken_over_before_anything_was_read() {
    let server = Server::serving(routes);
    let (mut client, accepted) = pair();
    client.request("/hello"); // In the kernel before the reactor knows the socket.
    server.handle.adopt(accepted, Vec::new()).unwrap();
    assert_eq!(client.answer().body, "hello");
}

#[test]
fn a_socket_is_taken_over_in_the_middle_of_a_request() {
    let request = get("/hello");
    for cut in 1..request.len() {
        let server = Server::serving(routes);
        let (mut client, accepted) = pair();
        server.handle.adopt(accepted, request[..cut].into()).unwrap();
        client.send(&request[cut..]);
        assert_eq!(client.answer().body, "hello", "cut at {cut}");
    }
}

#[test]
fn a_socket_is_adopted_with_many_pipelined_requests_followed_by_a_stream() {
    let server = Server::serving(routes);
    let (mut client, accepted) = pair();
    // More than a turn's share of requests, more than one read buffer of bytes.
    let requests = 5_000;
    let mut read_already = get("/hello").repeat(requests).into_bytes();
    let (last, cut) = (get("/count"), 7);
    read_already.extend_from_slice(&last.as_bytes()[..cut]);
    server.handle.adopt(accepted, read_already).unwrap();
    client.send(&last.as_bytes()[cut..]);
    (0..requests).for_each(|_| assert_eq!(client.answer().body, "hello"));
    client.stream_head();
    assert_eq!((client.data(), client.data()), ("0".into(), "1".into()));
}

#[test]
fn an_adopted_connection_has_the_timeout_of_the_bytes_read_ahead() {
    let [first_request, head, idle] = [1, 10, 100].map(|hours| Duration::from_secs(3600 * hours));
    let request = get("/hello");
    for (read_already, least, most) in [
        ("", Duration::ZERO, first_request),
        ("\r\n\r", Duration::ZERO, first_request),
        (&request[..10], first_request, head),
        (&request[..], head, idle),
    ] {
        let mut config = Config::default();
        config.limits.first_request_timeout = first_request;
        config.limits.head_timeout = head;
        config.limits.idle_timeout = idle;
        let mut reactor = Reactor::with_config(config, routes()).unwrap();
        let (_client, accepted) = pair();
        reactor.handle().adopt(accepted, read_already.into()).unwrap();
        turn_until_quiet(&mut reactor);
        assert_eq!(reactor.stats().connections, 1);
        let deadline = reactor.next_deadline().expect("it is not waited for without end");
        assert!(least < deadline && deadline <= most, "{read_already:?}: {deadline:?}");
    }
}

#[test]
fn a_socket_whose_client_is_gone_already_does_no_harm() {
    let server = Server::serving(routes);
    for _ in 0..20 {
        let (client, accepted) = pair();
        client.reset();
        server.handle.adopt(accepted, get("/count").into()).unwrap();
    }
    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    assert_eq!(stats.streams, 0);
    assert_eq!(stats.opened, stats.closed.total());
}

#[test]
fn a_refused_adoption_gives_socket_and_bytes_back() {
    let server = Server::serving(routes);
    let handle = server.handle.clone();
    drop(server);
    let (client, accepted) = pair();
    let address = accepted.local_addr().unwrap();
    let (socket, bytes) = handle.adopt(accepted, b"GET".to_vec()).unwrap_err().into_inner();
    assert_eq!((socket.local_addr().unwrap(), &bytes[..]), (address, &b"GET"[..]));
    drop(client);
}

/// A client, and the socket of its connection at the other end.
pub(crate) fn pair() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0)
}
