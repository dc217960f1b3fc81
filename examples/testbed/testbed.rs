//! A server with one route per feature, to test clients, proxies and load generators against
//! starwheel. `testbed --help` lists its flags. The page at `/` explains the routes.

mod datastar;
mod query;
mod topics;

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use query::{compress, number, tagged};
use starwheel::{
    Answer, Config, Context, Cors, Encoding, Handle, Handler, Hosts, KeepAlive, ListenOptions,
    Next, OriginCheck, Reactor, Request, Response, ReusePort, Router, Sse, StatusCode, Stream,
    TagOverflow, TrustedPeers, Workers,
};
#[cfg(feature = "tls")]
use starwheel::{Certificate, TlsConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read()?;
    // One descriptor for each connection, and most systems start programs with 1,024.
    starwheel::raise_descriptor_limit()?;
    match options.workers {
        None => run_one(options),
        Some(count) => run_all(options, count),
    }
}

/// One reactor, on this thread.
fn run_one(options: Options) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::with_config(options.config.clone(), Site::new(&options, None))?;
    let listen = options.listen.clone();
    say_where(
        options.scheme,
        reactor.listen_with(SocketAddr::from((LOCALHOST, options.port)), listen)?,
    )?;
    reactor.drain_on_signals(options.drain_window)?;
    Ok(reactor.run()?)
}

/// Several, on threads of their own.
fn run_all(options: Options, count: usize) -> Result<(), Box<dyn Error>> {
    let (of_all, config) = (options.clone(), options.config.clone());
    let workers = Workers::with_config(&config, count, move |worker| {
        Site::new(&of_all, Some(worker.handle_of_all()))
    })?;
    let listen = options.listen.reuse_port(ReusePort::Shared);
    say_where(
        options.scheme,
        workers.listen_with(SocketAddr::from((LOCALHOST, options.port)), listen)?,
    )?;
    workers.drain_on_signals(options.drain_window)?;
    Ok(workers.run()?)
}

fn say_where(scheme: &str, address: SocketAddr) -> io::Result<()> {
    println!("listening on {scheme}://{address}");
    io::stdout().flush()
}

/// The handler, inside of its layers.
struct Site(Box<dyn Handler>);

impl Site {
    /// `all` is the handle of all workers, if there are several.
    fn new(options: &Options, all: Option<Handle>) -> Self {
        let router = router(all);
        match &options.origins {
            None => Self(Box::new(router)),
            Some((cors, check)) => {
                Self(Box::new(cors.clone().around(check.clone().around(router))))
            }
        }
    }
}

impl Handler for Site {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        self.0.handle(request, cx)
    }
}

fn router(all: Option<Handle>) -> Router {
    let router = routes(all);
    // No login: this server is for tests.
    #[cfg(feature = "dashboard")]
    let router = router.get("/ops", starwheel::dashboard());
    router
}

fn routes(all: Option<Handle>) -> Router {
    topics::add_routes(datastar::add_routes(Router::new()), all)
        .get("/", |_req, _cx| Response::html(INDEX))
        .get("/health", |_req, _cx| Response::text("ok"))
        .get("/hello", |_req, _cx| Response::text("Hello, World!"))
        .get("/whoami", |req, _cx| {
            let client = req.client_ip().map_or_else(|| "nobody".into(), |it| it.to_string());
            Response::text(format!("{client} through {}", req.peer()))
        })
        .get("/idle", idle)
        .get("/tick", tick)
        .get("/panic", |_req, _cx| Sse::every(SECOND, |_stream| -> Next { panic!("as asked") }))
}

fn idle(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let half_a_minute = KeepAlive::Every(Duration::from_secs(30));
    Ok(tagged(request, Sse::new().keep_alive(half_a_minute).compression(compress(request)?)))
}

/// An event at once and then every `ms` milliseconds, padded to about `bytes` bytes.
fn tick(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let interval = Duration::from_millis(number(request, "ms", 1000)?);
    if interval.is_zero() {
        return Err(Response::error(StatusCode::BAD_REQUEST, "ms must be at least 1"));
    }
    let bytes = usize::try_from(number(request, "bytes", 100)?).unwrap_or(usize::MAX);
    let padding = bytes.saturating_sub("data: 1234567890123456789 \n\n".len());
    let padding = PADDING.get(..padding).ok_or_else(|| {
        Response::error(StatusCode::BAD_REQUEST, format!("bytes must be at most {}", PADDING.len()))
    })?;
    let ticks = Sse::every(interval, move |stream: &mut Stream<'_>| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let stamp_ns = u64::try_from(since_1970.as_nanos())?; // 19 digits, until the year 2286
        stream.send(format_args!("{stamp_ns} {padding}"));
        Ok(())
    });
    Ok(tagged(request, ticks.compression(compress(request)?)))
}

#[derive(Clone)]
struct Options {
    port: u16,
    /// Without, one reactor on the main thread.
    workers: Option<usize>,
    drain_window: Duration,
    config: Config,
    listen: ListenOptions,
    scheme: &'static str,
    /// What pages from other origins may do, if there are any.
    origins: Option<(Cors, OriginCheck)>,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            port: from_environment("PORT")?.unwrap_or(8080),
            workers: from_environment("WORKERS")?.filter(|&count| count > 1),
            drain_window: Duration::from_secs(1),
            config: Config::default(),
            listen: ListenOptions::new(),
            scheme: "http",
            origins: None,
        };
        let mut arguments = env::args().skip(1);
        while let Some(flag) = arguments.next() {
            if flag == "--help" {
                print!("{HELP}");
                std::process::exit(0);
            }
            let value =
                arguments.next().ok_or_else(|| format!("{flag} needs a value; see --help"))?;
            let (limits, tcp) = (&mut options.config.limits, &mut options.config.tcp);
            match flag.as_str() {
                "--port" => options.port = value.parse()?,
                "--workers" => options.workers = Some(value.parse()?),
                "--drain-ms" => options.drain_window = Duration::from_millis(value.parse()?),
                "--drain-accept-for-ms" => {
                    options.config.drain_accept_for = Duration::from_millis(value.parse()?);
                }
                "--keep-alive-ms" => {
                    options.config.keep_alive = Some(Duration::from_millis(value.parse()?));
                }
                "--hosts" => options.config.hosts = Hosts::only(value.split(','))?,
                "--origins" => {
                    let origins = || value.split(',');
                    let check = OriginCheck::new().trust(origins())?;
                    options.origins = Some((Cors::with_credentials(origins())?, check));
                }
                "--trusted-proxies" => {
                    options.config.trusted_proxies = TrustedPeers::networks(value.split(','))?;
                }
                "--proxy-protocol" => {
                    let balancers = TrustedPeers::networks(value.split(','))?;
                    options.listen = options.listen.proxy_protocol(balancers);
                }
                #[cfg(feature = "tls")]
                "--tls-pem" => options.serve_https(&value)?,
                "--expected-connections" => {
                    options.config.expected_connections = Some(value.parse()?)
                }
                "--encodings" => options.config.compression.preference = encodings(&value)?,
                "--head-bytes" => limits.head_bytes = value.parse()?,
                "--body-bytes" => limits.body_bytes = value.parse()?,
                "--outbox-bytes" => limits.outbox_bytes = value.parse()?,
                "--linger-timeout-ms" => {
                    limits.linger_timeout = Duration::from_millis(value.parse()?);
                }
                "--head-timeout-ms" => limits.head_timeout = Duration::from_millis(value.parse()?),
                "--body-timeout-ms" => limits.body_timeout = Duration::from_millis(value.parse()?),
                "--first-request-timeout-ms" => {
                    limits.first_request_timeout = Duration::from_millis(value.parse()?);
                }
                "--idle-timeout-ms" => limits.idle_timeout = Duration::from_millis(value.parse()?),
                "--connections" => limits.connections = Some(value.parse()?),
                "--connections-per-ip" => limits.connections_per_ip = Some(value.parse()?),
                "--streams-per-tag" => limits.streams_per_tag = Some(value.parse()?),
                "--tag-overflow" => limits.tag_overflow = tag_overflow(&value)?,
                "--retry-after-ms" => limits.retry_after = Duration::from_millis(value.parse()?),
                "--user-timeout-ms" => tcp.user_timeout = unless_zero(value.parse()?),
                "--tcp-keep-alive-ms" => tcp.keep_alive_idle = unless_zero(value.parse()?),
                "--stall-timeout-ms" => {
                    limits.stall_timeout = Duration::from_millis(value.parse()?);
                }
                _ => return Err(format!("{flag} is unknown; see --help").into()),
            }
        }
        Ok(options)
    }

    /// With a certificate and its key, both in one file.
    #[cfg(feature = "tls")]
    fn serve_https(&mut self, path: &str) -> Result<(), Box<dyn Error>> {
        let config = TlsConfig::builder(Certificate::from_pem_files(path, path)?).build()?;
        self.listen = self.listen.clone().tls(config);
        self.scheme = "https";
        Ok(())
    }
}

fn tag_overflow(value: &str) -> Result<TagOverflow, String> {
    match value {
        "refuse" => Ok(TagOverflow::Refuse),
        "replace-oldest" => Ok(TagOverflow::ReplaceOldest),
        _ => Err(format!("{value} is neither refuse nor replace-oldest")),
    }
}

/// A time that 0 switches off.
fn unless_zero(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// Names of codings, best first; what is not named is not used.
fn encodings(names: &str) -> Result<Vec<Encoding>, String> {
    let known = |name: &str| Encoding::BUILT_IN.iter().find(|known| known.as_str() == name);
    let named = names.split(',').map(|name| {
        known(name).copied().ok_or_else(|| format!("{name} is not an encoding of this build"))
    });
    named.collect()
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Result<Option<T>, String> {
    let Ok(text) = env::var(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name}={text} is not a number in range"))
}

const LOCALHOST: [u8; 4] = [127, 0, 0, 1];
const SECOND: Duration = Duration::from_secs(1);
static PADDING: &str = match std::str::from_utf8(&[b'x'; 1 << 20]) {
    Ok(padding) => padding,
    Err(_) => unreachable!(),
};

const HELP: &str = "\
testbed [--port N] [flags]: a server with one route per feature of starwheel

  PORT=N, --port N       port on 127.0.0.1; 0 is any free port                 [8080]
  WORKERS=N              more than 1: so many workers, one thread each         [1]
  --workers N            the same, and 1 is a worker too                       [one reactor]
  --drain-ms N           window in which streams end after SIGTERM             [1000]
  --drain-accept-for-ms N  part of the window that still accepts connections   [0]
  --keep-alive-ms N      quiet time before a comment                           [15000]
  --hosts NAMES          accepted host names, also patterns (*.a.example)      [all]
  --origins ORIGINS      origins whose pages may use this server, with cookies [none]
  --trusted-proxies NETS networks whose X-Forwarded-For is trusted             [none]
  --proxy-protocol NETS  networks that announce clients by the PROXY protocol  [off]
  --tls-pem FILE         https, with the certificate and key in this file      [http]
  --expected-connections N  streams to reserve memory for at startup           [descriptors]
  --encodings NAMES      content codings, best first                           [zstd,br,gzip,identity]
  --head-bytes N         longest request head                                  [16384]
  --body-bytes N         longest request body                                  [1048576]
  --outbox-bytes N       longest queue of a slow client                        [262144]
  --linger-timeout-ms N  for a client to read the last response and close      [30000]
  --head-timeout-ms N    for a request head to arrive                          [10000]
  --body-timeout-ms N    for a request body to arrive                          [30000]
  --first-request-timeout-ms N  for a new connection to begin a request        [15000]
  --idle-timeout-ms N    for a connection to begin another request             [75000]
  --connections N        concurrent connections                                [no limit]
  --connections-per-ip N concurrent connections of an address or IPv6 network  [no limit]
  --streams-per-tag N    concurrent /idle, /tick and /topic with one ?tag=T    [no limit]
  --tag-overflow POLICY  refuse or replace-oldest: one more than that          [refuse]
  --retry-after-ms N     delay announced to clients beyond these limits        [5000]
  --user-timeout-ms N    for a client to acknowledge data (Linux); 0: off      [20000]
  --tcp-keep-alive-ms N  before a stream without comments is probed; 0: off    [20000]
  --stall-timeout-ms N   for a client to accept some of its queued bytes       [60000]
";

const INDEX: &str = include_str!("index.html");
