//! What an answer needs to know of its request, when that has been used for another.

use crate::http::{Connection, Method, Request, StreamFraming, Version};

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Head {
    pub(in crate::engine) method: Method,
    pub(in crate::engine) version: Version,
    keep_alive: bool,
}

impl Head {
    /// For an answer to what could not be read.
    pub(in crate::engine) const UNKNOWN: Self =
        Self { method: Method::Get, version: Version::Http11, keep_alive: false };

    pub(in crate::engine) fn of(request: &Request) -> Self {
        Self {
            method: request.method(),
            version: request.version(),
            keep_alive: request.keep_alive(),
        }
    }

    pub(in crate::engine) fn connection(self) -> Connection {
        if self.keep_alive { Connection::KeepAlive } else { Connection::Close }
    }

    /// The same of one that is not to ask again on this connection.
    pub(in crate::engine) fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    pub(in crate::engine) fn framing(self) -> StreamFraming {
        match self.version {
            Version::Http11 => StreamFraming::Chunked,
            Version::Http10 => StreamFraming::UntilClose,
        }
    }
}

/// Who is to come back.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Asker {
    pub(in crate::engine) head: Head,
    pub(in crate::engine) returns: Returns,
}

/// What makes the client come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Returns {
    /// Nothing but itself: it is told by status.
    ByItself,
    /// Any end of a stream.
    BehindAnEnd,
    /// A stream that is cut. Datastar takes an end for the last word.
    BehindACut,
}

impl Asker {
    pub(in crate::engine) fn of(request: &Request) -> Self {
        // Commands are told by status: nobody expects one to be carried out a while later.
        let returns = match request.method() == Method::Get && accepts_events(request) {
            false => Returns::ByItself,
            true if request.is_datastar() => Returns::BehindACut,
            true => Returns::BehindAnEnd,
        };
        Self { head: Head::of(request), returns }
    }

    /// One whose request was not read to its end.
    pub(in crate::engine) const UNKNOWN: Self =
        Self { head: Head::UNKNOWN, returns: Returns::ByItself };
}

fn accepts_events(request: &Request) -> bool {
    request.header("accept").is_some_and(|accepted| {
        accepted.split(',').any(|range| {
            let media_type = range.split_once(';').map_or(range, |(media_type, _)| media_type);
            media_type.trim().eq_ignore_ascii_case("text/event-stream")
        })
    })
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
            ("text/html, */*", false),
            ("text/event-streams", false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accepted}\r\n\r\n");
            let request = Request::parse(bytes.as_bytes()).unwrap();
            assert_eq!(accepts_events(&request), expected, "{accepted}");
        }
        assert!(!accepts_events(&Request::get("/")));
    }
}
