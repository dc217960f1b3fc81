//! How a connection begins: with a request, or with a PROXY protocol header that says whose it is.

use super::{Engine, Transport};
use crate::{
    conn::{Announcer, Phase},
    http::{Peer, Refusal, TrustedPeers},
    proxy_protocol::{Fault, HeaderReader},
};

/// What the first bytes of a connection have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Request,
    /// A PROXY protocol header; then requests of the client that it announces.
    ProxyHeader,
    /// The same, but the peer is not trusted to send one: whatever comes is refused.
    UntrustedProxyHeader,
}

impl Opening {
    /// That of a connection from `peer` to a listener on which `announcers`, if there are any, announce
    /// their clients.
    pub(crate) fn of(peer: Peer, announcers: Option<&TrustedPeers>) -> Self {
        match announcers {
            None => Self::Request,
            Some(trusted) if trusted.include(peer) => Self::ProxyHeader,
            Some(_) => Self::UntrustedProxyHeader,
        }
    }

    pub(super) fn phase(self, now: u64) -> Phase {
        let announcer = match self {
            Self::Request => return Phase::reading(now),
            Self::ProxyHeader => Announcer::Trusted(HeaderReader::default()),
            Self::UntrustedProxyHeader => Announcer::Untrusted,
        };
        Phase::ProxyHeader { announcer, since: now }
    }
}

impl<T: Transport> Engine<T> {
    /// Takes the PROXY protocol header of a connection that begins with one from the first `count` bytes
    /// of the read buffer. `Some` when it is complete: requests follow after so many bytes.
    pub(super) fn take_proxy_header(&mut self, index: u32, count: usize) -> Option<usize> {
        let phase = &mut self.core.conn(index)?.phase;
        let Phase::ProxyHeader { announcer, since } = phase else { return None };
        let mut input = &self.read_buffer[..count];
        if input.is_empty() {
            return None;
        }
        let since = *since;
        let refusal = match announcer {
            Announcer::Untrusted => Refusal::PROXY_UNTRUSTED,
            Announcer::Trusted(reader) => match reader.advance(&mut input) {
                Ok(source) => {
                    let taken = count - input.len();
                    self.core.announce(index, source?, since);
                    return Some(taken);
                }
                Err(Fault::Missing) => Refusal::PROXY_MISSING,
                Err(Fault::Malformed) => Refusal::PROXY_MALFORMED,
            },
        };
        self.refuse(index, refusal);
        None
    }
}
