//! The reactor inside another event loop: here a mio loop, which also reads lines from a Unix socket
//! and sends them to all visitors.
//!
//! `cargo run --example embed`, then `curl -N http://127.0.0.1:8080/lines`. The loop polls the
//! reactor's descriptor like any other. When it is ready, the loop calls `turn`.

use std::{
    cell::RefCell,
    env,
    error::Error,
    io::Read,
    os::{fd::AsFd, fd::AsRawFd, unix::net::UnixStream as StdUnixStream},
    rc::Rc,
    thread,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, net::UnixStream, unix::SourceFd};
use starwheel::{Reactor, Router, Sse, StreamId};

const REACTOR: Token = Token(0);
const LINES: Token = Token(1);

fn main() -> Result<(), Box<dyn Error>> {
    // The open streams. The reactor's closures need not be `Send`, so an `Rc` is enough.
    let listeners = Rc::new(RefCell::new(Vec::<StreamId>::new()));
    let (joining, leaving) = (Rc::clone(&listeners), Rc::clone(&listeners));
    let router = Router::new().get("/lines", move |_req, _cx| {
        let (joining, leaving) = (Rc::clone(&joining), Rc::clone(&leaving));
        Sse::new().on_connect(move |stream| joining.borrow_mut().push(stream.id())).on_disconnect(
            move |_cx, id, _reason| leaving.borrow_mut().retain(|other| *other != id),
        )
    });
    let mut reactor = Reactor::new(router)?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);

    let mut poll = Poll::new()?;
    let reactor_fd = reactor.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&reactor_fd), REACTOR, Interest::READABLE)?;
    let mut lines = line_a_second()?;
    poll.registry().register(&mut lines, LINES, Interest::READABLE)?;

    let handle = reactor.handle();
    let mut events = Events::with_capacity(64);
    while !reactor.is_stopped() {
        poll.poll(&mut events, reactor.next_deadline())?;
        for event in &events {
            if event.token() == LINES {
                let mut text = String::new();
                let _would_block = lines.read_to_string(&mut text);
                let known = listeners.borrow().clone();
                // The queue is empty: this is the reactor's thread, and it sends one command per turn.
                let _ = handle.run(move |cx| {
                    for id in known {
                        cx.send(id, text.trim_end());
                    }
                });
            }
        }
        // A nested descriptor wakes once, so run turns until nothing is left to do.
        reactor.turn(Some(Duration::ZERO))?;
        while reactor.next_deadline() == Some(Duration::ZERO) {
            reactor.turn(Some(Duration::ZERO))?;
        }
    }
    Ok(())
}

/// Another task of the outer loop: a source of lines.
fn line_a_second() -> std::io::Result<UnixStream> {
    let (reading, mut writing) = StdUnixStream::pair()?;
    reading.set_nonblocking(true)?;
    thread::spawn(move || {
        for number in 1.. {
            thread::sleep(Duration::from_secs(1));
            if std::io::Write::write_all(&mut writing, format!("line {number}\n").as_bytes())
                .is_err()
            {
                return;
            }
        }
    });
    Ok(UnixStream::from_std(reading))
}
