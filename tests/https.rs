//! HTTPS at the edge: certificates that are renewed, what requests know of TLS, listeners with
//! options, the way from http to https. What engine and records do under TLS is in `tls.rs`.

#[path = "https/announced.rs"]
mod announced;
#[path = "support/client.rs"]
mod client;
#[path = "https/listeners.rs"]
mod listeners;
#[path = "support/https.rs"]
mod localhost;
#[path = "https/redirect.rs"]
mod redirect;
#[path = "https/renewal.rs"]
mod renewal;
#[path = "https/requests.rs"]
mod requests;
#[path = "https/secrets.rs"]
mod secrets;
#[path = "support/server.rs"]
mod server;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

/// A client of another make (rustls) on a real socket.
struct Peer {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: String,
}

impl Peer {
    fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(client::PATIENCE)).unwrap();
        let stream = StreamOwned::new(localhost::session(config), socket);
        Self { stream, received: String::new() }
    }

    fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).unwrap();
    }

    /// Reads until this text has arrived.
    fn read_until(&mut self, text: &str) -> &str {
        let mut bytes = [0; 1000];
        while !self.received.contains(text) {
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the end comes first: {}", self.received);
            self.received.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        &self.received
    }

    fn kind(&self) -> HandshakeKind {
        self.stream.conn.handshake_kind().expect("it is complete")
    }

    /// The certificate of the server.
    fn certificate(&self) -> &[u8] {
        self.stream.conn.peer_certificates().expect("it is complete")[0].as_ref()
    }
}
