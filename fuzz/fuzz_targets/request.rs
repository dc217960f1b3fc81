//! Requests in pieces: all ways to cut the same bytes give the same requests and responses, nothing
//! is accepted that the reference doubts, and no response follows a rejection.
//!
//! The first two bytes are the sizes of the pieces, the rest is what the client sends.

#![no_main]

use std::{cell::RefCell, rc::Rc, time::Duration};

use libfuzzer_sys::fuzz_target;
use starwheel::{
    Context, Method, Request, Response,
    testing::{BodyEnd, ClientResponse, Simulation},
};
use starwheel_fuzz::reference::{self, Seen, Stop};

fuzz_target!(|input: &[u8]| {
    let [first, second, bytes @ ..] = input else { return };
    let whole = Outcome::of(bytes, [bytes.len().max(1); 2]);
    for sizes in [[1, 1], [usize::from(*first) + 1, usize::from(*second) + 1]] {
        assert_eq!(whole, Outcome::of(bytes, sizes), "pieces of {sizes:?}");
    }
    whole.judge(bytes);
});

/// What became of the bytes of one client.
#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Vec<Seen>,
    answers: Vec<ClientResponse>,
    is_open: bool,
}

impl Outcome {
    /// Sends `bytes` in pieces of alternating sizes.
    fn of(mut bytes: &[u8], sizes: [usize; 2]) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let diary = Rc::clone(&seen);
        let mut simulation = Simulation::new(move |req: &Request, _: &mut Context<'_>| {
            diary.borrow_mut().push(taken_down(req));
            Response::text(req.body().to_vec())
        });
        let client = simulation.connect();
        for size in sizes.into_iter().cycle() {
            let (piece, rest) = bytes.split_at(size.min(bytes.len()));
            simulation.send(client, piece);
            simulation.turn();
            bytes = rest;
            if bytes.is_empty() {
                break;
            }
        }
        let received = simulation.received(client);
        let is_open = simulation.server_end(client).is_none();
        simulation.half_close(client);
        simulation.advance(Duration::from_secs(300));
        assert_eq!(simulation.stats().connections, 0, "a connection is left");
        let seen = seen.take();
        Self { answers: answers(received, &seen), seen, is_open }
    }

    fn judge(&self, bytes: &[u8]) {
        let (expected, stop) = reference::requests(bytes);
        let count = self.seen.len();
        assert!(expected.len() >= count, "{:?} was taken, but {stop:?}", self.seen.last());
        assert_eq!(self.seen, expected[..count]);
        let (answers, refusals) = self.answers.split_at(count);
        for (answer, seen) in answers.iter().zip(&self.seen) {
            assert_eq!((answer.status, answer.end), (200, BodyEnd::Complete));
            assert!(seen.method == "HEAD" || answer.body == seen.body);
        }
        assert!(refusals.len() <= 1, "responses after a rejection: {refusals:?}");
        if let Some(refusal) = refusals.first() {
            // That of a HEAD request has no body.
            let is_whole = refusal.end == BodyEnd::Complete || refusal.body.is_empty();
            assert!((400..=599).contains(&refusal.status) && is_whole);
            assert_eq!(refusal.header("connection"), Some("close"));
            assert!(refusal.rest.is_empty() && !self.is_open);
        }
        let is_refused = !refusals.is_empty();
        match stop {
            Stop::Doubtful => assert!(is_refused, "a doubt was not refused"),
            Stop::Close | Stop::NeedsMore if count < expected.len() => {
                assert!(is_refused || !self.is_open, "{:?} was lost", expected[count]);
            }
            Stop::Close => assert!(!self.is_open, "it stays, but was asked to close"),
            Stop::NeedsMore => assert!(self.is_open || is_refused, "closed for no reason"),
        }
    }
}

fn taken_down(req: &Request) -> Seen {
    Seen {
        method: req.method().as_str().to_owned(),
        target: req.target().to_owned(),
        fields: req.headers().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
        body: req.body().to_vec(),
    }
}

/// All final answers, the last one perhaps a refusal.
fn answers(mut bytes: Vec<u8>, seen: &[Seen]) -> Vec<ClientResponse> {
    let mut answers = Vec::new();
    loop {
        let is_head = seen.get(answers.len()).is_some_and(|seen| seen.method == "HEAD");
        let method = if is_head { Method::Head } else { Method::Get };
        let Some(mut answer) = ClientResponse::parse(&bytes, method) else {
            assert!(bytes.is_empty(), "half an answer");
            return answers;
        };
        bytes = std::mem::take(&mut answer.rest);
        // Whether `100 Continue` is sent depends on how much has arrived.
        if !answer.is_interim() {
            answers.push(answer);
        }
    }
}
