//! From http to https: requests of a listener that only redirects.

use crate::{
    engine::{Engine, Transport, client::RequestLine, keys::ConnIndex},
    http::{Refusal, Response, StatusCode},
};

impl<T: Transport> Engine<T> {
    /// Answers the request that has been read if its listener redirects it. The host has been checked.
    pub(super) fn redirect_to_https(&mut self, index: ConnIndex, line: RequestLine) -> bool {
        let Some(port) = self.https_ports.get(&index) else { return false };
        if self.request.is_acme_challenge() {
            return false;
        }
        // Nothing else is expected on this connection.
        let line = line.closing();
        match self.request.https_location(*port) {
            Some(location) => {
                let response =
                    Response::redirect(location).with_status(StatusCode::PERMANENT_REDIRECT);
                self.core.answer(index, response, line);
            }
            None => self.core.refuse_as(index, Refusal::HOST_MISSING, line),
        }
        true
    }
}
