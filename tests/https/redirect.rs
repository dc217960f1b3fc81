//! From http to https.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use starwheel::{
    Config, Hosts, Hsts, ListenOptions, Reactor, Response, Router, Sse, Workers,
    testing::Simulation,
};

use crate::{localhost::Localhost, server::Server};

fn routes() -> Router {
    Router::new()
        .get("/", |_req, _cx| Response::text("hello"))
        .get("/live", |_req, _cx| Sse::new().send("hello"))
        .get("/own", |_req, _cx| {
            Response::text("hello").with_header("Strict-Transport-Security", "max-age=7")
        })
        .get("/.well-known/acme-challenge/{token}", |req, _cx| {
            Response::text(format!("{}.thumbprint", req.param("token").unwrap_or_default()))
        })
}

/// Sends bytes in the clear, and reads to the end.
fn talk(address: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(bytes.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

/// A server with a redirecting listener, and the port of HTTPS.
fn redirecting() -> (Server, u16) {
    let localhost = Localhost::new();
    let (report, reported) = std::sync::mpsc::channel();
    let server = Server::start(move || {
        let mut config = Config::default();
        config.hosts = Hosts::only(["a.example", "[::1]"]).unwrap();
        let mut reactor = Reactor::with_config(config, routes()).unwrap();
        assert!(reactor.redirect_to_https("127.0.0.1:0").is_err(), "to where?");
        let https = reactor.listen_tls("127.0.0.1:0", localhost.server).unwrap();
        report.send(https.port()).unwrap();
        let address = reactor.redirect_to_https("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    (server, reported.recv().unwrap())
}

#[test]
fn http_is_redirected_to_https_of_the_same_host_and_path() {
    let (server, port) = redirecting();
    for (request, location) in [
        ("GET / HTTP/1.1\r\nHost: a.example\r\n", format!("https://a.example:{port}/")),
        ("GET /a?b HTTP/1.1\r\nHost: a.example:80\r\n", format!("https://a.example:{port}/a?b")),
        (
            "POST /x HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n",
            format!("https://[::1]:{port}/x"),
        ),
        (
            "GET /.well-known/ HTTP/1.1\r\nHost: a.example\r\n",
            format!("https://a.example:{port}/.well-known/"),
        ),
    ] {
        let answer = talk(server.address, &format!("{request}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\nLocation: {location}\r\n")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(!answer.contains("hello"), "{answer}");
    }
    assert_eq!(server.stats().requests, 0);
}

#[test]
fn a_challenge_reaches_the_application() {
    let (server, _port) = redirecting();
    let request = "GET /.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf HTTP/1.1\r\n\
                   Host: a.example\r\nConnection: close\r\n\r\n";
    let answer = talk(server.address, request);
    assert!(answer.ends_with("\r\n\r\nevaGxfADs6pSRb2LAv9IZf.thumbprint"), "{answer}");
}

#[test]
fn no_other_host_is_redirected_and_none_without_a_name() {
    let (server, _port) = redirecting();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 421),
        ("GET http://attacker.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\n\r\n", 421),
    ] {
        let answer = talk(server.address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let anywhere = Server::start(|| {
        let mut reactor = Reactor::new(routes()).unwrap();
        let options = ListenOptions::new().redirect_to_https(443);
        let address = reactor.listen_with("127.0.0.1:0", options).unwrap();
        (reactor, address)
    });
    let answer = talk(anywhere.address, "GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = talk(anywhere.address, "GET /b HTTP/1.1\r\nHost: any.example:8080\r\n\r\n");
    assert!(answer.contains("\r\nLocation: https://any.example/b\r\n"), "{answer}");
}

#[test]
fn workers_redirect_too() {
    let localhost = Localhost::new();
    let workers = Workers::new(2, |_worker| routes()).unwrap();
    assert!(workers.redirect_to_https("127.0.0.1:0").is_err());
    let https = workers.listen_tls("127.0.0.1:0", localhost.server).unwrap();
    let address = workers.redirect_to_https("127.0.0.1:0").unwrap();
    let handle = workers.handle();
    let running = std::thread::spawn(move || workers.run().unwrap());
    for _ in 0..10 {
        let answer = talk(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let location = format!("\r\nLocation: https://localhost:{}/\r\n", https.port());
        assert!(answer.contains(&location), "{answer}");
    }
    handle.shutdown();
    running.join().unwrap();
}

#[test]
fn strict_transport_security_is_sent_over_tls_only() {
    let localhost = Localhost::new();
    let hsts = Hsts::new(Duration::from_secs(300)).include_subdomains();
    let mut simulation = Simulation::new(hsts.around(routes()));
    for (path, expected) in [
        ("/", "max-age=300; includeSubDomains"),
        ("/live", "max-age=300; includeSubDomains"),
        ("/missing", "max-age=300; includeSubDomains"),
        ("/own", "max-age=7"),
    ] {
        let mut client = localhost.connect(&mut simulation);
        let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(&mut simulation, get.as_bytes());
        let field = format!("\r\nStrict-Transport-Security: {expected}\r\n");
        assert!(client.text().contains(&field), "{}", client.text());
        assert_eq!(client.text().matches("Strict-Transport-Security").count(), 1);
    }
    let in_the_clear = simulation.get("/");
    assert_eq!(simulation.response(in_the_clear).header("strict-transport-security"), None);
}
