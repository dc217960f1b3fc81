//! A network in memory: sockets with finite buffers, edge-triggered events, and faults on demand.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    mem,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{faults::Faults, incoming::Incoming};
use crate::{
    engine::{TcpOptions, Transport, Wake},
    http::Peer,
};

/// All wires of a simulation, shared between it and the sockets that the engine owns.
#[derive(Debug, Clone)]
pub(super) struct Network(Arc<Mutex<Inner>>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) wires: Vec<Wire>,
    /// Wires for which an event is due. Each is listed once.
    events: VecDeque<usize>,
    faults: Faults,
    random: Random,
}

/// One connection, seen from both ends.
#[derive(Debug, Default)]
pub(super) struct Wire {
    to_server: Incoming,
    /// In the kernel's buffers: written by the server, not yet read by the client.
    to_client: Vec<u8>,
    /// What the client has read.
    pub(super) received: Vec<u8>,
    pub(super) stalled: bool,
    client_fin: bool,
    reset: bool,
    pub(super) server_end: Option<ServerEnd>,
    resets_on_close: bool,
    writer_waits: bool,
    readable: bool,
    writable: bool,
    listed: bool,
    closed: bool,
    /// Number of server writes of at least one byte.
    pub(super) writes: u64,
    /// Number of attempts of the server to read.
    pub(super) reads: u64,
}

impl Wire {
    /// The engine has closed its end.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// What a poller finds when it checks, after any edge.
    fn is_readable(&self) -> bool {
        !self.to_server.is_empty() || self.client_fin || self.reset
    }
}

/// How the server's side of a connection ended, as a client sees it.
///
/// ```
/// use starwheel::{Router, testing::{ServerEnd, Simulation}};
/// let mut simulation = Simulation::new(Router::new());
/// let client = simulation.connect();
/// simulation.send(client, b"GET / HTTP/1.0\r\n\r\n");
/// simulation.turn();
/// assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEnd {
    /// An orderly end.
    Fin,
    /// The connection was reset.
    Reset,
}

/// A poller's event.
#[derive(Debug, Clone, Copy)]
pub(super) struct WireEvent {
    pub(super) wire: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// More may follow a read that does not fill its buffer.
    pub(super) read_on: bool,
}

/// The server's end of a connection.
#[derive(Debug)]
pub(super) enum SimulatedSocket {
    Wire {
        network: Network,
        wire: usize,
        /// See [`Incoming::splits_reads`].
        splits_reads: bool,
    },
    /// A client that takes everything and keeps nothing.
    Crowd(Crowd),
}

/// Counts what is sent to clients that keep nothing; all crowds of a simulation share one.
pub(super) type Crowd = Rc<Received>;

/// What all crowds of a simulation have been sent.
#[derive(Debug, Default)]
pub(super) struct Received {
    writes: Cell<u64>,
    bytes: Cell<u64>,
}

impl Received {
    fn take(&self, bytes: usize) -> usize {
        self.writes.set(self.writes.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
        bytes
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            wires: Vec::new(),
            events: VecDeque::new(),
            faults: Faults::default(),
            random: Random(seed),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connect(&self, peer: Peer) -> (usize, SimulatedSocket) {
        let mut inner = self.lock();
        let to_server = match peer {
            Peer::Ip(_) => Incoming::default(),
            Peer::Unix => Incoming::unix(),
        };
        let splits_reads = to_server.splits_reads();
        inner.wires.push(Wire { to_server, ..Wire::default() });
        let wire = inner.wires.len() - 1;
        drop(inner);
        (wire, SimulatedSocket::Wire { network: self.clone(), wire, splits_reads })
    }
}

impl Inner {
    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(super) fn send(&mut self, wire: usize, bytes: &[u8]) {
        self.wires[wire].to_server.send(bytes);
        self.wires[wire].readable = true;
        self.list(wire);
    }

    pub(super) fn send_urgent(&mut self, wire: usize, byte: u8) {
        self.wires[wire].to_server.send_urgent(byte);
        self.wires[wire].readable = true;
        self.list(wire);
    }

    pub(super) fn half_close(&mut self, wire: usize) {
        self.wires[wire].client_fin = true;
        self.wires[wire].readable = true;
        self.list(wire);
    }

    pub(super) fn reset(&mut self, wire: usize) {
        self.wires[wire].reset = true;
        self.wires[wire].readable = true;
        self.wires[wire].writable = true;
        self.list(wire);
    }

    pub(super) fn set_stalled(&mut self, wire: usize, stalled: bool) {
        self.wires[wire].stalled = stalled;
        self.deliver(wire);
    }

    /// The client reads what has arrived, unless it is stalled.
    fn deliver(&mut self, wire: usize) {
        if !self.wires[wire].stalled {
            self.read_some(wire, usize::MAX);
        }
    }

    /// The client reads up to this many bytes.
    pub(super) fn read_some(&mut self, wire: usize, bytes_max: usize) {
        let state = &mut self.wires[wire];
        let count = state.to_client.len().min(bytes_max);
        state.received.extend_from_slice(&state.to_client[..count]);
        state.to_client.drain(..count);
        if count > 0 && state.writer_waits {
            state.writer_waits = false;
            state.writable = true;
            self.list(wire);
        }
    }

    pub(super) fn take_received(&mut self, wire: usize) -> Vec<u8> {
        mem::take(&mut self.wires[wire].received)
    }

    fn list(&mut self, wire: usize) {
        let state = &mut self.wires[wire];
        if !state.listed {
            state.listed = true;
            self.events.push_back(wire);
        }
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The pending events, each once, as an edge-triggered poller would return them.
    pub(super) fn take_events(&mut self) -> Vec<WireEvent> {
        let wires = mem::take(&mut self.events);
        wires.into_iter().map(|wire| self.take_event(wire)).collect()
    }

    fn take_event(&mut self, wire: usize) -> WireEvent {
        // At an edge, epoll reports everything that is true, not only what has just changed; an
        // engine must neither rely on that nor fail because of it.
        let all = self.random.percent(self.faults.spurious_readiness_percent);
        let state = &mut self.wires[wire];
        state.listed = false;
        WireEvent {
            wire,
            readable: mem::take(&mut state.readable) || (all && state.is_readable()),
            writable: mem::take(&mut state.writable) || all,
            read_on: state.client_fin || state.reset || state.to_server.has_priority(),
        }
    }

    fn read(&mut self, wire: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.wires[wire].reads += 1;
        if self.random.percent(self.faults.resets_percent) {
            self.wires[wire].reset = true;
        }
        if self.wires[wire].reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.random.percent(self.faults.interrupts_percent) {
            return Err(ErrorKind::Interrupted.into());
        }
        let state = &mut self.wires[wire];
        if state.to_server.is_empty() {
            return if state.client_fin { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        if self.random.percent(self.faults.would_block_percent) {
            self.wires[wire].readable = true;
            self.list(wire);
            return Err(ErrorKind::WouldBlock.into());
        }
        let available = self.wires[wire].to_server.available(buffer.len());
        let mut count = available;
        if self.random.percent(self.faults.short_reads_percent) {
            count = 1 + self.random.below(available);
            // The rest "arrives" later, with its own event.
            if count < available {
                self.wires[wire].readable = true;
                self.list(wire);
            }
        }
        self.wires[wire].to_server.take(&mut buffer[..count]);
        Ok(count)
    }

    fn write(&mut self, wire: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.random.percent(self.faults.resets_percent) {
            self.wires[wire].reset = true;
        }
        if self.wires[wire].reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.random.percent(self.faults.interrupts_percent) {
            return Err(ErrorKind::Interrupted.into());
        }
        let room = self.faults.socket_buffer_bytes.saturating_sub(self.wires[wire].to_client.len());
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut count = wanted.min(room);
        if self.random.percent(self.faults.short_writes_percent) {
            count = self.random.below(count + 1);
        }
        let refuses = self.random.percent(self.faults.would_block_percent);
        if (refuses || count == 0) && wanted > 0 {
            let state = &mut self.wires[wire];
            // A reading client makes room on its own; a stalled one when it resumes.
            if state.stalled && room == 0 {
                state.writer_waits = true;
            } else {
                state.writable = true;
                self.list(wire);
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        let state = &mut self.wires[wire];
        state.writes += u64::from(count > 0);
        let mut left = count;
        for slice in slices {
            let part = left.min(slice.len());
            state.to_client.extend_from_slice(&slice[..part]);
            left -= part;
        }
        self.deliver(wire);
        Ok(count)
    }
}

impl Transport for SimulatedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Wire { network, wire, .. } => network.lock().read(*wire, buffer),
            // Crowd clients send nothing after their request.
            Self::Crowd(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn splits_reads(&self) -> bool {
        match self {
            Self::Wire { splits_reads, .. } => *splits_reads,
            Self::Crowd(_) => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Wire { network, wire, .. } => network.lock().write(*wire, &[IoSlice::new(bytes)]),
            Self::Crowd(received) => Ok(received.take(bytes.len())),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Wire { network, wire, .. } => network.lock().write(*wire, slices),
            Self::Crowd(received) => {
                Ok(received.take(slices.iter().map(|slice| slice.len()).sum()))
            }
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let Self::Wire { network, wire, .. } = self else { return Ok(()) };
        let mut inner = network.lock();
        let state = &mut inner.wires[*wire];
        state.server_end.get_or_insert(ServerEnd::Fin);
        if state.reset { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    /// No client vanishes here unless the scenario says so.
    fn send_keep_alive_probes(&mut self, _tcp: &TcpOptions) {}

    fn reset_on_close(&mut self) {
        if let Self::Wire { network, wire, .. } = self {
            network.lock().wires[*wire].resets_on_close = true;
        }
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        let Self::Wire { network, wire, .. } = self else { return };
        let mut inner = network.lock();
        let state = &mut inner.wires[*wire];
        state.closed = true;
        let unread = !mem::take(&mut state.to_server).is_empty();
        let reset = state.resets_on_close || state.reset || unread;
        if reset {
            // Also after a FIN: the reset may overtake what the client has not read yet.
            state.server_end = Some(ServerEnd::Reset);
        } else {
            state.server_end.get_or_insert(ServerEnd::Fin);
        }
    }
}

/// A simulation turns when it is asked to.
pub(super) struct NeverAsleep;

impl Wake for NeverAsleep {
    fn wake(&self) -> io::Result<()> {
        Ok(())
    }
}

/// SplitMix64: small, and the same results on every machine for the same seed.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound - 1`; `bound` is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.next() % (most + 1) }
    }

    pub(super) fn percent(&mut self, chance: u8) -> bool {
        chance > 0 && self.below(100) < usize::from(chance)
    }
}
