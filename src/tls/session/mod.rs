//! An established connection: records in both directions (RFC 8446 sections 4.6.3, 5, 6).
//!
//! It knows no socket. Callers pass a function that reads or writes once, and the session learns
//! from its result what happened. So there is no state in which sealed bytes may be forgotten,
//! sent twice, or sent in another order.
//!
//! ```text
//!  Open ── close ─────► Closed (close_notify is queued; nothing more is sealed)
//!   │ └─── fault ─────► Closed (the alert is queued)
//!   └─ error of write ► Lost   (nothing more leaves)
//! ```

#[cfg(test)]
mod probe;
mod receive;
mod send;

use std::fmt;

use super::{
    alert::{Alert, Fault},
    keys::{Keys, Secret, Suite},
    record::{self, ContentType},
};
pub(crate) use receive::{ReceiveError, Received};
#[cfg(test)]
pub(super) use send::RECORDS_PER_KEY;

/// Keys, counters and states of one connection. 168 bytes: a connection has it in one box.
///
/// The receiving key is not kept. It is derived once for each read that brings records, because
/// streams send much more than they receive.
pub(crate) struct Session {
    sending: Secret,
    sending_keys: Keys,
    receiving: Secret,
    /// Records sealed under the present key of which at least one byte has left or is queued.
    sent_records: u32,
    /// Records opened under the present key.
    received_records: u32,
    /// What is rarely there. `None` while all of it is empty.
    held: Option<Box<Held>>,
    suite: Suite,
    input: Input,
    output: Output,
    answer: Answer,
    withheld: Withheld,
    /// Records in a row that carried no data.
    quiet_records: u8,
    /// Bytes of a KeyUpdate that have come in earlier records. They are all known: its header.
    key_update_bytes: u8,
    /// Keys replaced in both directions, for figures. It wraps.
    key_updates: u16,
}

/// Bytes between two calls.
#[derive(Default)]
struct Held {
    /// Sealed and to be sent first: the rest of a record, key updates, alerts.
    unsent: Vec<u8>,
    /// Received: an incomplete record, or what has come with the handshake.
    unread: Vec<u8>,
    /// Until when the caller waits for the rest of the record.
    unread_until: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// By `close_notify`. Further bytes are ignored (section 6.1).
    Closed,
    Failed(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Output {
    Open,
    /// An alert is the last record. What is queued may still leave.
    Closed,
    /// Writing failed: nobody knows what has left.
    Lost,
}

/// Whether the peer waits for a key update (section 4.6.3). Many requests get one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    Due,
}

/// Data that was sealed and not yet reported as taken; see [`Session::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withheld {
    None,
    /// The caller offers it again.
    LastByte,
}

/// What a handshake ends with.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) suite: Suite,
    pub(super) sending: Secret,
    pub(super) receiving: Secret,
    /// Records, such as tickets, that the handshake has sealed with the key for data.
    pub(super) sent_records: u32,
    /// Their bytes, and others of the handshake, that have not been sent.
    pub(super) unsent: Vec<u8>,
    /// Bytes that were received after the handshake.
    pub(super) unread: Vec<u8>,
}

impl Session {
    pub(super) fn new(agreed: Agreed) -> Self {
        let Agreed { suite, sending, receiving, sent_records, unsent, unread } = agreed;
        let mut session = Self {
            sending_keys: sending.keys(suite),
            sending,
            receiving,
            sent_records,
            received_records: 0,
            held: None,
            suite,
            input: Input::Open,
            output: Output::Open,
            answer: Answer::None,
            withheld: Withheld::None,
            quiet_records: 0,
            key_update_bytes: 0,
            key_updates: 0,
        };
        session.hold(|held| *held = Held { unsent, unread, unread_until: None });
        session
    }

    /// Queues a `close_notify`: the last record. Data is still received. Nothing happens if an alert
    /// has been sent already.
    pub(crate) fn close(&mut self) {
        self.queue_alert(Alert::CLOSE_NOTIFY);
    }

    /// Whether an alert is our last record, so that our FIN follows it.
    pub(crate) fn is_closed(&self) -> bool {
        self.output == Output::Closed
    }

    /// Whether there are sealed bytes that must leave before anything else.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent_bytes() > 0 && self.output != Output::Lost
    }

    /// Bytes of sealed records that are kept: at most one record, and some alerts.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.unsent.len())
    }

    /// Bytes that were received and could not be opened yet.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.unread.len())
    }

    /// Until when the caller waits for the rest of a record, which it has
    /// [said](Self::expect_record_by).
    pub(crate) fn record_expected_by(&self) -> Option<u64> {
        self.held.as_ref().and_then(|held| held.unread_until)
    }

    /// Notes until when the caller waits for the rest of the incomplete record. It is forgotten with
    /// the record.
    pub(crate) fn expect_record_by(&mut self, until: u64) {
        self.hold(|held| held.unread_until = Some(until));
    }

    /// A value that changes with each record that is opened.
    pub(crate) fn opened_records(&self) -> (u32, u16) {
        (self.received_records, self.key_updates)
    }

    /// Keys replaced in both directions. It wraps.
    pub(crate) fn key_updates(&self) -> u16 {
        self.key_updates
    }

    /// Gives up receiving. What was kept of a record is freed, and an alert may be
    /// [queued](Self::has_unsent).
    pub(crate) fn refuse(&mut self, fault: Fault) {
        self.hold(|held| (held.unread, held.unread_until) = (Vec::new(), None));
        self.fail(fault);
    }

    /// Whether [`receive`](Self::receive) has something to do without a report of the poller.
    pub(crate) fn has_unread_record(&self) -> bool {
        let is_complete = |held: &Held| match record::length_bytes(&held.unread) {
            Ok(length_bytes) => length_bytes.is_some_and(|bytes| bytes <= held.unread.len()),
            Err(_) => true,
        };
        self.held.as_deref().is_some_and(is_complete)
    }

    /// Replaces our key and says so to the peer. It is done by itself before a key is worn.
    fn update_sending_key(&mut self) {
        // `update_not_requested`: the peer cares for its own keys.
        self.queue(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0]);
        self.sending.update(self.suite);
        self.sending_keys = self.sending.keys(self.suite);
        self.sent_records = 0;
        self.answer = Answer::None;
        self.key_updates = self.key_updates.wrapping_add(1);
    }

    fn fail(&mut self, fault: Fault) {
        self.input = Input::Failed(fault);
        match (fault, fault.alert()) {
            (_, Some(alert)) => self.queue_alert(alert),
            // The client may still read.
            (Fault::Cut, None) => {}
            (_, None) => self.output = self.output.max(Output::Closed),
        }
    }

    fn queue_alert(&mut self, alert: Alert) {
        if self.output == Output::Open {
            self.queue(ContentType::Alert, &alert.message());
            self.output = Output::Closed;
        }
    }

    /// Seals a record that certainly leaves next, or never: its number is used.
    fn queue(&mut self, content_type: ContentType, content: &[u8]) {
        let cipher = self.sending_keys.cipher(self.suite);
        let number = u64::from(self.sent_records);
        self.sent_records += 1;
        self.hold(|held| {
            let push = |out: &mut Vec<u8>| out.extend_from_slice(content);
            record::seal(&cipher, number, content_type, push, &mut held.unsent);
        });
    }

    /// Changes the bytes that are held, and frees their place if none are left.
    fn hold<R>(&mut self, change: impl FnOnce(&mut Held) -> R) -> R {
        let held = self.held.get_or_insert_default();
        let result = change(held);
        if held.unsent.is_empty() && held.unread.is_empty() {
            self.held = None;
        }
        result
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("suite", &self.suite)
            .field("input", &self.input)
            .field("output", &self.output)
            .field("unsent_bytes", &self.unsent_bytes())
            .field("unread_bytes", &self.unread_bytes())
            .finish_non_exhaustive()
    }
}

/// The type of a handshake message (section 4.6.3).
const KEY_UPDATE: u8 = 24;
