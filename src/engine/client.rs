//! What is kept of a request after its buffers are reused: enough to answer it, and what makes its
//! client reconnect.

use crate::http::{Connection, Method, Request, StreamFraming, Version, media_type};

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    keep_alive: bool,
}

impl RequestLine {
    /// For the response to a request that was not read completely, with the method if it is known.
    pub(super) fn unread(method: Option<Method>) -> Self {
        let method = method.unwrap_or(Method::Get);
        Self { method, version: Version::Http11, keep_alive: false }
    }

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

    /// The same for a client that may send no further request on this connection.
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

/// The client of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester {
    pub(super) request: RequestLine,
    pub(super) reconnects: Reconnects,
}

/// What makes a client reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconnects {
    /// Nothing: a status is enough.
    Never,
    /// Any end of a stream.
    AfterEnd,
    /// A stream that is cut. Datastar does not reconnect after an end.
    AfterCut,
}

impl Requester {
    pub(super) fn of(request: &Request) -> Self {
        // Other methods get a status: a user does not expect a command to run a while later.
        let reconnects = match request.method() == Method::Get && accepts_events(request) {
            false => Reconnects::Never,
            true if request.is_datastar() => Reconnects::AfterCut,
            true => Reconnects::AfterEnd,
        };
        Self { request: RequestLine::of(request), reconnects }
    }

    /// A client whose request was not read completely.
    pub(super) fn unread(method: Option<Method>) -> Self {
        Self { request: RequestLine::unread(method), reconnects: Reconnects::Never }
    }
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
    fn an_event_source_is_recognized_by_its_accept_field() {
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
