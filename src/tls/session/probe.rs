//! What tests do to a session: mostly what only a client does.

use super::{Answer, Keys, Secret, Session};
use crate::tls::record::ContentType;

impl Session {
    /// Seals any message.
    pub(in crate::tls) fn say(&mut self, content_type: ContentType, content: &[u8]) {
        self.queue(content_type, content);
    }

    pub(in crate::tls) fn change_key(&mut self) {
        self.update_sending_key();
    }

    /// `update_requested`.
    pub(in crate::tls) fn change_key_and_ask_for_another(&mut self) {
        self.queue(ContentType::Handshake, &[24, 0, 0, 1, 1]);
        self.use_next_key();
    }

    /// As after a KeyUpdate, which the caller has sent.
    pub(in crate::tls) fn use_next_key(&mut self) {
        self.sending.update(self.suite);
        self.sending_keys = self.sending.keys(self.suite);
        self.sent_records = 0;
        self.answer = Answer::None;
    }

    pub(in crate::tls) fn count_from(&mut self, sent_records: u32, received_records: u32) {
        (self.sent_records, self.received_records) = (sent_records, received_records);
    }

    pub(in crate::tls) fn sent_records(&self) -> u32 {
        self.sent_records
    }

    pub(in crate::tls) fn holds_bytes(&self) -> bool {
        self.held.is_some()
    }

    pub(in crate::tls) fn secrets(&self) -> (&Secret, &Secret, &Keys) {
        (&self.sending, &self.receiving, &self.sending_keys)
    }
}
