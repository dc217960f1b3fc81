//! The starwheel server of all set-ups: plain, over TLS, and on Unix sockets for proxies.

use std::{
    fs,
    io::{self, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use starwheel::{
    Context, KeepAlive, ListenOptions, Reactor, Request, Response, Router, Sse, StatusCode, Stream,
    TlsConfig, Topic, TrustedPeers,
};

use crate::{Result, certificate};

/// The socket for proxies that speak HTTP.
pub(crate) const SOCKET: &str = "app.sock";
/// The socket for proxies that forward TCP, and announce clients by the PROXY protocol.
pub(crate) const ANNOUNCED_SOCKET: &str = "announced.sock";

/// Serves until it is stopped. The first line names the plain port and that of TLS.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    starwheel::raise_descriptor_limit()?;
    let mut reactor = Reactor::new(router())?;
    let plain = reactor.listen("127.0.0.1:0")?;
    let config = TlsConfig::builder(certificate::read_from(folder)?).build()?;
    let tls = reactor.listen_tls("127.0.0.1:0", config)?;
    reactor.listen_on(unix_listener(&folder.join(SOCKET))?)?;
    let announced = ListenOptions::new().proxy_protocol(TrustedPeers::unix_sockets());
    reactor.listen_on_with(unix_listener(&folder.join(ANNOUNCED_SOCKET))?, announced)?;
    writeln!(io::stdout(), "{plain} {tls}")?;
    Ok(reactor.run()?)
}

/// Proxies that were started as root serve as another user.
fn unix_listener(path: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn router() -> Router {
    let topic = || Topic::new("topic");
    Router::new()
        .get("/idle", |_req, _cx| Sse::new().keep_alive(KeepAlive::Every(KEEP_ALIVE)))
        .get("/silent", |_req, _cx| Sse::new().keep_alive(KeepAlive::Off))
        .get("/tick", tick)
        .get("/topic", move |_req, _cx| Sse::new().subscribe(&topic()))
        .post("/publish", move |req, cx| publish(req, cx, &topic()))
}

/// An event at once and then every `ms` milliseconds, of about 100 bytes.
fn tick(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let ms = request.query_value("ms").and_then(|it| it.parse().ok()).filter(|&ms| ms > 0);
    let ms = ms.ok_or_else(|| Response::error(StatusCode::BAD_REQUEST, "ms must be a number"))?;
    // Something for the closure to keep, as most have.
    let padding = PADDING;
    let ticks = Sse::every(Duration::from_millis(ms), move |stream: &mut Stream<'_>| {
        let stamp_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        stream.send(format_args!("{stamp_ns} {padding}"));
        Ok(())
    });
    Ok(ticks.keep_alive(KeepAlive::Every(KEEP_ALIVE)))
}

fn publish(
    request: &Request,
    cx: &mut Context<'_>,
    topic: &Topic,
) -> std::result::Result<Response, Response> {
    let text = std::str::from_utf8(request.body())
        .map_err(|_| Response::error(StatusCode::BAD_REQUEST, "the body must be UTF-8 text"))?;
    cx.publish(topic, text)?;
    Ok(Response::no_content())
}

/// Short, so that every stream has sent a comment before its memory is measured.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// With `data: `, 19 digits and line ends: 100 bytes.
const PADDING: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
