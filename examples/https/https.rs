//! HTTPS in one process: a page with a live stream and a part that Datastar drives, and a listener
//! that redirects from http.
//!
//! `cargo run -p https-example --example https`, then open <https://localhost:8443>. The browser
//! warns, because nobody else knows the certificate, which is made when the program starts: continue.
//! <http://localhost:8080> redirects. `PORT` and `HTTP_PORT` select other ports; 0 is any free port.
//! `CERTIFICATE_FILE` names a file for the certificate, so that `curl --cacert` can check it.

#[path = "../datastar_js/mod.rs"]
mod datastar_js;

use std::{cell::Cell, env, error::Error, fs, rc::Rc, time::Duration};

use serde_json::json;
use starwheel::{
    Certificate, OriginCheck, Reactor, Response, Router, Sse, TlsConfig, datastar::PatchSignals,
};

fn main() -> Result<(), Box<dyn Error>> {
    let config = TlsConfig::builder(make_certificate()?).build()?;

    // `Hsts::new(..).around(..)` belongs here on a real host. Not on localhost: a browser that has
    // seen it refuses plain http to every server on this machine, on any port.
    let mut reactor = Reactor::new(OriginCheck::new().around(routes()?))?;
    let address = reactor.listen_tls(("127.0.0.1", port("PORT", 8443)?), config)?;
    println!("listening on https://localhost:{}", address.port());
    let plain = reactor.redirect_to_https(("127.0.0.1", port("HTTP_PORT", 8080)?))?;
    println!("redirecting http://localhost:{}", plain.port());
    Ok(reactor.run()?)
}

fn routes() -> Result<Router, Box<dyn Error>> {
    let likes = Rc::new(Cell::new(0_u64));
    let shown = Rc::clone(&likes);
    let router = Router::new()
        .get("/clock", |req, _cx| {
            let (name, mut ticks) = (req.host().to_owned(), 0_u64);
            Sse::every(Duration::from_millis(100), move |stream| {
                ticks += 1;
                stream.send(format_args!("{name}, tick {ticks}"));
            })
        })
        .post("/like", move |_req, _cx| {
            likes.set(likes.get() + 1);
            // `Secure`: never sent in the clear. With the prefix, browsers insist on that.
            Response::no_content().with_header(
                "Set-Cookie",
                "__Host-liked=yes; Secure; HttpOnly; SameSite=Strict; Path=/",
            )
        })
        .get("/likes", move |_req, _cx| {
            let shown = Rc::clone(&shown);
            Sse::every(Duration::from_millis(50), move |stream| {
                stream.send(PatchSignals::new(&json!({ "likes": shown.get() }))?);
                Ok(())
            })
            .skip_unchanged()
        });
    datastar_js::serve_page(router, include_str!("https.html"))
}

/// A certificate that this machine alone uses. A real server reads files, and reads them again when
/// they are renewed: see "Renewal" in docs/guide.md.
fn make_certificate() -> Result<Certificate, Box<dyn Error>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    if let Some(path) = env::var_os("CERTIFICATE_FILE") {
        fs::write(path, made.cert.pem())?;
    }
    Ok(Certificate::from_pem(made.cert.pem(), made.signing_key.serialize_pem())?)
}

fn port(variable: &str, default: u16) -> Result<u16, Box<dyn Error>> {
    match env::var(variable) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}
