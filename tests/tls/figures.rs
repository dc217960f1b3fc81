//! What single things cost, by hand:
//! `cargo test -p starwheel-tests --release --test tls figures -- --ignored --nocapture`.
//!
//! Each time is the shortest of many: other work of the machine does not count.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use starwheel::{Asset, Certificate, Reactor, Router, TlsConfig, testing::Simulation};

use super::routes;
use crate::https::Localhost;

#[test]
#[ignore = "prints times; see the top of the file"]
fn time_of_an_answer() {
    let localhost = Localhost::new();
    let mut hello = localhost.session();
    let mut bytes = Vec::new();
    hello.write_tls(&mut bytes).unwrap();
    let mut servers = vec![("ECDSA P-256".to_owned(), localhost.server.clone())];
    for bits in [2048, 3072, 4096] {
        servers.extend(rsa(bits).map(|config| (format!("RSA {bits}"), config)));
    }
    for (what, config) in servers {
        let time = shortest(100, || {
            let mut simulation = Simulation::new(routes());
            let client = simulation.connect_tls(&config);
            simulation.send(client, &bytes);
            move || {
                simulation.turn_once();
                assert!(!simulation.received(client).is_empty());
            }
        });
        println!("{what}: answer to a hello {time:?}");
    }
}

/// As the loop of the guide does it: two files, and all listeners.
#[test]
#[ignore = "prints times; see the top of the file"]
fn time_of_a_reload() {
    let localhost = Localhost::new();
    let folder = std::env::temp_dir().join(format!("starwheel-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let mut reactor = Reactor::new(routes()).unwrap();
    reactor.listen_tls("127.0.0.1:0", localhost.server.clone()).unwrap();
    let handle = reactor.handle();
    for (certificates, rounds) in [(1, 100), (100, 10)] {
        let issued: Vec<_> =
            (0..certificates).map(|nth| localhost.authority.issue(&format!("host{nth}"))).collect();
        std::fs::write(&chain, &issued[0].chain).unwrap();
        std::fs::write(&key, &issued[0].key).unwrap();
        let time = shortest(rounds, || {
            || {
                let first = Certificate::from_pem_files(&chain, &key).unwrap();
                let mut builder = TlsConfig::builder(first);
                for other in &issued[1..] {
                    builder = builder.certificate(other.certificate());
                }
                handle.reload_tls(builder.build().unwrap()).unwrap();
            }
        });
        println!("reload of {certificates} ECDSA certificates: {time:?}");
    }
    for bits in [2048, 4096] {
        if let Some((chain, key)) = rsa_pem(bits) {
            let time = shortest(20, || {
                || {
                    let certificate = Certificate::from_pem(&chain, &key).unwrap();
                    handle.reload_tls(TlsConfig::builder(certificate).build().unwrap()).unwrap();
                }
            });
            println!("reload of an RSA {bits} certificate: {time:?}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Text that compresses as HTML does, and that does not repeat.
#[test]
#[ignore = "prints times; see the top of the file"]
fn time_of_the_first_use_of_an_asset() {
    let line = |nth: u32| format!("<li id=n{nth}>{:x} of {}</li>\n", nth * 7919, nth % 1000);
    let mut page: String = (0..).map(line).take(35_000).collect();
    page.truncate(1_000_000);
    for coding in ["zstd", "br", "gzip"] {
        let asset = Asset::html(page.clone());
        let router = Router::new().get("/", move |_req, _cx| asset.clone());
        let mut simulation = Simulation::new(router);
        let client = simulation.connect();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
        simulation.send(client, head.as_bytes());
        let start = cpu_time();
        simulation.turn_once();
        println!("{coding}, {} bytes: {:?} of CPU", page.len(), cpu_time() - start);
    }
}

/// Of this thread, to some milliseconds. Zero on other systems than Linux.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// `prepare` is not timed; what it returns is.
fn shortest<W: FnOnce()>(rounds: usize, mut prepare: impl FnMut() -> W) -> Duration {
    let times = (0..rounds).map(|_| {
        let work = prepare();
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap()
}

fn rsa(bits: u32) -> Option<TlsConfig> {
    let (chain, key) = rsa_pem(bits)?;
    let certificate = Certificate::from_pem(chain, key).unwrap();
    Some(TlsConfig::builder(certificate).build().unwrap())
}

/// Needs openssl: ring makes no RSA keys.
fn rsa_pem(bits: u32) -> Option<(String, String)> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-keyout", "-", "-newkey"])
        .arg(format!("rsa:{bits}"))
        .output();
    let pem = String::from_utf8(made.ok().filter(|it| it.status.success())?.stdout).ok()?;
    let at = pem.find("-----BEGIN CERTIFICATE")?;
    Some((pem[at..].to_owned(), pem[..at].to_owned()))
}
