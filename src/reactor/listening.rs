//! Listening sockets of a reactor.

use std::{
    io,
    net::{self, SocketAddr, ToSocketAddrs},
};

use mio::Token;

use super::{
    FIRST_LISTENER, ListenOptions, Listener, Reactor, ReusePort, descriptors, listener::Acceptor,
};

#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

impl Reactor {
    /// Listens on a TCP address and returns the actual one: port 0 selects a free port. May be
    /// called for several addresses.
    ///
    /// # Errors
    /// When the address is not available, with the address in the message.
    pub fn listen(&mut self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_with(address, ListenOptions::new())
    }

    /// Like [`listen`](Self::listen), with [`ListenOptions`]: an address shared with other
    /// reactors, or the PROXY protocol.
    ///
    /// # Errors
    /// As [`Reactor::listen`].
    pub fn listen_with(
        &mut self,
        address: impl ToSocketAddrs,
        options: impl Into<ListenOptions>,
    ) -> io::Result<SocketAddr> {
        let options = options.into();
        let listener = bind(address, options.reuse_port)?;
        let bound = listener.local_addr()?;
        self.listen_on_with(listener, options)?;
        Ok(bound)
    }

    /// Listens for HTTPS on a TCP address, and returns the actual one. Clients need TLS 1.3.
    ///
    /// An idle connection takes about 220 bytes more than without TLS. A record of which only a part
    /// has arrived adds its bytes, at most 17 KB, for at most
    /// [`Limits::tls_record_timeout`](crate::Limits::tls_record_timeout). An unfinished handshake takes up to 8 KB, and what the client has sent of it,
    /// at most 64 KiB. The handshake has to be complete within
    /// [`Limits::tls_handshake_timeout`](crate::Limits::tls_handshake_timeout).
    ///
    /// [`Handle::reload_tls`](crate::Handle::reload_tls) replaces `config` while the listener is open.
    /// For other sockets, the PROXY protocol and shared addresses there is [`ListenOptions::tls`].
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context};
    /// use starwheel::{Certificate, TlsConfig};
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// let certificate = Certificate::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// reactor.listen_tls("0.0.0.0:443", TlsConfig::builder(certificate).build()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Reactor::listen`].
    #[cfg(feature = "tls")]
    pub fn listen_tls(
        &mut self,
        address: impl ToSocketAddrs,
        config: TlsConfig,
    ) -> io::Result<SocketAddr> {
        self.listen_with(address, ListenOptions::new().tls(config))
    }

    /// Listens on a TCP address for clients that try http, and redirects them to HTTPS (308): to the
    /// same host and path, on the port of the first listener with TLS. Call it after
    /// [`listen_tls`](Self::listen_tls). Feature `tls`.
    ///
    /// Only `GET` and `HEAD` of `/.well-known/acme-challenge/` and a token reach the handler, so that
    /// an ACME client can prove in your application that the host is yours (http-01, RFC 8555 section
    /// 8.3). Requests for hosts that are not in [`Config::hosts`](crate::Config::hosts) are answered
    /// with 421 as anywhere, and those without a host with 400. The connection is closed after a
    /// redirect.
    ///
    /// If clients see other ports, use [`ListenOptions::redirect_to_https`].
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context, TlsConfig};
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// # fn config() -> TlsConfig { unimplemented!() }
    /// reactor.listen_tls("0.0.0.0:443", config())?;
    /// reactor.redirect_to_https("0.0.0.0:80")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Reactor::listen`], and if there is no TCP listener with TLS.
    #[cfg(feature = "tls")]
    pub fn redirect_to_https(&mut self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let port = self.engine.mailbox().tls_listeners().port()?;
        self.listen_with(address, ListenOptions::new().redirect_to_https(port))
    }

    /// Accepts connections from a socket that was bound elsewhere: TCP or Unix, from systemd or a
    /// parent process.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or registered with the poller.
    pub fn listen_on(&mut self, listener: impl Into<Listener>) -> io::Result<()> {
        self.listen_on_with(listener, ListenOptions::new())
    }

    /// Like [`listen_on`](Self::listen_on), with [`ListenOptions`].
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context};
    /// use starwheel::{ListenOptions, TrustedPeers};
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// // HAProxy on the same machine: `server app unix@/run/app.sock send-proxy-v2`.
    /// let listener = std::os::unix::net::UnixListener::bind("/run/app.sock")?;
    /// let options = ListenOptions::new().proxy_protocol(TrustedPeers::unix_sockets());
    /// reactor.listen_on_with(listener, options)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Reactor::listen_on`].
    pub fn listen_on_with(
        &mut self,
        listener: impl Into<Listener>,
        options: impl Into<ListenOptions>,
    ) -> io::Result<()> {
        descriptors::warn_once_if_few(self.expected_connections);
        let token = Token(FIRST_LISTENER + self.acceptors.len());
        let (options, registry) = (options.into(), self.poll.registry());
        let announcers = options.proxy_protocol;
        #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
        let mut acceptor = Acceptor::new(listener.into(), announcers, &self.tcp, registry, token)?;
        #[cfg(feature = "tls")]
        if let Some(config) = options.tls {
            acceptor.secure(config, self.engine.mailbox().tls_listeners())?;
        }
        #[cfg(feature = "tls")]
        acceptor.redirect_to_https(options.https_port);
        self.acceptors.push(acceptor);
        Ok(())
    }
}

/// The first of the addresses that can be bound.
pub(crate) fn bind(
    address: impl ToSocketAddrs,
    reuse_port: ReusePort,
) -> io::Result<net::TcpListener> {
    let mut refused =
        io::Error::new(io::ErrorKind::InvalidInput, "the name resolves to no address");
    for address in address.to_socket_addrs()? {
        match Acceptor::bind(address, reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                let message = format!("cannot listen on {address}: {error}");
                refused = io::Error::new(error.kind(), message);
            }
        }
    }
    Err(refused)
}
