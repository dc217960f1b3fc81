//! A client that is ahead of its worker, with a position that an id of the simplest form cannot give.

use starwheel::{Encode, Event, EventBuffer, Topic, testing::SimulatedWorkers};

use crate::words::{come_back, got, link_faults, ms, publish, with_ids, workers_with};

/// Two events that are published together.
struct Both(u32);

impl Encode for Both {
    fn encode(&self, out: &mut EventBuffer) {
        out.push(&format!("{} first", self.0));
        out.push(&format!("{} second", self.0));
    }
}

/// Two workers that use the topics `a` and `b`. To the second, events take their time from now on.
fn with_a_slow_one() -> ([Topic; 2], SimulatedWorkers) {
    let topics = ["a", "b"].map(|name| Topic::new(name).history(99, 1 << 16));
    let mut workers = workers_with(2, &topics);
    let _users = [workers[0].get("/"), workers[1].get("/")];
    for n in 2..6 {
        publish(&mut workers, &topics[n % 2], n);
    }
    workers.set_link_faults(1, link_faults(|it| it.delay_max = ms(50)));
    (topics, workers)
}

/// The key of a topic in ids: FNV-1a of its name.
fn key(name: &str) -> String {
    let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

#[test]
fn a_topic_that_lags_keeps_its_place_in_ids_while_its_events_are_on_their_way() {
    let (topics, mut workers) = with_a_slow_one();
    for n in 6..14 {
        publish(&mut workers, &topics[n % 2], n);
    }
    // The odd ones are on b.
    let back = come_back(&mut workers, 1, &format!("_sim0g0-12~{}:3", key("b")));
    workers.advance(ms(100));
    let all = with_ids(&workers, 1, back);
    let data: Vec<_> = all.iter().map(|(data, _)| data.clone()).collect();
    assert_eq!(data, ["5", "7", "9", "11", "13"]);
    for (nth, (_, id)) in all.iter().enumerate() {
        let cut = come_back(&mut workers, 0, id);
        assert_eq!(got(&workers, 0, cut), data[nth + 1..], "after {id}");
    }
}

#[test]
fn the_seen_part_of_an_event_that_is_on_its_way_does_not_come_again() {
    let ids = [
        ("_sim0g0-6.1".to_owned(), &["6 second", "7 first", "7 second", "8"][..]),
        ("_sim0g0-7.1".to_owned(), &["7 second", "8"]),
        (format!("_sim0g0-8~{}:7.1", key("b")), &["7 second"]),
    ];
    for (id, missed) in ids {
        let (topics, mut workers) = with_a_slow_one();
        workers.handle().publish(&topics[0], Both(6)).unwrap();
        workers.handle().publish(&topics[1], Both(7)).unwrap();
        workers.handle().publish(&topics[0], "8").unwrap();
        let back = come_back(&mut workers, 1, &id);
        // Its bookmark must say the same.
        workers[1].run(|cx| {
            let event = || Event::new("private").id("own").unwrap();
            cx.streams().collect::<Vec<_>>().into_iter().for_each(|id| _ = cx.send(id, event()));
        });
        assert_eq!(workers[1].last_event_id(back), id);
        workers.advance(ms(100));
        assert_eq!(got(&workers, 1, back)[1..], *missed, "after {id}");
        let last = workers[1].last_event_id(back);
        let cut = come_back(&mut workers, 0, &last);
        assert_eq!(got(&workers, 0, cut), [""; 0], "after {last}");
    }
}
