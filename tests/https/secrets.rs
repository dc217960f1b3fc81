//! Nothing secret is in logs, errors or `Debug`: whole conversations, also those that fail, with
//! everything logged.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use rustls::{ClientConfig, KeyLog};
use starwheel::{
    Certificate, ClientCertificates, ListenOptions, Reactor, Response, Router, Sse, TlsConfig,
    testing::Simulation,
};

use crate::localhost::{Authority, HttpsClient, session};

/// Everything that is logged in this program, by all of its tests.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        writeln!(LOGGED.lock().unwrap(), "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

fn collect_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// All secrets of the conversations, as the clients know them.
#[derive(Default)]
struct Secrets(Mutex<Vec<Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, _label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Fails if eight bytes of the secret are in the text, in a form that people print.
fn assert_absent(text: &str, secret: &[u8], what: &str) {
    let compact: String = text.to_lowercase().split_whitespace().collect();
    for window in secret.chunks_exact(8) {
        let join = |form: fn(&u8) -> String, between: &str| {
            window.iter().map(form).collect::<Vec<_>>().join(between)
        };
        let hex = join(|byte| format!("{byte:02x}"), "");
        let list = join(u8::to_string, ",");
        for form in [hex, list] {
            assert!(!compact.contains(&form), "{what} is in: {text}");
        }
        let is_text = window.iter().all(u8::is_ascii_graphic);
        let as_text = String::from_utf8_lossy(window).to_lowercase();
        assert!(!is_text || !compact.contains(&as_text), "{what} is in: {text}");
    }
}

/// The base64 of a PEM section, without its lines.
fn body(pem: &str) -> Vec<u8> {
    pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::bytes).collect()
}

fn with_secrets(config: &Arc<ClientConfig>, secrets: &Arc<Secrets>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.key_log = Arc::clone(secrets) as _;
    Arc::new(config)
}

fn routes() -> Router {
    Router::new().get("/", |_req, _cx| Response::text("hello")).get("/ticks", |_req, _cx| {
        Sse::every(Duration::from_millis(5), |stream| stream.send("tick"))
    })
}

const GET_WITH_COOKIE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: id=opensesame-1234\r\n\r\n";
const GET_TICKS: &[u8] = b"GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn conversations_log_no_secret() {
    collect_logs();
    let (authority, clients) = (Authority::new(), Authority::new());
    let issued = authority.issue("localhost");
    let config = TlsConfig::builder(issued.certificate())
        .client_certificates(ClientCertificates::optional(&clients.pem).unwrap())
        .build()
        .unwrap()
        .keep_client_certificates();
    let secrets = Arc::<Secrets>::default();
    let known = with_secrets(&authority.client(Some(&clients.issue("known"))), &secrets);
    let stranger = with_secrets(&authority.client(Some(&authority.issue("other"))), &secrets);
    let mut simulation = Simulation::new(routes());
    let mut debug = String::new();
    for (client, corrupt) in [(&known, false), (&known, false), (&known, true), (&stranger, false)]
    {
        let wire = simulation.connect_tls(&config);
        let mut client = HttpsClient::new(wire, session(client));
        client.send(&mut simulation, GET_WITH_COOKIE);
        // A stranger is refused with an alert.
        if client.end().is_none() {
            client.session.refresh_traffic_keys().unwrap();
            client.send(&mut simulation, GET_TICKS);
        }
        write!(debug, "{simulation:?}").unwrap();
        if corrupt {
            let record = [&[23, 3, 3, 0, 20][..], &[7; 20]].concat();
            simulation.send(wire, &record);
        }
        simulation.turn();
        simulation.half_close(wire);
        simulation.turn();
    }
    // And those that never get so far.
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nCookie: id=opensesame-1234\r\n\r\n"[..],
        &[22, 3, 1, 255, 255],
    ] {
        let wire = simulation.connect_tls(&config);
        simulation.send(wire, bytes);
        simulation.turn();
    }
    simulation.advance(Duration::from_secs(100));
    let logged = LOGGED.lock().unwrap().clone();
    assert!(logged.contains("starwheel"), "something is logged: {logged}");
    let secrets = secrets.0.lock().unwrap();
    assert!(secrets.len() >= 4 * 4, "of each conversation");
    for text in [&logged, &debug] {
        for secret in &*secrets {
            assert_absent(text, secret, "a traffic secret");
        }
        assert_absent(text, &body(&issued.key), "the private key");
        assert!(!text.contains("opensesame"), "the cookie is in: {text}");
    }
}

#[test]
fn debug_shows_no_key() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let issued = authority.issue("localhost");
    let certificate = issued.certificate();
    let checked = ClientCertificates::required(&clients.pem).unwrap();
    let builder = TlsConfig::builder(certificate.clone()).client_certificates(checked.clone());
    let config = builder.clone().build().unwrap();
    let builder_with_tickets = builder.clone().tickets_of(&config);
    let options = ListenOptions::new().tls(config.clone());
    let mut reactor = Reactor::new(routes()).unwrap();
    reactor.listen_tls("127.0.0.1:0", config.clone()).unwrap();
    let shown = format!(
        "{certificate:?} {checked:?} {builder:?} {builder_with_tickets:?} {config:?} {options:#?} \
         {reactor:?} {:?}",
        reactor.handle()
    );
    assert_absent(&shown, &body(&issued.key), "the private key in base64");
    let der = <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::
        from_pem_slice(issued.key.as_bytes()).unwrap();
    assert_absent(&shown, der.secret_der(), "the private key");
}

/// A key that was pasted wrongly must not end up in the log of the start.
#[test]
fn errors_do_not_quote_a_malformed_key() {
    let issued = Authority::new().issue("localhost");
    let key_body = body(&issued.key);
    let text = String::from_utf8(key_body.clone()).unwrap();
    let line = |start: &str, end: &str| format!("{start}{text}{end}");
    for malformed in [
        issued.key.replace('\n', " "),
        issued.key.replace('\n', ""),
        issued.key.replace("-----END PRIVATE KEY-----", ""),
        issued.key.replace("-----END PRIVATE KEY-----", "-----END KEY-----"),
        line("-----BEGIN PRIVATE KEY-----\n*", "\n-----END PRIVATE KEY-----\n"),
        line("-----BEGIN ", ""),
        line("-----BEGIN PRIVATE KEY-----\nAA", "\n-----END PRIVATE KEY-----\n"),
        line("-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY"),
        text.clone(),
    ] {
        for (chain, key) in [(&issued.chain, &malformed), (&malformed, &issued.key)] {
            let Err(error) = Certificate::from_pem(chain, key) else { panic!("{malformed}") };
            let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
            assert_absent(&shown, &key_body, "the private key");
        }
        let Err(error) = ClientCertificates::required(&malformed) else { panic!("{malformed}") };
        assert_absent(&format!("{error} {error:?}"), &key_body, "the private key");
    }
}
