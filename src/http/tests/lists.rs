//! Fields that hold several things: cookies, lists, types with parameters.

use super::*;

#[test]
fn cookies_are_found_by_name() {
    let request = Request::parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1;b = x=y ; c\r\nCookie: d=\"4\"; a=2\r\n\r\n",
    )
    .unwrap();
    assert_eq!(request.cookie("a"), Some("1"));
    assert_eq!(request.cookie("b"), Some("x=y"));
    assert_eq!(request.cookie("c"), None);
    assert_eq!(request.cookie("d"), Some("\"4\""));
    assert_eq!(request.cookie(""), None);
}

/// RFC 6265bis section 5.6 trims space and tab; to a browser anything else is part of the name.
#[test]
fn a_cookie_prefix_cannot_be_forged_with_other_white_space() {
    for space in ["\u{2000}", "\u{a0}", "\u{3000}", "\u{feff}", "\u{85}", "\u{2028}", "\u{1680}"] {
        for forged in [
            format!("{space}__Host-session=EVIL"),
            format!("__Host-session{space}=EVIL"),
            format!(" {space} __Host-session=EVIL"),
        ] {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nCookie: {forged}; \t__Host-session =\treal \r\n\r\n"
            );
            let request = Request::parse(head.as_bytes()).unwrap();
            assert_eq!(request.cookie("__Host-session"), Some("real"), "{forged:?}");
        }
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: a={space}1{space}\r\n\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        assert_eq!(request.cookie("a"), Some(&*format!("{space}1{space}")), "the value as sent");
    }
}

#[test]
fn a_cookie_that_is_not_text_hides_no_other() {
    let request = Request::parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: x=\xff; a=1; \xfe=2; b=3\r\nCookie: \xe4; c=4\r\n\r\n",
    )
    .unwrap();
    let found = ["a", "b", "c", "x"].map(|name| request.cookie(name));
    assert_eq!(found, [Some("1"), Some("3"), Some("4"), None]);
    let all: Vec<_> = request.cookies().collect();
    let expected: [(&[u8], &[u8]); 5] =
        [(b"x", b"\xff"), (b"a", b"1"), (b"\xfe", b"2"), (b"b", b"3"), (b"c", b"4")];
    assert_eq!(all, expected);
}

/// If the first cookie of a name is not text, a later one does not replace it.
#[test]
fn of_two_cookies_of_one_name_the_first_counts_also_when_it_is_not_text() {
    let request = Request::parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: id=\xff; id=7; other=1; other=2\r\n\r\n",
    )
    .unwrap();
    assert_eq!((request.cookie("id"), request.cookie("other")), (None, Some("1")));
}

#[test]
fn a_media_type_is_trimmed_of_space_and_tab_alone() {
    let media_type = |value: &str| {
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Type: {value}\r\n\r\n");
        Request::parse(head.as_bytes()).unwrap().content_type().map(str::to_owned)
    };
    assert_eq!(media_type("text/html \t;charset=utf-8").as_deref(), Some("text/html"));
    assert_eq!(media_type("text/html\u{2003}").as_deref(), Some("text/html\u{2003}"));
    assert_eq!(media_type("\u{a0}text/html;a").as_deref(), Some("\u{a0}text/html"));
}

#[test]
fn lines_of_one_name_are_one_list() {
    let request = Request::parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-List: a, \tb\t,\r\nOther: c\r\nx-list:\r\n\
          X-LIST: \xff,d;q=\"1,2\\\",3\", e\r\nX-List: \"open, f\r\nX-List: ,,g\r\n\r\n",
    )
    .unwrap();
    let lines: Vec<_> = request.header_values("x-list").collect();
    let expected: [&[u8]; 5] =
        [b"a, \tb\t,", b"", b"\xff,d;q=\"1,2\\\",3\", e", b"\"open, f", b",,g"];
    assert_eq!(lines, expected);
    let members: Vec<_> = request.header_list("x-list").collect();
    let expected: [&[u8]; 7] =
        [b"a", b"b", b"\xff", b"d;q=\"1,2\\\",3\"", b"e", b"\"open, f", b"g"];
    assert_eq!(members, expected);
    assert_eq!(request.header("x-list"), Some("a, \tb\t,"), "the first line alone");
    assert_eq!(request.header_list("none").count(), 0);
}
