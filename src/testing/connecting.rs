//! How clients come into a simulation.

use std::net::SocketAddr;

use super::{Client, Simulation};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    engine::{Answer, ConnIndex, Context, Entrance, Opening},
    http::{Peer, Request, TrustedPeers},
};

impl Simulation {
    /// A new client connects.
    pub fn connect(&mut self) -> Client {
        let port = 1024 + (self.connections.len() % 60_000) as u16;
        self.connect_from(Peer::Ip(SocketAddr::from(([192, 0, 2, 1], port))))
    }

    /// A new client connects from this address. It may be reset immediately, see
    /// [`Limits::connections`](crate::Limits::connections).
    ///
    /// ```
    /// use starwheel::{Peer, Response, Router, testing::Simulation};
    /// let router = Router::new().get("/", |req, _cx| Response::text(req.peer().to_string()));
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.connect_from(Peer::Ip("[2001:db8::7]:4711".parse().unwrap()));
    /// simulation.send(client, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).text(), "[2001:db8::7]:4711");
    /// ```
    pub fn connect_from(&mut self, peer: Peer) -> Client {
        self.connect_to(peer, None)
    }

    /// A new connection to a listener with
    /// [`ListenOptions::proxy_protocol`](crate::ListenOptions::proxy_protocol).
    ///
    /// ```
    /// use starwheel::{Peer, Response, Router, TrustedPeers, testing::Simulation};
    /// let router = Router::new().get("/", |req, _cx| Response::text(req.peer().to_string()));
    /// let mut simulation = Simulation::new(router);
    /// let balancers = TrustedPeers::networks(["10.0.0.0/8"])?;
    /// let peer = Peer::Ip("10.0.0.1:4711".parse().unwrap());
    /// let client = simulation.connect_with_proxy_protocol(peer, &balancers);
    /// simulation.send(client, b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 80\r\n");
    /// simulation.send(client, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).text(), "192.0.2.7:4712");
    /// # Ok::<(), starwheel::IpNetworkError>(())
    /// ```
    pub fn connect_with_proxy_protocol(&mut self, peer: Peer, from: &TrustedPeers) -> Client {
        self.connect_to(peer, Some(from))
    }

    /// A new client connects to a listener with TLS. What it [sends](Self::send) and gets
    /// ([`take_received`](Self::take_received)) are the bytes of TLS.
    #[cfg(feature = "tls")]
    pub fn connect_tls(&mut self, config: &TlsConfig) -> Client {
        let port = 1024 + (self.connections.len() % 60_000) as u16;
        let peer = Peer::Ip(SocketAddr::from(([192, 0, 2, 1], port)));
        self.connect_through(&Entrance::secured(config.clone()), peer, None)
    }

    /// The same from a load balancer that sends a PROXY protocol header first, in the clear.
    ///
    /// ```no_run
    /// # use starwheel::{Peer, TlsConfig, TrustedPeers, testing::Simulation};
    /// # fn connect(simulation: &mut Simulation, config: &TlsConfig, balancer: Peer) {
    /// let trusted = TrustedPeers::networks(["10.0.0.0/8"]).expect("a network");
    /// let client = simulation.connect_tls_with_proxy_protocol(config, balancer, &trusted);
    /// simulation.send(client, b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 443\r\n");
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn connect_tls_with_proxy_protocol(
        &mut self,
        config: &TlsConfig,
        peer: Peer,
        from: &TrustedPeers,
    ) -> Client {
        self.connect_through(&Entrance::secured(config.clone()), peer, Some(from))
    }

    fn connect_to(&mut self, peer: Peer, announcers: Option<&TrustedPeers>) -> Client {
        self.connect_through(&Entrance::default(), peer, announcers)
    }

    fn connect_through(
        &mut self,
        entrance: &Entrance,
        peer: Peer,
        announcers: Option<&TrustedPeers>,
    ) -> Client {
        self.tell_time();
        let (wire, socket) = self.network.connect(peer);
        let opening = Opening::of(peer, announcers);
        let accepted = self.engine.accept_through(entrance, socket, peer, opening);
        // A connection that was not accepted has no events: its wire is closed.
        self.connections.push(accepted.map_or(u32::MAX, ConnIndex::token));
        self.methods.push(Vec::new());
        Client(wire)
    }

    /// A connection whose request another server has read is handed over, like
    /// [`Handle::adopt_request`](crate::Handle::adopt_request); `answer` runs in this call.
    ///
    /// ```
    /// use starwheel::{Request, Router, Sse, testing::Simulation};
    /// let mut simulation = Simulation::new(Router::new());
    /// let client = simulation.adopt_request(Request::get("/live"), |_req, _cx| Sse::new().send("hi"));
    /// simulation.turn();
    /// assert_eq!(simulation.events(client)[0].data, "hi");
    /// ```
    pub fn adopt_request<R: Into<Answer>>(
        &mut self,
        request: Request,
        answer: impl FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
    ) -> Client {
        let client = self.connect();
        self.methods[client.0].push(request.method());
        // A token is known unless the connection was reset immediately.
        if let Some(index) = self.engine.find(self.connections[client.0]) {
            let build = Box::new(move |request: &mut Request, cx: &mut Context<'_>| {
                answer(request, cx).into()
            });
            self.engine.answer_adopted(index, request, build);
        }
        client
    }
}
