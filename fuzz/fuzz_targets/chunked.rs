//! Chunked bodies against the decoder of the reference. An even first byte means that the rest is
//! what is on the wire; an odd one, that it is cut into chunks that must be taken.

#![no_main]

use std::{cell::RefCell, rc::Rc};

use libfuzzer_sys::fuzz_target;
use starwheel::{Context, Request, Response, testing::Simulation};
use starwheel_fuzz::reference::{self, Stop};

fuzz_target!(|input: &[u8]| {
    let [mode, rest @ ..] = input else { return };
    let [size, rest @ ..] = rest else { return };
    if mode % 2 == 0 {
        judge(rest, usize::from(*size) + 1);
    } else {
        let (wire, body) = well_formed(rest);
        assert_eq!(reference::chunked(&wire), Ok((body, &b""[..])), "the reference errs");
        judge(&wire, usize::from(*size) + 1);
    }
});

/// What the engine makes of `wire` as a body in pieces of this size, compared with the reference.
fn judge(wire: &[u8], piece_bytes: usize) {
    let bodies = Rc::new(RefCell::new(Vec::new()));
    let diary = Rc::clone(&bodies);
    let mut simulation = Simulation::new(move |req: &Request, _: &mut Context<'_>| {
        diary.borrow_mut().push(req.body().to_vec());
        Response::text("taken")
    });
    let client = simulation.connect();
    simulation.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in wire.chunks(piece_bytes) {
        simulation.send(client, piece);
        simulation.turn();
    }
    simulation.turn();
    let answers = simulation.responses(client);
    let first = bodies.borrow().first().cloned();
    match reference::chunked(wire) {
        Ok((body, _)) => {
            assert_eq!(first, Some(body));
            assert_eq!(answers[0].status, 200);
        }
        Err(Stop::Doubtful) => {
            assert_eq!(first, None, "a doubtful body was taken");
            assert!(answers.len() == 1 && matches!(answers[0].status, 400 | 413));
        }
        // What is there of an unfinished line or a huge chunk may be refused already.
        Err(_) => {
            assert_eq!(first, None, "half a body was taken");
            assert!(answers.is_empty() || matches!(answers[0].status, 400 | 413));
        }
    }
}

/// Cuts `data` into chunks as its own bytes say: a size, a manner of writing it, then so many bytes.
fn well_formed(mut data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut wire, mut body) = (Vec::new(), Vec::new());
    while let [size, manner, rest @ ..] = data {
        let chunk = &rest[..rest.len().min(usize::from(*size))];
        data = &rest[chunk.len()..];
        if chunk.is_empty() {
            continue;
        }
        let digits = match manner % 3 {
            0 => format!("{:x}", chunk.len()),
            1 => format!("{:X}", chunk.len()),
            _ => format!("{:016x}", chunk.len()),
        };
        let extensions = ["", ";a", " ; a=\"b;c\"", "\t;\ta\t=\tb"];
        let extension = extensions[usize::from(manner / 3) % extensions.len()];
        wire.extend_from_slice(format!("{digits}{extension}\r\n").as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        body.extend_from_slice(chunk);
    }
    let trailers = ["", "A: b\r\n", "A:\r\nB: \t c \r\n"];
    let trailer = trailers[data.first().map_or(0, |byte| usize::from(*byte)) % trailers.len()];
    wire.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    (wire, body)
}
