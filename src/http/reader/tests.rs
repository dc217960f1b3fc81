//! The reader piece by piece: stages, kept bytes, memory.

use super::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

fn advance(reader: &mut Reader, mut input: &[u8], request: &mut Request) -> (Progress, usize) {
    let progress = reader.advance(&mut input, &Limits::default(), request).expect("no refusal");
    (progress, input.len())
}

fn is_idle(reader: &Reader) -> bool {
    // An idle state has no box, so nothing is held.
    matches!(reader.state, State::Idle { .. })
}

#[test]
fn nothing_is_held_while_idle() {
    assert!(size_of::<Reader>() <= 40);
    let (mut reader, mut request) = (Reader::new(), Request::new());
    assert!(is_idle(&reader));
    for bytes in [GET, POST] {
        for cut in 1..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(advance(&mut reader, first, &mut request), (Progress::NeedMore, 0));
            assert!(!is_idle(&reader));
            assert!(!reader.stage().is_between_requests());
            assert_eq!(advance(&mut reader, second, &mut request), (Progress::Complete, 0));
            assert!(is_idle(&reader));
            assert_eq!(reader.stage(), Stage::Idle);
        }
    }
    advance(&mut reader, b"\r\n\r\n", &mut request);
    assert!(is_idle(&reader), "empty lines are no request");
}

#[test]
fn kept_bytes_are_freed_as_they_are_read() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    reader.keep(&[&GET.repeat(1_000), &GET[..5]].concat());
    for left in (0..1_000).rev() {
        assert_eq!(advance(&mut reader, b"", &mut request), (Progress::Complete, 0));
        let State::Held(held) = &reader.state else { panic!("{left} requests are left") };
        assert!(held.bytes.capacity() <= 2 * left * GET.len() + GET.len());
    }
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::NeedMore, 0));
    let State::Held(held) = &reader.state else { panic!("a part of a head is left") };
    assert!(held.bytes.capacity() <= 5);
}

#[test]
fn a_whole_request_goes_into_the_memory_that_is_there() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    advance(&mut reader, POST, &mut request);
    let warm = (request.target().as_ptr(), request.path().as_ptr(), request.body().as_ptr());
    for _ in 0..3 {
        advance(&mut reader, POST, &mut request);
        let now = (request.target().as_ptr(), request.path().as_ptr(), request.body().as_ptr());
        assert_eq!(warm, now);
    }
}

#[test]
fn one_large_upload_does_not_stay() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + 500_000, b'x');
    advance(&mut reader, &bytes, &mut request);
    assert_eq!(request.body().len(), 500_000);
    advance(&mut reader, GET, &mut request);
    let (_, _, body) = request.parts();
    assert!(body.capacity() <= 64 * 1024);
}

#[test]
fn stages_follow_the_request() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let mut stages = vec![reader.stage()];
    for &byte in POST {
        advance(&mut reader, &[byte], &mut request);
        stages.push(reader.stage());
    }
    stages.dedup();
    assert_eq!(stages, [Stage::Fresh, Stage::Head, Stage::Body, Stage::Idle]);
}

#[test]
fn empty_lines_ahead_of_a_request_are_no_stage_of_it() {
    for (mut reader, waiting) in
        [(Reader::new(), Stage::Fresh), (Reader::between_requests(), Stage::Idle)]
    {
        let mut request = Request::new();
        for byte in [b"\r", b"\n"].repeat(10) {
            advance(&mut reader, byte, &mut request);
            assert_eq!(reader.stage(), waiting);
        }
        advance(&mut reader, b"\r", &mut request);
        advance(&mut reader, b"\nG", &mut request);
        assert_eq!(reader.stage(), Stage::Head);
    }
}

#[test]
fn kept_bytes_are_read_before_input() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let kept = [GET, POST, &GET[..5]].concat();
    reader.keep(&kept);
    assert!(reader.has_kept());
    assert_eq!(reader.stage(), Stage::Head);
    let rest = [&GET[5..], POST].concat();
    // The input stays untouched as long as kept bytes make requests.
    assert_eq!(advance(&mut reader, &rest, &mut request), (Progress::Complete, rest.len()));
    assert_eq!(request.path(), "/a");
    assert!(reader.has_kept());
    assert_eq!(advance(&mut reader, &rest, &mut request), (Progress::Complete, rest.len()));
    assert_eq!(request.body(), b"abc");
    assert!(reader.has_kept());
    assert_eq!(advance(&mut reader, &rest, &mut request), (Progress::Complete, POST.len()));
    assert_eq!(request.path(), "/a");
    assert!(!reader.has_kept());
    assert!(is_idle(&reader));
}

#[test]
fn seen_bytes_are_not_news() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    reader.keep(&GET[..5]);
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::NeedMore, 0));
    assert!(!reader.has_kept());
    assert_eq!(reader.stage(), Stage::Head);
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::NeedMore, 0));
    reader.keep(&GET[5..]);
    assert!(reader.has_kept());
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::Complete, 0));
    assert!(is_idle(&reader));
}

#[test]
fn bytes_may_be_kept_after_an_unfinished_head() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    reader.keep(&[POST, &GET[..5]].concat());
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::Complete, 0));
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::NeedMore, 0));
    reader.keep(&GET[5..]);
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::Complete, 0));
    assert_eq!((request.path(), request.body()), ("/a", &b""[..]));
}

#[test]
fn a_client_that_waits_is_told_to_continue_once() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let (mut reader, mut request) = (Reader::new(), Request::new());
    assert_eq!(advance(&mut reader, head, &mut request), (Progress::ExpectContinue, 0));
    assert_eq!(reader.stage(), Stage::Body);
    assert_eq!(advance(&mut reader, b"", &mut request), (Progress::NeedMore, 0));
    assert_eq!(advance(&mut reader, b"o", &mut request), (Progress::NeedMore, 0));
    assert_eq!(advance(&mut reader, b"kG", &mut request), (Progress::Complete, 1));
    assert_eq!(request.body(), b"ok");
    // A client that sends the body immediately does not wait.
    let with_body = [&head[..], b"o"].concat();
    assert_eq!(advance(&mut reader, &with_body, &mut request), (Progress::NeedMore, 0));
    assert_eq!(advance(&mut reader, b"kk", &mut request), (Progress::Complete, 1));
    reader.keep(head);
    assert_eq!(advance(&mut reader, b"o", &mut request), (Progress::NeedMore, 0));
}

#[test]
fn no_100_continue_on_http_1_0_or_without_a_body() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(advance(&mut reader, old, &mut request), (Progress::NeedMore, 0));
    assert_eq!(advance(&mut reader, b"ok", &mut request), (Progress::Complete, 0));
    let empty = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(advance(&mut reader, empty, &mut request), (Progress::Complete, 0));
}

#[test]
fn a_refusal_frees_what_was_held() {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    advance(&mut reader, b"GET / HTTP/1.1\r\nHost: a\r\n", &mut request);
    let refused = reader.advance(&mut &b"\n"[..], &Limits::default(), &mut request);
    assert_eq!(refused, Err(Refusal::BARE_LF));
    assert!(matches!(reader.state, State::Refused { .. }));
    reader.keep(b"GET");
    assert!(!reader.has_kept());
}
