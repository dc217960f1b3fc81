//! Work that grows with the number of streams or topics grows with the number, not with its square.
//!
//! Each test does the same with a number and with sixteen times that number, and compares the CPU
//! time: linear work takes sixteen times as long, on any machine, and quadratic work 256 times.

use std::{array, time::Duration};

use starwheel::{Ending, Router, Sse, StreamId, Topic, testing::Simulation};

const FEW: usize = 500;
const FACTOR: usize = 16;
/// As far from 16 as from 256.
const GROWTH_MAX: u32 = 64;

/// Times `work` on what `prepare` makes for a number.
#[track_caller]
fn assert_linear<S>(prepare: impl Fn(usize) -> S, work: impl Fn(&mut S)) {
    let time = |count: usize| {
        let runs: [Duration; 3] = array::from_fn(|_| {
            let mut subject = prepare(count);
            let start = processor_time();
            work(&mut subject);
            processor_time() - start
        });
        // Other load on the machine can only make it longer.
        runs[0].min(runs[1]).min(runs[2])
    };
    let (few, many) = (time(FEW), time(FEW * FACTOR));
    assert!(many < few * GROWTH_MAX, "{few:?} for {FEW}, {many:?} for {FACTOR} times as many");
}

/// CPU time of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the one place that it is given.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// This many streams, opened by `GET /`.
fn streams(count: usize, stream: impl Fn() -> Sse + 'static) -> Simulation {
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| stream()));
    simulation.crowd(count, "GET / HTTP/1.1");
    assert_eq!(simulation.stats().streams, count as u64);
    simulation
}

fn close(simulation: &mut Simulation, ids: impl FnOnce(Vec<StreamId>) -> Vec<StreamId>) {
    simulation.run(|cx| {
        let ids = ids(cx.streams().collect());
        assert!(ids.into_iter().all(|id| cx.close(id, Ending::Drop)));
    });
    assert_eq!(simulation.stats().streams, 0);
}

fn topics(count: usize) -> Vec<Topic> {
    (0..count).map(|nth| Topic::new(format!("{nth}"))).collect()
}

#[test]
fn ending_streams_of_one_tag_takes_linear_time() {
    let prepare = |count| streams(count, || Sse::new().tag("anna"));
    assert_linear(prepare, |simulation| close(simulation, |ids| ids));
    let youngest_first = |ids: Vec<StreamId>| ids.into_iter().rev().collect();
    assert_linear(prepare, |simulation| close(simulation, youngest_first));
}

#[test]
fn ending_streams_of_one_topic_takes_linear_time() {
    let prepare = |count| {
        let topic = Topic::new("t");
        streams(count, move || Sse::new().subscribe(&topic))
    };
    assert_linear(prepare, |simulation| close(simulation, |ids| ids));
}

#[test]
fn forgetting_topics_with_news_takes_linear_time() {
    let prepare = |count| {
        let mut nth = 0..;
        let router = Router::new().get("/", move |_, _| {
            Sse::new().subscribe(&Topic::new(format!("{}", nth.next().unwrap_or(0))))
        });
        let mut simulation = Simulation::new(router);
        simulation.crowd(count, "GET / HTTP/1.1");
        (simulation, topics(count))
    };
    assert_linear(prepare, |(simulation, topics)| {
        // One turn does not offer the news of all topics before their subscribers leave.
        simulation.run(|cx| {
            topics.iter().for_each(|topic| {
                assert_eq!(cx.subscribers(topic), 1);
                cx.publish(topic, "news").unwrap();
            });
            let ids: Vec<_> = cx.streams().collect();
            assert!(ids.into_iter().all(|id| cx.close(id, Ending::Drop)));
        });
        assert_eq!(simulation.stats().log_bytes, 0);
    });
}

#[test]
fn subscribing_a_stream_to_many_topics_takes_linear_time() {
    // Two streams on all topics: one that leaves moves the other.
    let prepare = |count| (streams(2, Sse::new), topics(count));
    assert_linear(prepare, |(simulation, topics)| {
        simulation.run(|cx| {
            let ids: Vec<_> = cx.streams().collect();
            for topic in topics.iter() {
                assert!(ids.iter().all(|id| cx.subscribe(*id, topic)));
            }
            for topic in topics.iter().rev().step_by(2) {
                assert!(cx.unsubscribe(ids[0], topic));
            }
        });
        close(simulation, |ids| ids);
    });
}

#[test]
fn a_forged_id_takes_the_same_time_however_long_the_history() {
    let prepare = |count: usize| {
        let topic = Topic::new("t").history(usize::MAX, usize::MAX);
        let watched = topic.clone();
        let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
        let mut simulation = Simulation::new(router);
        simulation.run(|cx| {
            (0..4 * count).for_each(|_| {
                assert_eq!(cx.subscribers(&topic), 0);
                cx.publish(&topic, "x").unwrap();
            })
        });
        (simulation, count)
    };
    assert_linear(prepare, |(simulation, count)| {
        simulation.crowd(*count, "GET /?lastEventId=forged HTTP/1.1");
        assert_eq!(simulation.stats().gaps, *count as u64);
    });
}
