//! What a request knows of the TLS connection that it came over.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use starwheel::{
    Certificate, ClientCertificates, Context, Method, OriginCheck, Request, Response, Router, Sse,
    TlsConfig, testing::Simulation,
};

use crate::localhost::{Authority, HttpsClient, Localhost, session};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn describe(request: &Request) -> String {
    let lengths: Vec<_> = request.client_certificates().map(<[u8]>::len).collect();
    format!("[{} {:?} {lengths:?}]", request.is_secure(), request.server_name())
}

fn described() -> Router {
    let later = |_req: &Request, cx: &mut Context<'_>| {
        let (later, responder) = cx.later();
        responder.answer_with(|req, _cx| Response::text(describe(req)));
        later
    };
    Router::new()
        .get("/", |req, _cx| Response::text(describe(req)))
        .get("/later", later)
        .get("/live", |req, _cx| Sse::new().send(describe(req)))
}

struct World {
    authority: Authority,
    clients: Authority,
    certificate: Certificate,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let certificate = authority.issue("localhost").certificate();
        Self { authority, clients: Authority::new(), certificate }
    }

    fn config(&self) -> TlsConfig {
        let clients = ClientCertificates::optional(&self.clients.pem).unwrap();
        let builder = TlsConfig::builder(self.certificate.clone());
        builder.client_certificates(clients).build().unwrap()
    }
}

fn ask(
    simulation: &mut Simulation,
    config: &TlsConfig,
    client: &Arc<ClientConfig>,
    request: &[u8],
) -> String {
    let wire = simulation.connect_tls(config);
    let mut client = HttpsClient::new(wire, session(client));
    client.send(simulation, request);
    let text = client.text();
    let (start, end) = (text.find('[').expect(&text), text.rfind(']').unwrap());
    text[start..=end].to_owned()
}

#[test]
fn a_request_knows_of_its_client_what_the_listener_keeps() {
    let world = World::new();
    let own = world.clients.issue("client");
    let known = world.authority.client(Some(&own));
    let unknown = world.authority.client(None);
    let (plain, length) = (world.config(), own.der().len());
    let certificates = plain.clone().keep_client_certificates();
    let names = plain.clone().keep_server_names();
    let both = certificates.clone().keep_server_names();
    let mut simulation = Simulation::new(described());
    for (config, client, expected) in [
        (&plain, &known, "[true None []]".to_owned()),
        (&certificates, &known, format!("[true None [{length}]]")),
        (&certificates, &unknown, "[true None []]".to_owned()),
        (&names, &known, "[true Some(\"localhost\") []]".to_owned()),
        (&both, &known, format!("[true Some(\"localhost\") [{length}]]")),
        // A ticket says who the client is.
        (&both, &known, format!("[true Some(\"localhost\") [{length}]]")),
    ] {
        assert_eq!(ask(&mut simulation, config, client, GET), expected);
    }
    let later = b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let expected = format!("[true Some(\"localhost\") [{length}]]");
    assert_eq!(ask(&mut simulation, &both, &known, later), expected);
    // The next client in the same slot, and the next request of another one, know nothing of it.
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).text(), "[false None []]");
}

#[test]
fn what_is_kept_of_clients_is_counted_and_freed_with_their_connections() {
    let world = World::new();
    let own = world.clients.issue("client");
    let known = world.authority.client(Some(&own));
    let config = world.config().keep_client_certificates().keep_server_names();
    let mut simulation = Simulation::new(described());
    let mut clients: Vec<_> = (0..10)
        .map(|_| {
            let wire = simulation.connect_tls(&config);
            let mut client = HttpsClient::new(wire, session(&known));
            client.send(&mut simulation, b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert!(client.text().contains("Some(\"localhost\")"));
            client
        })
        .collect();
    let each = (own.der().len() + "localhost".len()) as u64;
    assert_eq!(simulation.stats().tls.client_bytes, 10 * each);
    assert!(simulation.stats().prometheus().contains("\nstarwheel_tls_client_bytes "));
    while let Some(client) = clients.pop() {
        simulation.reset(client.client);
        simulation.advance(Duration::from_millis(1));
        assert_eq!(simulation.stats().tls.client_bytes, clients.len() as u64 * each);
    }
    // Nothing by default.
    let wire = simulation.connect_tls(&world.config());
    HttpsClient::new(wire, session(&known)).send(&mut simulation, GET);
    assert_eq!(simulation.stats().tls.client_bytes, 0);
}

/// In the clear, or behind a proxy, the scheme is unknown.
#[test]
fn a_form_of_the_same_host_in_the_clear_is_of_another_origin() {
    let localhost = Localhost::new();
    let router = Router::new().post("/pay", |_req, _cx| Response::text("paid"));
    let mut simulation = Simulation::new(OriginCheck::new().around(router));
    for (origin, status) in [("https://localhost", "200"), ("http://localhost", "403")] {
        let mut client = localhost.connect(&mut simulation);
        let post = format!(
            "POST /pay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nOrigin: {origin}\r\n\r\n"
        );
        client.send(&mut simulation, post.as_bytes());
        assert!(client.text().starts_with(&format!("HTTP/1.1 {status} ")), "{origin}");
    }
    let client = simulation.connect();
    simulation.request(client, Method::Post, "/pay", &[("Origin", "http://test")], b"");
    simulation.turn();
    assert_eq!(simulation.response(client).status, 200);
}
