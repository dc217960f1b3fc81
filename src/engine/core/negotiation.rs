//! Selects the content coding of a response, and the header lines for it.

use std::borrow::Cow;

use super::Core;
use crate::{
    compress::{Encoding, negotiate},
    engine::api::{Sse, StreamCompression},
    http::{Codable, Request, Response, Version},
};

impl Core {
    /// The coding of a stream: one that the client accepts, in the server's order of preference.
    /// HTTP/1.0 streams, which end with the connection, are not compressed.
    pub(in crate::engine) fn encoding_of(&self, request: &Request, sse: &Sse) -> Encoding {
        if sse.compress == StreamCompression::Off || request.version() == Version::Http10 {
            return Encoding::Identity;
        }
        negotiate(accept_encoding(request).as_deref(), &self.config.compression.preference)
    }

    /// Compresses the body of a response if that saves bytes, the client accepts it and nothing
    /// forbids it. Of an asset, selects the form.
    pub(in crate::engine) fn compress_response(
        &mut self,
        response: Response,
        request: &Request,
    ) -> Response {
        let settings = &self.config.compression;
        let codable = match settings.is_on() {
            true => response.codable(settings.response_bytes_min),
            false => Codable::Never,
        };
        let (response, encoding) = match codable {
            Codable::Never => (response, Encoding::Identity),
            _ => {
                let accepted = accept_encoding(request);
                let encoding = negotiate(accepted.as_deref(), &settings.preference);
                (response.varies_by_coding(), encoding)
            }
        };
        // A part, or a 304 of the handler's own, is not one of the forms.
        if response.has_forms() && codable != Codable::Whole {
            let compress = |body: &[u8]| self.coding.whole_for_all(encoding, body);
            return response.in_form(encoding.as_str(), compress, request);
        }
        match (encoding, codable) {
            (Encoding::Identity, _) => response,
            (_, Codable::Whole) => response.with_the_tag_of(request),
            _ => {
                let mut coded = Vec::new();
                self.coding.whole(encoding, response.body(), &mut coded);
                response.coded(encoding.as_str(), coded)
            }
        }
    }

    /// The header lines for the coding: that the response varies with it, and which one it is.
    pub(in crate::engine) fn coding_lines(&self, encoding: Encoding) -> [&'static [u8]; 2] {
        let vary: &[u8] = match self.config.compression.is_on() {
            true => b"Vary: Accept-Encoding\r\n",
            false => b"",
        };
        [vary, encoding.header_line()]
    }
}

/// The field's value; several lines with the name form one list (RFC 9110 section 5.3). A member
/// that is not text stays malformed and is ignored; the others count.
fn accept_encoding(request: &Request) -> Option<Cow<'_, str>> {
    let lines = request.header_values("accept-encoding").map(String::from_utf8_lossy);
    lines.reduce(|list, line| Cow::Owned(format!("{list},{line}")))
}
