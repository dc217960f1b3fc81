//! An HTTPS server for test programs of others: `tls-server CHAIN.pem KEY.pem` prints its port, and
//! serves until its standard input ends.

use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    thread,
    time::Duration,
};

use starwheel::{Certificate, Config, Reactor, Response, Router, TlsConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [chain, key] = &files[..] else { return Err("tls-server CHAIN.pem KEY.pem".into()) };
    let certificate = Certificate::from_pem_files(chain, key)?;
    let router = Router::new()
        .get("/", |_req, _cx| Response::text("hello\n"))
        .get("/large", |_req, _cx| Response::text("*".repeat(100_000)));
    let mut config = Config::default();
    // Some conversations wait for these.
    config.limits.linger_timeout = Duration::from_secs(1);
    let mut reactor = Reactor::with_config(config, router)?;
    let address = reactor.listen_tls("127.0.0.1:0", TlsConfig::builder(certificate).build()?)?;
    let handle = reactor.handle();
    thread::spawn(move || {
        _ = io::stdin().read_to_end(&mut Vec::new());
        handle.shutdown();
    });
    println!("{}", address.port());
    io::stdout().flush()?;
    Ok(reactor.run()?)
}
