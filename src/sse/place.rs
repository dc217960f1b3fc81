//! The id of an encoded event.

use memchr::memchr;

/// The id of one encoded event. If there are several, the last counts: WHATWG HTML 9.2.6.
pub(crate) fn id_of(event: &[u8]) -> Option<&[u8]> {
    let (mut id, mut rest) = (None, event);
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        id = rest[..end].strip_prefix(b"id: ").or(id);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_on_whatever_line_it_is() {
        for event in [
            "event: e\nid: 7\ndata: x\n\n",
            "id: 7\n\n",
            "data: x\nid: 7\n\n",
            "data: x\ndata: y\nid: 7\n: c\ndata: z\n\n",
            "retry: 5\nid: 7\ndata: x\n\n",
            "data: x\nevent: e\nid: 7\n\n",
            "id: 6\ndata: x\nid: 7\n\n",
        ] {
            assert_eq!(id_of(event.as_bytes()), Some(&b"7"[..]), "{event:?}");
        }
        assert_eq!(id_of(b"data: x\nid: \n\n"), Some(&b""[..]));
        for event in ["data: id: 7\ndata: \n: id: 7\n\n", "data: id: 7\nevent: id: 7\n\n", ""] {
            assert_eq!(id_of(event.as_bytes()), None, "{event:?}");
        }
    }
}
