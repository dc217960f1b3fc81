//! What an answer needs to know of its request, when that has been used for another.

use crate::http::{Connection, Method, Request, StreamFraming, Version, media_type};

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) version: Version,
    keep_alive: bool,
}

impl Head {
    /// For an answer to what could not be read.
    pub(super) const UNKNOWN: Self =
        Self { method: Method::Get, version: Version::Http11, keep_alive: false };

    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: request.method(),
            version: request.version(),
            keep_alive: request.keep_alive(),
        }
    }

    pub(super) fn connection(self) -> Connection {
        if self.keep_alive { Connection::KeepAlive } else { Connection::Close }
    }

    /// The same of one that is not to ask again on this connection.
    pub(super) fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    pub(super) fn framing(self) -> StreamFraming {
        match self.version {
            Version::Http11 => StreamFraming::Chunked,
            Version::Http10 => StreamFraming::UntilClose,
        }
    }
}

/// Who is to come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) head: Head,
    pub(super) returns: Returns,
}

/// What makes the client come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returns {
    /// Nothing but itself: it is told by status.
    ByItself,
    /// Any end of a stream.
    BehindAnEnd,
    /// A stream that is cut. Datastar takes an end for the last word.
    BehindACut,
}

impl Asker {
    pub(super) fn of(request: &Request) -> Self {
        // Commands are told by status: nobody expects one to be carried out a while later.
        let returns = match request.method() == Method::Get && accepts_events(request) {
            false => Returns::ByItself,
            true if request.is_datastar() => Returns::BehindACut,
            true => Returns::BehindAnEnd,
        };
        Self { head: Head::of(request), returns }
    }

    /// One whose request was not read to its end.
    pub(super) const UNKNOWN: Self = Self { head: Head::UNKNOWN, returns: Returns::ByItself };
}

fn accepts_events(request: &Request) -> bool {
    request
        .header_list("accept")
        .any(|range| media_type(range).eq_ignore_ascii_case(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_source_is_known_by_what_it_accepts() {
        for (accepted, expected) in [
            ("text/event-stream", true),
            ("text/event-stream, text/html, application/json", true),
            ("text/html, TEXT/Event-Stream ; q=0.5", true),
            ("text/html\r\nAccept: text/event-stream", true),
            ("text/\u{e4}, text/event-stream", true),
            ("text/html, */*", false),
            ("\u{a0}text/event-stream", false),
            ("text/event-streams", false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accepted}\r\n\r\n");
            let request = Request::parse(bytes.as_bytes()).unwrap();
            assert_eq!(accepts_events(&request), expected, "{accepted}");
        }
        assert!(!accepts_events(&Request::get("/")));
    }
}
