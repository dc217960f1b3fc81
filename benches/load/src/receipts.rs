//! Who has got what was published: every stream each event, once and in order.

use crate::{Result, clients::Arrival};

/// The books of one run, by the stamps of events. Streams count from 0.
#[derive(Debug)]
pub struct Receipts {
    stamps_ns: Vec<u64>,
    /// How many events each stream has received.
    received: Vec<usize>,
    /// Events still to come, of all streams.
    missing: usize,
    /// The first thing that went wrong.
    fault: Option<String>,
}

impl Receipts {
    pub fn new(streams: usize) -> Self {
        Self { stamps_ns: Vec::new(), received: vec![0; streams], missing: 0, fault: None }
    }

    /// An event with this stamp is on its way to everybody.
    pub fn expect(&mut self, stamp_ns: u64) {
        self.stamps_ns.push(stamp_ns);
        self.missing += self.received.len();
    }

    /// Events still to come, of all streams.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Enters an arrival. True while more is expected.
    pub fn enter(&mut self, arrival: Arrival) -> bool {
        let received = &mut self.received[arrival.stream];
        let expected = self.stamps_ns.get(*received);
        if expected == Some(&arrival.sent_ns) {
            *received += 1;
            self.missing -= 1;
        } else if self.fault.is_none() {
            self.fault = Some(format!(
                "stream {} got event {} where {expected:?} was expected",
                arrival.stream, arrival.sent_ns
            ));
        }
        self.missing > 0 && self.fault.is_none()
    }

    /// Fails unless everybody has received everything, each event once and in order.
    pub fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(fault.clone().into()),
            None if self.missing > 0 => {
                Err(format!("{} events did not arrive", self.missing).into())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(stream: usize, sent_ns: u64) -> Arrival {
        Arrival { stream, sent_ns, arrived_ns: 0 }
    }

    fn two_streams_and_two_events() -> Receipts {
        let mut receipts = Receipts::new(2);
        receipts.expect(11);
        receipts.expect(22);
        receipts
    }

    #[test]
    fn all_is_well_when_each_stream_got_each_event_in_order() {
        let mut receipts = two_streams_and_two_events();
        assert!(receipts.enter(arrival(0, 11)));
        assert!(receipts.enter(arrival(0, 22)));
        assert!(receipts.enter(arrival(1, 11)));
        receipts.check().unwrap_err();
        assert!(!receipts.enter(arrival(1, 22)));
        receipts.check().unwrap();
    }

    #[test]
    fn repeated_swapped_and_unknown_events_are_faults() {
        for wrong in [[11, 11], [22, 11], [11, 33]] {
            let mut receipts = two_streams_and_two_events();
            for stamp in wrong {
                receipts.enter(arrival(0, stamp));
            }
            assert!(receipts.check().unwrap_err().to_string().contains("stream 0"), "{wrong:?}");
        }
    }

    #[test]
    fn an_event_too_many_is_a_fault() {
        let mut receipts = Receipts::new(1);
        receipts.expect(11);
        receipts.enter(arrival(0, 11));
        receipts.enter(arrival(0, 11));
        receipts.check().unwrap_err();
    }
}
