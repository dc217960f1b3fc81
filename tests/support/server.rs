//! A reactor on its own thread.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    net::SocketAddr,
    sync::{Mutex, mpsc},
    thread::{self, JoinHandle},
};

use starwheel::{Context, Handle, Reactor, Router, Stats};

use crate::client::PATIENCE;

/// Stops and joins its thread when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    ended: Mutex<mpsc::Receiver<Stats>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port and serves what `router` makes on the reactor's thread.
    pub(crate) fn serving(router: impl FnOnce() -> Router + Send + 'static) -> Self {
        Self::start(move || {
            let mut reactor = Reactor::new(router()).unwrap();
            let address = reactor.listen("127.0.0.1:0").unwrap();
            (reactor, address)
        })
    }

    /// Runs a reactor that is made on its own thread.
    pub(crate) fn start(make: impl FnOnce() -> (Reactor, SocketAddr) + Send + 'static) -> Self {
        let (started, starts) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut reactor, address) = make();
            started.send((address, reactor.handle())).unwrap();
            reactor.run().unwrap();
            let _ = ends.send(reactor.stats().clone());
        });
        let (address, handle) = starts.recv_timeout(PATIENCE).expect("the reactor starts");
        Self { address, handle, ended: Mutex::new(ended), thread: Some(thread) }
    }

    /// Runs `call` on the reactor's thread and waits for its result.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Context<'_>) -> R + Send + 'static,
    ) -> R {
        let (answer, answers) = mpsc::channel();
        self.handle.run(move |cx| drop(answer.send(call(cx)))).expect("the reactor runs");
        answers.recv_timeout(PATIENCE).expect("the reactor turns")
    }

    pub(crate) fn stats(&self) -> Stats {
        self.ask(|cx| cx.stats().clone())
    }

    /// Waits until the statistics are as expected.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Stats) -> bool) -> Stats {
        crate::client::wait_for(what, || Some(self.stats()).filter(&is_so))
    }

    /// The last statistics, once `run` has returned.
    pub(crate) fn ended(&self) -> Stats {
        self.ended.lock().unwrap().recv_timeout(PATIENCE).expect("the reactor ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the reactor's thread panicked");
        }
    }
}
