//! Connections whose request another server has read.

use std::{
    io::Read,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    sync::mpsc,
    time::Duration,
};

use socket2::SockRef;
use starwheel::{
    Config, Context, Handle, Reactor, Request, Response, Router, Sse, Topic, TrySendError,
};

use crate::{
    client::{Client, PATIENCE, wait_for},
    server::Server,
};

fn pair() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0)
}

fn live() -> Request {
    Request::parse(b"GET /live?n=1 HTTP/1.1\r\nHost: app\r\nCookie: a=b\r\n\r\n").unwrap()
}

#[test]
fn a_request_is_answered_with_a_stream_that_knows_what_was_found_out() {
    let server = Server::serving(Router::new);
    let (mut client, socket) = pair();
    let (user, news) = (String::from("anna"), Topic::new("news").retain());
    let (watched, found) = (news.clone(), user.clone());
    let watch = move |req: &mut Request, _cx: &mut Context<'_>| {
        let cookie = req.cookie("a").unwrap_or_default().to_owned();
        Sse::new().tag(&*found).subscribe(&watched).send(format!("{found} {cookie}"))
    };
    server.handle.adopt_request(socket, live(), watch).unwrap();
    client.stream_head();
    assert_eq!(client.data(), "anna b");
    server.handle.publish(&news, "fresh").unwrap();
    assert_eq!(client.data(), "fresh");
}

#[test]
fn a_response_closes_the_connection_and_what_was_pipelined_is_dropped() {
    let server = Server::serving(Router::new);
    let (mut client, socket) = pair();
    client.send("GET /next HTTP/1.1\r\nHo");
    server.handle.adopt_request(socket, live(), |_req, _cx| Response::text("bye")).unwrap();
    let answer = client.answer();
    assert_eq!(answer.body, "bye");
    assert!(answer.head.contains("Connection: close"), "{}", answer.head);
    assert_eq!(client.socket().read(&mut [0; 8]).unwrap(), 0, "the end, and no reset");
}

#[test]
fn what_is_no_connected_stream_socket_is_closed_and_left_as_it_was() {
    let server = Server::serving(Router::new);
    let answer = |_: &mut Request, _: &mut Context<'_>| Response::text("never");
    let (datagrams, other_end) = UnixDatagram::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let duplicate = listener.try_clone().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    let all: [OwnedFd; 4] = [datagrams.into(), listener.into(), pipe.into(), udp.into()];
    for descriptor in all {
        server.handle.adopt_request(descriptor, live(), answer).unwrap();
    }
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.requests, stats.panics), (0, 0, 0));
    assert!(other_end.send(b"x").is_err(), "closed");
    let blocks = !SockRef::from(&duplicate).nonblocking().unwrap();
    assert!(blocks, "the duplicate of a rejected socket still blocks");
}

/// The conversion of a socket is code of the application. It may use a handle, which locks the
/// queue, and it may panic.
#[test]
fn a_conversion_that_uses_the_handle_or_panics_harms_nobody() {
    struct Converts(Handle, TcpStream);
    impl From<Converts> for OwnedFd {
        fn from(Converts(handle, socket): Converts) -> Self {
            handle.run(|_cx| {}).expect("room in the queue");
            socket.into()
        }
    }
    struct Panics(TcpStream);
    impl From<Panics> for OwnedFd {
        fn from(Panics(_socket): Panics) -> Self {
            panic!("on purpose");
        }
    }
    let server = Server::serving(Router::new);
    let ((mut client, socket), (lost, its_socket)) = (pair(), pair());
    let answer = |_: &mut Request, _: &mut Context<'_>| Response::text("bye");
    server.handle.adopt_request(Panics(its_socket), live(), answer).unwrap();
    let socket = Converts(server.handle.clone(), socket);
    server.handle.adopt_request(socket, live(), answer).unwrap();
    assert_eq!(client.answer().body, "bye");
    assert_eq!(lost.socket().read(&mut [0; 8]).unwrap(), 0, "closed");
    assert_eq!(server.stats().panics, 1);
}

#[test]
fn a_unix_socket_is_handed_over_too() {
    let server = Server::serving(Router::new);
    let (mut client, socket) = UnixStream::pair().unwrap();
    server.handle.adopt_request(socket, live(), |_req, _cx| Response::text("bye")).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("bye"), "{text}");
}

#[test]
fn an_answer_may_come_later_there_too() {
    let server = Server::serving(Router::new);
    let (mut client, socket) = pair();
    let (sender, desk) = mpsc::channel();
    let wait = move |_req: &mut Request, cx: &mut Context<'_>| {
        let (later, responder) = cx.later();
        sender.send(responder).unwrap();
        later
    };
    server.handle.adopt_request(socket, live(), wait).unwrap();
    desk.recv_timeout(PATIENCE).unwrap().answer(Response::text("at last"));
    let answer = client.answer();
    assert_eq!(answer.body, "at last");
    assert!(answer.head.contains("Connection: close"), "{}", answer.head);
}

#[test]
fn everything_comes_back_from_a_reactor_that_has_stopped() {
    let server = Server::serving(Router::new);
    server.handle.shutdown();
    wait_for("the reactor stops", || server.handle.is_stopped().then_some(()));
    let (client, socket) = pair();
    let refused = server.handle.adopt_request(socket, live(), |_req, _cx| Response::text("no"));
    let Err(TrySendError::Closed((socket, request, _answer))) = refused else { panic!() };
    assert_eq!(request.path(), "/live");
    drop(socket);
    assert_eq!(client.socket().read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn handed_over_connections_count_for_the_limits_and_leave_with_a_drain() {
    let server = Server::start(|| {
        let mut config = Config::default();
        config.limits.connections = Some(1);
        let mut reactor = Reactor::with_config(config, Router::new()).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    let (mut first, socket) = pair();
    let watch = |_: &mut Request, _: &mut Context<'_>| Sse::new().send("hello");
    server.handle.adopt_request(socket, live(), watch).unwrap();
    first.stream_head();
    let (mut second, socket) = pair();
    server.handle.adopt_request(socket, live(), watch).unwrap();
    assert_eq!(second.answer().status, 503);
    server.handle.drain(Duration::from_millis(50));
    wait_for("the reactor stops", || server.handle.is_stopped().then_some(()));
}

#[test]
fn a_thousand_hand_overs_with_resets_leave_nothing() {
    let server = Server::serving(Router::new);
    for number in 0..1_000 {
        let (client, socket) = pair();
        let watch = move |_: &mut Request, _: &mut Context<'_>| {
            Sse::every(Duration::from_millis(1), |stream| stream.send("tick")).send("hello")
        };
        if number % 2 == 0 {
            client.reset();
            server.handle.adopt_request(socket, live(), watch).unwrap();
        } else {
            server.handle.adopt_request(socket, live(), watch).unwrap();
            client.reset();
        }
        if number % 50 == 49 {
            server.ask(|_cx| {}); // So that no more than 50 hand-overs hold a descriptor.
        }
    }
    // Those that were reset before they came are not accepted at all.
    let stats = server.wait_for("all connections are closed", |stats| stats.connections == 0);
    assert!(stats.opened >= 1, "{stats:?}");
}
