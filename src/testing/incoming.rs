//! Bytes that a client has sent and the server has not read, and places where a read stops.

use std::collections::VecDeque;

/// The server's receive buffer of one connection.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: VecDeque<u8>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the last urgent byte not read past, and the number of bytes before it.
    Tcp { urgent: Option<(usize, u8)> },
    /// With the lengths of messages that carry a descriptor each: a read never crosses the end of
    /// one.
    Unix { messages: VecDeque<usize> },
}

impl Default for Kind {
    fn default() -> Self {
        Self::Tcp { urgent: None }
    }
}

impl Incoming {
    pub(super) fn unix() -> Self {
        Self { bytes: VecDeque::new(), kind: Kind::Unix { messages: VecDeque::new() } }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        if let Kind::Unix { messages } = &mut self.kind
            && !bytes.is_empty()
        {
            messages.push_back(bytes.len());
        }
    }

    /// An urgent byte is separate from the data, until another one replaces it.
    pub(super) fn send_urgent(&mut self, byte: u8) {
        match &mut self.kind {
            Kind::Tcp { urgent } => {
                if let Some((place, former)) = urgent.take() {
                    self.bytes.insert(place, former);
                }
                *urgent = Some((self.bytes.len(), byte));
            }
            Kind::Unix { .. } => self.send(&[byte]),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True if a poller reports a waiting urgent byte.
    pub(super) fn has_priority(&self) -> bool {
        matches!(self.kind, Kind::Tcp { urgent: Some(_) })
    }

    /// True if reads stop at places that no poller reports.
    pub(super) fn splits_reads(&self) -> bool {
        matches!(self.kind, Kind::Unix { .. })
    }

    /// Number of bytes that a read of `wanted` bytes returns.
    pub(super) fn available(&self, wanted: usize) -> usize {
        let stop = match &self.kind {
            Kind::Tcp { urgent: Some((0, _)) | None } => self.bytes.len(),
            Kind::Tcp { urgent: Some((place, _)) } => *place,
            Kind::Unix { messages } => messages.front().copied().unwrap_or_default(),
        };
        stop.min(wanted)
    }

    /// Reads [available](Self::available) bytes, as many as fit the buffer.
    pub(super) fn take(&mut self, buffer: &mut [u8]) {
        let count = buffer.len();
        match &mut self.kind {
            Kind::Tcp { urgent } => {
                *urgent = urgent
                    .filter(|(place, _)| *place > 0)
                    .map(|(place, byte)| (place - count, byte));
            }
            Kind::Unix { messages } => {
                if let Some(front) = messages.front_mut() {
                    *front -= count;
                }
                while messages.front() == Some(&0) {
                    messages.pop_front();
                }
            }
        }
        let (front, back) = self.bytes.as_slices();
        let (to_front, to_back) = buffer.split_at_mut(front.len().min(count));
        to_front.copy_from_slice(&front[..to_front.len()]);
        to_back.copy_from_slice(&back[..to_back.len()]);
        self.bytes.drain(..count);
    }
}
