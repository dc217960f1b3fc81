//! [`Link`]: the thread that keeps the connections.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io, mem,
    net::ToSocketAddrs,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use super::{
    Codec, Down, GRACE, Membership,
    address::{Address, Endpoint, Security, Servers},
    handshake::Login,
    pair::{Pair, Wanted},
    reconnecting::Backoff,
    route::{Hop, Place, Route},
    sentinel::Query,
    socket::Socket,
    tls::TlsClient,
    wake::Wake,
};

/// Where Redis is, and how this process appears there.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    /// As `CLIENT LIST` shows it; no spaces.
    pub(crate) client_name: String,
    /// Certificates in PEM that `rediss://` trusts, instead of those of Mozilla.
    pub(crate) tls_roots: Option<Vec<u8>>,
    /// The name in the server's certificate, if it is not the host of the address.
    pub(crate) tls_name: Option<String>,
}

/// The connections of one member, on a thread of their own.
///
/// The thread waits for its sockets, and never blocks except while a name is looked up.
pub(crate) struct Link {
    poll: Poll,
    wake: Wake,
    route: Route,
    login: Login,
    /// Of the master, for Sentinels.
    master: String,
    tls: Option<TlsClient>,
    codec: Box<dyn Codec>,
    backoff: Backoff,
    phase: Phase,
    last_token: usize,
    buffer: Box<[u8]>,
}

enum Phase {
    /// For the next attempt.
    Waiting {
        until: Instant,
    },
    Asking {
        sentinel: usize,
        query: Box<Query>,
        socket: Socket,
    },
    Joined {
        pair: Box<Pair>,
        writer: Socket,
        reader: Socket,
    },
}

/// What the thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Sleep until something happens.
    Sleep,
    /// There is more to read.
    GoOn,
}

impl Link {
    /// # Errors
    /// When the system provides no poller, or with `InvalidInput` for settings of TLS.
    pub(crate) fn new(settings: Settings, codec: Box<dyn Codec>) -> io::Result<Self> {
        let Settings { address, client_name, tls_roots, tls_name } = settings;
        let tls = match address.security {
            Security::Plain => None,
            Security::Tls => {
                let tls = TlsClient::new(tls_roots.as_deref(), tls_name.as_deref());
                Some(tls.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?)
            }
        };
        let poll = Poll::new()?;
        let wake = Wake::new(poll.registry(), WAKER)?;
        let master = match &address.servers {
            Servers::Named { master, .. } => master.clone(),
            Servers::One(_) | Servers::Unix(_) => String::new(),
        };
        Ok(Self {
            poll,
            wake,
            login: Login::of(&address, &client_name),
            route: Route::new(address, look_up),
            master,
            tls,
            codec,
            backoff: Backoff::default(),
            phase: Phase::Waiting { until: Instant::now() },
            last_token: WAKER.0,
            buffer: vec![0; READ_BUFFER_BYTES].into(),
        })
    }

    /// What the member needs to wake the thread.
    pub(crate) fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Starts the thread, which ends after [`Membership::is_over`].
    pub(crate) fn start(self, member: Arc<dyn Membership>) -> io::Result<JoinHandle<()>> {
        let name = "starwheel backplane".to_owned();
        thread::Builder::new().name(name).spawn(move || self.run(&*member))
    }

    fn run(mut self, member: &dyn Membership) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut over_at = None;
        loop {
            self.wake.count_turn();
            let now = Instant::now();
            let mut wanted = Wanted::All;
            if member.is_over() {
                let end = *over_at.get_or_insert(now + GRACE);
                if member.is_drained() || end <= now {
                    return;
                }
                wanted = Wanted::NoReads;
            }
            let next = self.turn(member, wanted, now);
            let timeout = match next {
                Next::GoOn => Some(Duration::ZERO),
                Next::Sleep => self.timeout(member, over_at, now),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    log::error!("the poller of the backplane fails, and its thread ends: {error}");
                    return member.disconnected(Down::Unreachable(error.to_string()));
                }
                _ => self.wake.stay_awake(),
            }
            self.note(&events);
        }
    }

    fn timeout(
        &mut self,
        member: &dyn Membership,
        over_at: Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        let of_member = self.is_connected().then(|| member.next_deadline()).flatten();
        let deadline = match &mut self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Asking { query, .. } => query.exchange().deadline(),
            Phase::Joined { pair, .. } => pair.deadline(),
        };
        let deadlines = [deadline, over_at].into_iter().flatten();
        let timeouts = deadlines.map(|deadline| deadline.saturating_duration_since(now));
        timeouts.chain(of_member).min().map(|timeout| timeout.max(SHORTEST_SLEEP))
    }

    fn note(&mut self, events: &Events) {
        for event in events {
            match &mut self.phase {
                Phase::Waiting { .. } => {}
                Phase::Asking { socket, .. } => socket.note(event),
                Phase::Joined { writer, reader, .. } => {
                    writer.note(event);
                    reader.note(event);
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        matches!(&self.phase, Phase::Joined { pair, .. } if pair.is_connected())
    }

    fn turn(&mut self, member: &dyn Membership, wanted: Wanted, now: Instant) -> Next {
        match &self.phase {
            Phase::Waiting { until } if *until > now => Next::Sleep,
            Phase::Waiting { .. } => {
                self.route.restart();
                self.take_next_hop(member)
            }
            Phase::Asking { .. } => self.ask(member, now),
            Phase::Joined { .. } => match self.exchange(member, wanted, now) {
                Ok(next) => next,
                Err(down) => self.after_loss(down, member, now),
            },
        }
    }

    /// Both connections: reads, hands replies out, takes requests, writes.
    fn exchange(
        &mut self,
        member: &dyn Membership,
        wanted: Wanted,
        now: Instant,
    ) -> Result<Next, Down> {
        let Phase::Joined { pair, writer, reader } = &mut self.phase else {
            return Ok(Next::Sleep);
        };
        let ends = [
            writer.receive(pair.writer(), &mut self.buffer, now),
            reader.receive(pair.reader(), &mut self.buffer, now),
        ];
        let was_connected = pair.is_connected();
        // What the server has said comes before the end of its connection, and may be the reason.
        pair.take_replies(member, &*self.codec, now)?;
        ends.into_iter().collect::<Result<(), Down>>()?;
        pair.check_deadline(now)?;
        if pair.is_connected() && !was_connected {
            self.backoff.note_connected(now);
        }
        writer.send(pair.writer(), now)?;
        reader.send(pair.reader(), now)?;
        while pair.is_connected() {
            // Before the last look at the member, see `Wake`.
            self.wake.fall_asleep();
            if !pair.pull(member, &*self.codec, wanted, now) {
                break;
            }
            self.wake.stay_awake();
            writer.send(pair.writer(), now)?;
            reader.send(pair.reader(), now)?;
        }
        if pair.is_full() {
            // The server wakes the thread, and publishers need not.
            self.wake.stay_awake();
        }
        match writer.is_readable() || reader.is_readable() {
            true => Ok(Next::GoOn),
            false => Ok(Next::Sleep),
        }
    }

    /// The connection to a Sentinel.
    fn ask(&mut self, member: &dyn Membership, now: Instant) -> Next {
        let Phase::Asking { sentinel, query, socket } = &mut self.phase else {
            return Next::Sleep;
        };
        let sentinel = *sentinel;
        let end = socket.receive(query.exchange(), &mut self.buffer, now);
        let answer = query.answer(now).and_then(|answer| {
            let has_answer = answer.is_some();
            end.and_then(|()| query.exchange().check_deadline(now))
                .and_then(|()| socket.send(query.exchange(), now))
                .or_else(|why| if has_answer { Ok(()) } else { Err(why) })
                .map(|()| answer)
        });
        match answer {
            Ok(None) if socket.is_readable() => Next::GoOn,
            Ok(None) => Next::Sleep,
            Ok(Some(master)) => {
                self.route.found_master(sentinel, master);
                self.take_next_hop(member)
            }
            Err(why) => {
                self.route.note_silent_sentinel(&why);
                self.take_next_hop(member)
            }
        }
    }

    fn after_loss(&mut self, down: Down, member: &dyn Membership, now: Instant) -> Next {
        let waiting = Phase::Waiting { until: now };
        let Phase::Joined { writer, reader, .. } = mem::replace(&mut self.phase, waiting) else {
            return Next::Sleep;
        };
        let place = writer.place();
        let down = match down {
            Down::Silent(limit) if !(writer.is_connected() && reader.is_connected()) => {
                Down::Unreachable(format!("{place}: no answer for {limit:?}"))
            }
            down => down,
        };
        match down {
            // The name may have other addresses.
            Down::Unreachable(_) => {
                self.route.note_failure(down);
                self.take_next_hop(member)
            }
            Down::Moved(endpoint) if self.route.follow(endpoint.clone(), place) => {
                member.disconnected(Down::Moved(endpoint));
                self.take_next_hop(member)
            }
            down => self.wait(down, member, now),
        }
    }

    /// Opens a connection to the next address that can be tried.
    fn take_next_hop(&mut self, member: &dyn Membership) -> Next {
        loop {
            let hop = self.route.next();
            // Looking up a name may have taken long.
            let now = Instant::now();
            let opened = match hop {
                Ok(Hop::Ask(sentinel, place)) => self.open(&place).map(|socket| {
                    let query = Box::new(Query::new(&self.master, &self.login, now));
                    Phase::Asking { sentinel, query, socket }
                }),
                Ok(Hop::Join(place)) => self.join(&place, now),
                Err(why) => return self.wait(why, member, now),
            };
            match opened {
                Ok(phase) => {
                    self.phase = phase;
                    return Next::Sleep;
                }
                Err(why) => self.route.note_failure(why),
            }
        }
    }

    fn join(&mut self, place: &Place, now: Instant) -> Result<Phase, Down> {
        let (writer, reader) = (self.open(place)?, self.open(place)?);
        let pair = Box::new(Pair::new(&self.login, self.codec.script(), now));
        Ok(Phase::Joined { pair, writer, reader })
    }

    fn open(&mut self, place: &Place) -> Result<Socket, Down> {
        self.last_token += 1;
        let token = Token(self.last_token);
        Socket::open(place, self.tls.as_ref(), self.poll.registry(), token)
    }

    fn wait(&mut self, why: Down, member: &dyn Membership, now: Instant) -> Next {
        if let Down::NotMaster(_) = why {
            self.route.doubt_sentinel();
        }
        let random = RandomState::new().hash_one(self.last_token);
        let delay = self.backoff.next_delay(now, random);
        self.phase = Phase::Waiting { until: now + delay };
        member.disconnected(why);
        Next::Sleep
    }
}

fn look_up(endpoint: &Endpoint) -> io::Result<Vec<std::net::SocketAddr>> {
    (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map(Iterator::collect)
}

const WAKER: Token = Token(0);
/// Three sockets and the waker at most.
const EVENTS_PER_TURN: usize = 16;
const READ_BUFFER_BYTES: usize = 64 << 10;
/// A deadline that does not move must not keep the thread busy.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
