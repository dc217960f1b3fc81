//! The thread of one worker.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

#[cfg(feature = "signals")]
use std::sync::atomic::AtomicUsize;

use super::worker::Worker;
use crate::{
    backplane::Namespace,
    engine::{Answer, Config, Context, Crew, Handle, Handler, Mailbox, ReactorNumber},
    http::{Request, Response},
    reactor::{ListenOptions, Listener, Reactor},
};

/// A thread, from the side that has started it.
#[derive(Debug)]
pub(super) struct Thread {
    thread: JoinHandle<io::Result<()>>,
    /// The thread ends when this is dropped before `Setup::Run`.
    setups: mpsc::Sender<Setup>,
    has_reactor: mpsc::Receiver<io::Result<(ReactorNumber, Arc<Mailbox>)>>,
}

/// A step before the worker serves.
#[derive(Debug)]
pub(super) enum Setup {
    /// All reactors exist; the handler may be made.
    MakeHandler(Done),
    /// Accept for this worker.
    Listen(Listener, ListenOptions, Done),
    /// Accept for all workers.
    Distribute(Listener, ListenOptions, Done),
    #[cfg(feature = "signals")]
    DrainOnSignals(Duration, Arc<AtomicUsize>, Done),
    Run,
}

impl Thread {
    pub(super) fn start(
        number: usize,
        config: Config,
        crew: &Arc<Crew>,
        namespace: &Namespace,
        make: impl FnOnce(&mut Worker<'_>) -> Box<dyn Handler> + Send + 'static,
    ) -> io::Result<Self> {
        let (setups, requests) = mpsc::channel();
        let (made, has_reactor) = mpsc::sync_channel(1);
        let (crew, namespace) = (Arc::clone(crew), namespace.clone());
        let name = format!("worker {number}");
        let thread = thread::Builder::new().name(name).spawn(move || {
            let mut reactor = match Reactor::with_config(config, not_ready) {
                Ok(reactor) => reactor,
                Err(error) => return made.send(Err(error)).or(Ok(())),
            };
            let _others =
                EndsOthers { crew: Arc::clone(&crew), namespace: namespace.clone(), number };
            let _gone = made.send(Ok((reactor.number(), reactor.shared_mailbox())));
            serve(
                &mut reactor,
                &requests,
                |reactor| {
                    reactor.enlist(Arc::clone(&crew));
                    namespace.add(number, reactor);
                    let handler = make(&mut Worker { reactor, number, crew: &crew });
                    reactor.set_handler(handler);
                },
                &crew,
            )
        })?;
        Ok(Self { thread, setups, has_reactor })
    }

    /// Waits until the reactor exists.
    pub(super) fn has_reactor(&self) -> io::Result<(ReactorNumber, Arc<Mailbox>)> {
        wait_for(&self.has_reactor)
    }

    pub(super) fn make_handler(&self) -> io::Result<()> {
        self.set_up(Setup::MakeHandler)
    }

    /// Waits for one step.
    pub(super) fn set_up(&self, step: impl FnOnce(Done) -> Setup) -> io::Result<()> {
        let (done, is_done) = mpsc::sync_channel(1);
        self.setups.send(step(done)).map_err(|_gone| ended_early())?;
        wait_for(&is_done)
    }

    pub(super) fn run(&self) -> io::Result<()> {
        self.setups.send(Setup::Run).map_err(|_gone| ended_early())
    }

    pub(super) fn join(self) -> io::Result<()> {
        let name = self.thread.thread().name().unwrap_or_default().to_owned();
        drop(self.setups);
        let panicked = |_| io::Error::other(format!("the thread \"{name}\" panicked"));
        self.thread.join().map_err(panicked)?
    }
}

/// Sets the reactor up, then runs it.
fn serve(
    reactor: &mut Reactor,
    requests: &mpsc::Receiver<Setup>,
    make_handler: impl FnOnce(&mut Reactor),
    crew: &Arc<Crew>,
) -> io::Result<()> {
    let mut make_handler = Some(make_handler);
    for request in requests {
        let (result, done) = match request {
            Setup::Run => return reactor.run(),
            Setup::MakeHandler(done) => {
                if let Some(make_handler) = make_handler.take() {
                    make_handler(reactor);
                }
                (Ok(()), done)
            }
            Setup::Listen(listener, options, done) => {
                (reactor.listen_on_with(listener, options), done)
            }
            Setup::Distribute(listener, options, done) => {
                let all = Handle::of_all(Arc::clone(crew));
                (reactor.listen_for_all(listener, options, all), done)
            }
            #[cfg(feature = "signals")]
            Setup::DrainOnSignals(window, obeyed, done) => (
                reactor.drain_all_on_signals(window, Handle::of_all(Arc::clone(crew)), obeyed),
                done,
            ),
        };
        let _gone = done.send(result);
    }
    // The workers were dropped before they ran.
    Ok(())
}

/// The handler until the worker has its own.
fn not_ready(_req: &Request, _cx: &mut Context<'_>) -> Answer {
    Response::not_found().into()
}

/// A worker that ends, by whatever reason, ends the others.
struct EndsOthers {
    crew: Arc<Crew>,
    namespace: Namespace,
    number: usize,
}

impl Drop for EndsOthers {
    fn drop(&mut self) {
        self.namespace.remove(self.number);
        if !self.crew.is_ending() {
            if thread::panicking() {
                log::error!("worker {} has panicked; all workers drain", self.number);
            }
            Handle::of_all(Arc::clone(&self.crew)).drain(WINDOW_AFTER_FAILURE);
        }
    }
}

/// What a thread answers once: the result of a step.
type Done = mpsc::SyncSender<io::Result<()>>;

fn wait_for<T>(done: &mpsc::Receiver<io::Result<T>>) -> io::Result<T> {
    done.recv().unwrap_or_else(|_gone| Err(ended_early()))
}

fn ended_early() -> io::Error {
    io::Error::other("the thread of a worker has ended before it served; its handler has panicked")
}

/// How long the others have when a worker has ended by itself.
const WINDOW_AFTER_FAILURE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Router;

    /// Closures are guarded, so a panic elsewhere is a fault of this crate. The others must end all the
    /// same.
    #[test]
    fn a_thread_that_panics_ends_those_that_serve() {
        let (crew, namespace) = (Arc::<Crew>::default(), Namespace::new().unwrap());
        let start = |number, is_broken: bool| {
            Thread::start(number, Config::default(), &crew, &namespace, move |_worker| {
                assert!(!is_broken, "on purpose");
                Box::new(Router::new())
            })
            .unwrap()
        };
        let threads = [start(0, false), start(1, true)];
        crew.complete(threads.iter().map(|thread| thread.has_reactor().unwrap()).collect());
        let [first, second] = threads;
        first.make_handler().unwrap();
        first.run().unwrap();
        assert!(second.make_handler().is_err());
        assert_eq!(second.join().unwrap_err().to_string(), "the thread \"worker 1\" panicked");
        first.join().unwrap();
    }
}
