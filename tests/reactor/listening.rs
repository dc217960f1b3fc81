//! Listening sockets.

use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    process,
};

use starwheel::{ListenOptions, Reactor, Response, ReusePort, Router, TrustedPeers};

use crate::{client::Client, listening, routes, server::Server};

#[test]
fn one_reactor_listens_on_many_addresses_of_all_kinds() {
    let path = SocketPath::new("many");
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let given_address = given.local_addr().unwrap();
    let unix = UnixListener::bind(&path.0).unwrap();
    let (more, addresses) = std::sync::mpsc::channel::<SocketAddr>();
    let server = Server::start(move || {
        let (mut reactor, address) = listening();
        more.send(reactor.listen("127.0.0.1:0").unwrap()).unwrap();
        // A machine without IPv6 has nothing to test here.
        if let Ok(address) = reactor.listen("[::1]:0") {
            more.send(address).unwrap();
        }
        reactor.listen_on(given).unwrap();
        reactor.listen_on(unix).unwrap();
        (reactor, address)
    });
    let mut all: Vec<_> = addresses.try_iter().collect();
    all.extend([server.address, given_address]);
    for address in all {
        assert_ne!(address.port(), 0);
        assert_eq!(Client::connect(address).get("/hello").body, "hello", "{address}");
    }
    let mut client = Client::connect_unix(&path.0);
    assert_eq!(client.get("/hello").body, "hello");
    client.open_stream("/count");
    assert_eq!((client.data(), client.data()), ("0".into(), "1".into()));
}

#[test]
fn a_port_in_use_is_refused_and_named() {
    let (mut reactor, address) = listening();
    let error = reactor.listen(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let error = reactor.listen_with(address, ReusePort::Shared).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "a listener that did not ask for company");
    let error = reactor.listen(&[][..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn two_reactors_share_an_address() {
    let first = Server::start(|| {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = reactor.listen_with("127.0.0.1:0", ReusePort::Shared).unwrap();
        (reactor, address)
    });
    let address = first.address;
    let second = Server::start(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = reactor.listen_with(address, ReusePort::Shared).unwrap();
        (reactor, address)
    });
    assert_eq!(second.address, address);
    // The kernel chooses by a hash of the client's port: that one of them gets none of 200 is as
    // likely as 200 equal coin tosses.
    for _ in 0..200 {
        assert_eq!(Client::connect(address).get("/hello").body, "hello");
    }
    let (first, second) = (first.stats().accepted, second.stats().accepted);
    assert_eq!(first + second, 200);
    assert!(first > 0 && second > 0, "{first} and {second}");
}

#[test]
fn connections_that_were_waiting_before_the_reactor_existed_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| client.request("/hello"));
    let _server = Server::start(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        reactor.listen_on(listener).unwrap();
        (reactor, address)
    });
    for client in &mut clients {
        assert_eq!(client.answer().body, "hello");
    }
}

/// A listener for both families reports IPv4 clients as `::ffff:127.0.0.1`.
#[test]
fn each_listener_has_its_own_rule_for_the_proxy_protocol() {
    let path = SocketPath::new("announced");
    let unix = UnixListener::bind(&path.0).unwrap();
    let (more, addresses) = std::sync::mpsc::channel::<SocketAddr>();
    let server = Server::start(move || {
        let whoami = Router::new().get("/", |req, _cx| Response::text(req.peer().to_string()));
        let mut reactor = Reactor::new(whoami).unwrap();
        let announced = |networks: &[&str]| {
            ListenOptions::new().proxy_protocol(TrustedPeers::networks(networks).unwrap())
        };
        // A machine without IPv6 has only one family.
        let both = reactor
            .listen_with("[::]:0", announced(&["127.0.0.0/8"]))
            .or_else(|_| reactor.listen_with("127.0.0.1:0", announced(&["127.0.0.0/8"])));
        more.send(both.unwrap()).unwrap();
        more.send(reactor.listen_with("127.0.0.1:0", announced(&["192.0.2.0/24"])).unwrap())
            .unwrap();
        let trusted = ListenOptions::new().proxy_protocol(TrustedPeers::unix_sockets());
        reactor.listen_on_with(unix, trusted).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    let [both, others] = [(); 2].map(|()| addresses.recv().unwrap());
    let both = SocketAddr::from(([127, 0, 0, 1], both.port()));
    assert_eq!(announce(Client::connect(both)), "192.0.2.7:4711");
    assert_eq!(announce(Client::connect_unix(&path.0)), "192.0.2.7:4711");
    let refused = announce(Client::connect(others));
    assert!(refused.contains("not a trusted proxy"), "{refused}");
    let refused = announce(Client::connect(server.address));
    assert!(refused.contains("malformed request line"), "{refused}");
}

/// The response to a request after a PROXY protocol header.
fn announce<S: Read + Write>(mut client: Client<S>) -> String {
    client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n");
    client.get("/").body
}

/// A listener that fails permanently, here because its other holder has shut it down, must not
/// affect the others. Its failures come immediately, so pausing all listeners would never end.
#[cfg(target_os = "linux")]
#[test]
fn a_listener_that_cannot_accept_does_not_hold_up_the_others() {
    let broken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_holder = broken.try_clone().unwrap();
    let server = Server::start(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        reactor.listen_on(broken).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    socket2::SockRef::from(&other_holder).shutdown(std::net::Shutdown::Both).unwrap();
    let failing = server.wait_for("it fails", |stats| stats.accept_failures > 0);
    for _ in 0..10 {
        assert_eq!(Client::connect(server.address).get("/hello").body, "hello");
    }
    server.wait_for("it is tried again", |stats| stats.accept_failures > failing.accept_failures);
}

/// A path for a Unix socket; the file is removed with it.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("starwheel-test-{}-{name}", process::id())))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
