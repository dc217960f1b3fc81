//! Entity tags and lists of them (RFC 9110, section 8.8.3).

use super::Request;

impl Request {
    /// Whether `If-None-Match` contains this entity tag, or is `*`. The client then already has the
    /// response; answer 304. Write `tag` as in `ETag`, with its quotes.
    ///
    /// Weak and strong tags are treated alike (RFC 9110 section 13.1.2). Comparing the text of the
    /// field is not enough: clients send lists, and the tag of a compressed response is made weak
    /// (see [`Response`](crate::Response)). Allocates nothing.
    ///
    /// ```
    /// use starwheel::{Request, Response, Router, StatusCode};
    /// const VERSION: &str = "\"v7\"";
    /// let router = Router::new().get("/", |req: &Request, _cx| {
    ///     let response = match req.if_none_match(VERSION) {
    ///         true => Response::new(StatusCode::NOT_MODIFIED),
    ///         false => Response::html("<h1>Hello</h1>"),
    ///     };
    ///     response.with_header("ETag", VERSION)
    /// });
    /// # let _ = router;
    /// # let known = |value| {
    /// #     let request = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {value}\r\n\r\n");
    /// #     Request::parse(request.as_bytes()).unwrap().if_none_match(VERSION)
    /// # };
    /// # assert!(known("\"v6\", W/\"v7\"") && known("*") && !known("\"v8\"") && !known("v7"));
    /// ```
    #[must_use]
    pub fn if_none_match(&self, tag: &str) -> bool {
        let tag = EntityTag::parse(tag);
        self.none_matches().any(|list| {
            list == b"*" || tag.is_some_and(|tag| tags(list).any(|it| it.opaque == tag.opaque))
        })
    }

    /// Whether the client has sent exactly this tag, as weak or strong as it is.
    pub(super) fn names_exactly(&self, tag: EntityTag<'_>) -> bool {
        self.none_matches().any(|list| tags(list).any(|it| it == tag))
    }

    fn none_matches(&self) -> impl Iterator<Item = &[u8]> {
        self.header_values("if-none-match")
    }
}

/// A tag as written in `ETag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntityTag<'a> {
    pub(super) is_weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// `None` if it is malformed.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.as_bytes();
        take_tag(&mut rest).filter(|_| rest.is_empty())
    }

    pub(super) fn weakened(self) -> Self {
        Self { is_weak: true, ..self }
    }
}

/// The tags of a list, up to the first that is malformed. A tag may contain commas.
fn tags(mut list: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        take_tag(&mut list)
    })
}

/// `[ %s"W/" ] DQUOTE *etagc DQUOTE`
fn take_tag<'a>(list: &mut &'a [u8]) -> Option<EntityTag<'a>> {
    let weak = list.strip_prefix(b"W/");
    let quoted = weak.unwrap_or(list);
    let inside = quoted.strip_prefix(b"\"")?;
    let length = memchr::memchr(b'"', inside)?;
    let (opaque, rest) = quoted.split_at(length + 2);
    *list = rest;
    Some(EntityTag { is_weak: weak.is_some(), opaque })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[&str]) -> Request {
        let lines: String =
            fields.iter().map(|field| format!("If-None-Match: {field}\r\n")).collect();
        Request::parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn tags_are_compared_weakly_and_found_in_lists() {
        for (fields, expected) in [
            (&["\"a\""][..], true),
            (&["W/\"a\""], true),
            (&["\"b\",W/\"a\""], true),
            (&["\"b\" ,\t, \"a\" "], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"x,\\\", \"a\""], true),
            (&["\"b, a\", \"c\""], false),
            (&["\"A\""], false),
            (&["w/\"a\""], false),
            (&["a"], false),
            (&["\"a"], false),
            (&[], false),
        ] {
            let request = request(fields);
            assert_eq!(request.if_none_match("\"a\""), expected, "{fields:?}");
            assert_eq!(request.if_none_match("W/\"a\""), expected, "{fields:?}");
        }
        assert!(!request(&["\"a\""]).if_none_match("a"), "a tag has quotes");
        assert!(request(&["*"]).if_none_match("a"), "anything will do");
    }

    #[test]
    fn a_tag_is_known_exactly_or_not() {
        let weak = request(&["\"b\", W/\"a\""]);
        let tag = EntityTag::parse("\"a\"").unwrap();
        assert!(weak.names_exactly(tag.weakened()) && !weak.names_exactly(tag));
        assert_eq!(EntityTag::parse("\"a\" "), None);
        assert_eq!(EntityTag::parse("a"), None);
    }
}
