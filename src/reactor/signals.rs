//! Handling of SIGTERM and SIGINT, if the program enables it.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream as StdUnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mio::{Interest, event::Source, net::UnixStream};
use signal_hook::{
    SigId,
    consts::{SIGINT, SIGTERM},
    low_level::{pipe, unregister},
};

use super::{Engine, Handle, Reactor, SIGNALS, Socket};

/// The reading end of a pipe into which the signal handlers write one byte each.
#[derive(Debug)]
pub(super) struct Signals {
    pipe: UnixStream,
    window: Duration,
    registered: Vec<SigId>,
    /// Signals that have come here.
    received: usize,
    /// The last one that a worker has obeyed: each gets all of them, because any may end first.
    obeyed: Arc<AtomicUsize>,
}

impl Reactor {
    /// Drains over `window` at the first SIGTERM or SIGINT, and shuts down at the second.
    ///
    /// The library installs no signal handler unless you call this. Once installed, the two signals
    /// no longer end the process, not even after the reactor is gone. Feature `signals`.
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context};
    /// # use std::time::Duration;
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// reactor.drain_on_signals(Duration::from_secs(10))?;
    /// reactor.run()?; // Returns at most 10 s after a SIGTERM.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system refuses the handler or the pipe.
    pub fn drain_on_signals(&mut self, window: Duration) -> io::Result<()> {
        let (reading, writing) = StdUnixStream::pair()?;
        reading.set_nonblocking(true)?;
        let mut signals = Signals {
            pipe: UnixStream::from_std(reading),
            window,
            registered: Vec::new(),
            received: 0,
            obeyed: Arc::default(),
        };
        signals.pipe.register(self.poll.registry(), SIGNALS, Interest::READABLE)?;
        signals.registered.push(pipe::register(SIGTERM, writing.try_clone()?)?);
        signals.registered.push(pipe::register(SIGINT, writing)?);
        self.signals = Some(signals);
        Ok(())
    }
}

impl Signals {
    /// Each signal is obeyed by the first of the workers that sees it.
    pub(super) fn share(&mut self, obeyed: Arc<AtomicUsize>) {
        self.obeyed = obeyed;
    }

    /// `all` are the workers that the reactor is one of.
    pub(super) fn receive(&mut self, engine: &mut Engine<Socket>, all: Option<&Handle>) {
        let mut bytes = [0; 16];
        while let Ok(count @ 1..) = self.pipe.read(&mut bytes) {
            for _ in 0..count {
                self.received += 1;
                if self.obeyed.fetch_max(self.received, Ordering::SeqCst) >= self.received {
                    continue;
                }
                match (all, engine.is_stopping() || self.received > 1) {
                    (Some(all), true) => all.shutdown(),
                    (None, true) => engine.shutdown(),
                    (all, false) => {
                        log::info!("draining connections over {:?}", self.window);
                        match all {
                            Some(all) => all.drain(self.window),
                            None => engine.drain(self.window),
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The writing ends belong to the handlers and would stay open.
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}
