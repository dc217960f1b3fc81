//! Much at once: what is larger than a reply may be must neither be stored nor be asked for.

use std::os::unix::net::UnixStream;

use starwheel::{
    Backplane, BackplaneStats, Handle, JoinAt, Reactor, Router, Spawned, Sse, Topic, TrySendError,
};

use crate::{
    client::{get, wait_for},
    server::{Redis, is_missing},
};

const MIB: usize = 1 << 20;

struct Machine {
    handle: Handle,
    _thread: Spawned,
}

impl Machine {
    /// Each of its streams has all of these topics.
    fn start(redis: &Redis, topics: &[Topic]) -> Self {
        let (url, topics) = (redis.url(), topics.to_vec());
        let thread = Reactor::spawn_with("machine", move || {
            let router = Router::new().get("/", move |_req, _cx| {
                topics.iter().fold(Sse::new(), |sse, it| sse.subscribe_at(it, JoinAt::Oldest))
            });
            let mut reactor = Reactor::new(router)?;
            reactor.join(&Backplane::redis(&url)?.log_bytes(1))?;
            Ok(reactor)
        });
        let thread = thread.unwrap();
        let machine = Self { handle: thread.handle().clone(), _thread: thread };
        wait_for("it is connected", || machine.stats().connected.then_some(()));
        machine
    }

    fn stats(&self) -> BackplaneStats {
        self.handle.backplane().expect("it has joined")
    }

    /// When there is room, and until it is stored.
    fn publish(&self, topic: &Topic, event: &str) {
        wait_for("there is room", || self.handle.publish(topic, event).ok());
    }

    fn wait_until_stored(&self) {
        wait_for("all is stored", || (self.stats().outbox_bytes == 0).then_some(()));
    }

    /// A client comes.
    fn subscribe(&self) -> UnixStream {
        let (client, served) = UnixStream::pair().unwrap();
        let adopted = self.handle.adopt(served, get("/").into_bytes());
        assert!(adopted.is_ok());
        client
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

#[test]
fn histories_that_are_large_together_come_to_a_new_machine() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let topics: Vec<_> =
        (0..10).map(|n| Topic::new(format!("t{n}")).history(100, 16 * MIB)).collect();
    let large = "x".repeat(MIB);
    let machine = Machine::start(&redis, &topics);
    for _ in 0..8 {
        topics.iter().for_each(|topic| machine.publish(topic, &large));
    }
    machine.wait_until_stored();
    let other = Machine::start(&redis, &topics);
    let _client = other.subscribe();
    wait_for("they come", || (other.stats().histories >= 10).then_some(()));
}

#[test]
fn a_history_without_a_limit_has_one_that_a_reply_can_have() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let topic = Topic::new("t").history(usize::MAX, usize::MAX);
    let large = "x".repeat(MIB);
    let machine = Machine::start(&redis, std::slice::from_ref(&topic));
    (0..80).for_each(|_| machine.publish(&topic, &large));
    machine.wait_until_stored();
    let other = Machine::start(&redis, std::slice::from_ref(&topic));
    let _client = other.subscribe();
    wait_for("it comes", || (other.stats().histories == 1).then_some(()));
}

#[test]
fn an_event_that_no_machine_could_read_is_refused_and_the_next_one_comes() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let topic = Topic::new("t");
    let machine = Machine::start(&redis, std::slice::from_ref(&topic));
    let huge = "x".repeat(70 * MIB);
    let refused = machine.handle.publish(&topic, huge.as_str());
    assert!(matches!(refused, Err(TrySendError::Full(_))), "{refused:?}");
    let refused = machine.handle.publish_batch(&topic, vec!["x".repeat(7 * MIB); 5]);
    assert!(matches!(refused, Err(TrySendError::Full(_))), "{refused:?}");
    let refused = machine.handle.publish_once(&topic, &huge, "x");
    assert!(matches!(refused, Err(TrySendError::Full(_))), "{refused:?}");
    assert_eq!((machine.stats().published, machine.stats().refused), (0, 3));
    machine.publish(&topic, &huge[..30 * MIB]);
    machine.publish(&topic, "small");
    wait_for("both come", || (machine.stats().received == 2).then_some(()));
}

#[test]
fn a_batch_of_very_many_events_comes_completely() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let topic = Topic::new("t").history(100, MIB);
    let machine = Machine::start(&redis, std::slice::from_ref(&topic));
    let events: Vec<_> = (0..100_000).map(|n| n.to_string()).collect();
    machine.handle.publish_batch(&topic, &events).unwrap();
    wait_for("they come", || (machine.stats().outbox_bytes == 0).then_some(()));
    assert_eq!(machine.stats().published, 100_000);
    let refused = machine.handle.publish_batch(&topic, std::iter::repeat_n("x", 700_000));
    assert!(refused.is_err(), "more words than a command may have");
    machine.publish(&topic, "last");
    machine.wait_until_stored();
}
