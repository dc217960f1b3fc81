//! Certificates are renewed while the server runs.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    process,
    sync::mpsc,
    time::{Duration, SystemTime},
};

use rustls::HandshakeKind;
use starwheel::{
    Certificate, ClientCertificates, Context, Reactor, Response, Router, Sse, TlsConfig, TlsError,
    TlsProblem,
};

use crate::{
    Peer,
    client::PATIENCE,
    localhost::{Authority, Issued},
    server::Server,
};

/// The files that an ACME client writes, in a folder that is removed at the end.
struct Files {
    folder: PathBuf,
    writes: u64,
}

impl Files {
    fn new(name: &str, first: &Issued) -> Self {
        let folder = std::env::temp_dir().join(format!("starwheel-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut files = Self { folder, writes: 0 };
        files.write("fullchain.pem", &first.chain);
        files.write("privkey.pem", &first.key);
        files
    }

    /// Writes a file beside the old one, and renames it. Nobody ever sees a part of it.
    fn write(&mut self, name: &str, text: &str) {
        let (new, path) = (self.folder.join("new"), self.folder.join(name));
        fs::write(&new, text).unwrap();
        // File systems may not tell two moments of a test apart.
        self.writes += 1;
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.writes);
        File::options().write(true).open(&new).unwrap().set_modified(written).unwrap();
        fs::rename(&new, path).unwrap();
    }

    fn on_disk(&self) -> OnDisk {
        let path = |name| self.folder.join(name);
        OnDisk { chain: path("fullchain.pem"), key: path("privkey.pem") }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.folder);
    }
}

/// As in the guide.
#[derive(Clone)]
struct OnDisk {
    chain: PathBuf,
    key: PathBuf,
}

impl OnDisk {
    fn written(&self) -> io::Result<[SystemTime; 2]> {
        Ok([fs::metadata(&self.chain)?.modified()?, fs::metadata(&self.key)?.modified()?])
    }

    fn load(&self) -> Result<TlsConfig, TlsError> {
        TlsConfig::builder(Certificate::from_pem_files(&self.chain, &self.key)?).build()
    }

    /// Looks at the files again and again. What came of it goes to `report`.
    fn watch(self, cx: &mut Context<'_>, report: mpsc::Sender<Result<(), TlsProblem>>) {
        let mut loaded = self.written().unwrap();
        cx.every(Duration::from_millis(10), move |cx| {
            let Ok(written) = self.written() else { return };
            if written == loaded {
                return;
            }
            let renewed = self.load().and_then(|config| cx.handle().reload_tls(config));
            if renewed.is_ok() {
                loaded = written;
            }
            let _the_test_may_have_ended = report.send(renewed.map_err(|error| error.problem()));
        });
    }
}

fn routes() -> Router {
    Router::new().get("/", |_req, _cx| Response::text("hello")).get("/ticks", |_req, _cx| {
        let mut count = 0;
        Sse::every(Duration::from_millis(5), move |stream| {
            count += 1;
            stream.send(format_args!("tick {count}."));
        })
    })
}

#[test]
fn a_certificate_that_is_renewed_on_disk_is_served_and_open_streams_go_on() {
    let authority = Authority::new();
    let (old, renewed) = (authority.issue("localhost"), authority.issue("localhost"));
    let mut files = Files::new("renewal", &old);
    let (report, reports) = mpsc::channel();
    let on_disk = files.on_disk();
    let server = Server::start(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = reactor.listen_tls("127.0.0.1:0", on_disk.load().unwrap()).unwrap();
        on_disk.watch(&mut reactor.context(), report);
        (reactor, address)
    });
    let known = authority.client(None);
    let mut streaming = Peer::connect(server.address, &known);
    streaming.get("/ticks");
    streaming.read_until("tick 1.");
    assert_eq!(streaming.certificate(), old.der().as_ref());

    // A watcher may look between the two.
    files.write("fullchain.pem", &renewed.chain);
    assert_eq!(reports.recv_timeout(PATIENCE), Ok(Err(TlsProblem::KeyMismatch)));
    files.write("privkey.pem", &renewed.key);
    while reports.recv_timeout(PATIENCE).expect("a reload") != Ok(()) {}

    let mut newcomer = Peer::connect(server.address, &authority.client(None));
    newcomer.get("/");
    newcomer.read_until("hello");
    assert_eq!(newcomer.certificate(), renewed.der().as_ref());
    assert_eq!(newcomer.kind(), HandshakeKind::Full);
    // One that was here before needs no certificate at all.
    let mut known_client = Peer::connect(server.address, &known);
    known_client.get("/");
    known_client.read_until("hello");
    assert_eq!(known_client.kind(), HandshakeKind::Resumed);
    let seen = streaming.received.matches("tick").count();
    streaming.read_until(&format!("tick {}.", seen + 5));
}

#[test]
fn a_client_of_a_revoked_authority_cannot_resume_after_a_reload() {
    let [authority, old_clients, new_clients] = [(); 3].map(|()| Authority::new());
    let certificate = authority.issue("localhost").certificate();
    let config = move |clients: &Authority| {
        let clients = ClientCertificates::required(&clients.pem).unwrap();
        TlsConfig::builder(certificate.clone()).client_certificates(clients).build().unwrap()
    };
    let first = config(&old_clients);
    let server = Server::start(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = reactor.listen_tls("127.0.0.1:0", first).unwrap();
        (reactor, address)
    });
    let client = authority.client(Some(&old_clients.issue("client")));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut peer = Peer::connect(server.address, &client);
        peer.get("/");
        peer.read_until("hello");
        assert_eq!(peer.kind(), kind);
    }
    server.handle.reload_tls_on(server.address, config(&new_clients)).unwrap();
    let refused = Peer::connect(server.address, &client).stream.read(&mut [0; 100]).unwrap_err();
    assert!(refused.to_string().contains("UnknownCA"), "{refused}");
}
