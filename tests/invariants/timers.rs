//! Invariant 4: libev's timer rules.

use std::cell::RefCell;
use std::rc::Rc;

use crate::story::{Diary, HOUR, Ids, data, ms, secs, serving};
use crate::{assert_counts_from_zero, counter};
use starwheel::testing::Simulation;
use starwheel::{Context, Ending, FirstTick, Method, Next, Response, Router, Sse};

#[test]
fn invariant_4_time_is_read_once_per_turn() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, cx| {
        let (at, noted) = (cx.now(), noted.clone());
        Sse::every(secs(1), move |stream| {
            assert_eq!(stream.now(), at);
            assert_eq!(stream.context().now(), at);
            noted.note(at.as_millis());
            Next::Finish
        })
    });
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.pause(ms(12_345));
    assert_eq!(diary.read(), ["12345"]);
}

#[test]
fn invariant_4_a_repeating_timer_has_its_next_deadline_before_it_runs() {
    let mut simulation = Simulation::new(Router::new());
    let id = Rc::new(RefCell::new(None));
    let own = Rc::clone(&id);
    simulation.run(move |cx| {
        let timer = cx.every(secs(1), move |cx| {
            // There is something to cancel: the timer is armed while it runs.
            assert!(cx.cancel(own.borrow().unwrap()));
            assert!(!cx.cancel(own.borrow().unwrap()), "once");
        });
        *id.borrow_mut() = Some(timer);
    });
    simulation.advance(secs(10));
    assert_eq!(simulation.stats().panics, 0);
}

#[test]
fn invariant_4_ticks_do_not_drift_over_a_day() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(ms(999), move |stream| {
            if stream.now().as_millis() % 999 != 0 {
                noted.note(stream.now().as_millis());
            }
            stream.send("tick");
        })
    });
    let client = simulation.get("/");
    simulation.advance(24 * HOUR);
    assert_eq!(diary.read(), [""; 0], "ticks off their schedule");
    assert_eq!(data(&simulation, client).len(), 1 + 24 * 3_600_000 / 999);
    let stats = simulation.stats();
    assert_eq!((stats.tick_lateness_ms.sum(), stats.ticks_missed, stats.ticks_skipped), (0, 0, 0));
}

#[test]
fn invariant_4_a_late_tick_does_not_move_the_following_ones() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(ms(100), move |stream| noted.note(stream.now().as_millis()))
    });
    simulation.get("/");
    simulation.pause(ms(130));
    simulation.advance(ms(170));
    assert_eq!(diary.read(), ["0", "130", "200", "300"]);
    assert_eq!(simulation.stats().tick_lateness_ms.sum(), 30);
    assert_eq!(simulation.stats().ticks_missed, 0);
}

#[test]
fn invariant_4_a_stop_of_an_hour_causes_one_tick() {
    let runs = Diary::default();
    let noted = runs.clone();
    let mut simulation = serving(|_, _| counter(1000));
    simulation.run(move |cx| {
        cx.every(secs(1), move |cx| noted.note(cx.now().as_secs()));
    });
    let client = simulation.get("/");
    simulation.advance(ms(500));
    simulation.pause(HOUR);
    assert_counts_from_zero(&simulation, client, 2);
    assert_eq!(simulation.stats().ticks_missed, 3599);
    assert_eq!(runs.read(), ["3600"]);

    // And the phase is unchanged.
    simulation.advance(ms(499));
    assert_counts_from_zero(&simulation, client, 2);
    simulation.advance(ms(1));
    assert_counts_from_zero(&simulation, client, 3);
    assert_eq!(runs.read(), ["3600", "3601"]);
}

#[test]
fn invariant_4_a_timer_armed_in_a_turn_is_never_due_in_that_turn() {
    /// Arms itself again, without delay, without an end.
    fn again(cx: &mut Context<'_>, noted: Diary) {
        noted.note(cx.now().as_millis());
        cx.after(ms(0), move |cx| again(cx, noted));
    }
    let diary = Diary::default();
    let mut simulation = serving(|_, _| {
        Sse::every(ms(1), |stream| {
            stream.send("tick");
            Next::After(ms(0))
        })
    });
    let noted = diary.clone();
    simulation.run(|cx| again(cx, noted));
    simulation.advance(ms(3));
    assert_eq!(diary.read(), ["0", "1", "2", "3"]);
    let client = simulation.get("/");
    simulation.advance(ms(3));
    assert_eq!(data(&simulation, client).len(), 4);
}

#[test]
fn invariant_4_timers_due_together_run_in_deadline_order() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    // Armed in a different order (7 generates the numbers below 1009).
    let mut deadlines: Vec<u64> = Vec::new();
    let mut deadline = 7;
    for _ in 0..500 {
        deadlines.push(deadline);
        deadline = deadline * 7 % 1009;
    }
    for &deadline in &deadlines {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.after(ms(deadline), move |_| noted.note(deadline));
        });
    }
    simulation.pause(secs(5));
    deadlines.sort_unstable();
    let expected: Vec<String> = deadlines.iter().map(u64::to_string).collect();
    assert_eq!(diary.read(), expected);
}

#[test]
fn invariant_4_ticks_and_timers_share_one_order() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |req, _| {
        let (name, noted) = (req.query().unwrap().to_owned(), noted.clone());
        let interval = ms(name.parse().unwrap());
        Sse::every(interval, move |_| noted.note(&name)).first_tick(FirstTick::AfterInterval)
    });
    for name in ["300", "100", "500"] {
        simulation.get(&format!("/?{name}"));
    }
    for delay in [400, 200] {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.after(ms(delay), move |_| noted.note(delay));
        });
    }
    simulation.pause(ms(599));
    assert_eq!(diary.read(), ["100", "200", "300", "400", "500"]);
}

#[test]
fn invariant_4_timers_and_ticks_cancelled_by_an_earlier_timer_do_not_run() {
    let (diary, ids) = (Diary::default(), Ids::default());
    let (noted, keep) = (diary.clone(), ids.clone());
    let mut simulation = serving(move |_, _| {
        let (noted, keep) = (noted.clone(), keep.clone());
        Sse::every(ms(20), move |_| noted.note("tick"))
            .first_tick(FirstTick::AfterInterval)
            .on_connect(move |stream| keep.keep(stream.id()))
    });
    simulation.get("/");
    let (stream, noted) = (ids.last(), diary.clone());
    simulation.run(move |cx| {
        let later = noted.clone();
        let second = cx.after(ms(20), move |_| later.note("second"));
        cx.after(ms(10), move |cx| {
            noted.note("first");
            assert!(cx.cancel(second));
            assert!(cx.close(stream, Ending::Finish));
        });
    });
    simulation.pause(ms(30));
    assert_eq!(diary.read(), ["first"]);
}

#[test]
fn invariant_7_a_crowd_of_due_timers_is_fired_in_slices_and_in_order() {
    const TIMERS: u64 = 2_000;
    let (diary, answered) = (Diary::default(), Diary::default());
    let (in_handler, fired) = (answered.clone(), diary.clone());
    let mut simulation = serving(move |_, _| {
        in_handler.note(fired.len());
        Response::no_content()
    });
    for number in 0..TIMERS {
        let noted = diary.clone();
        // Two deadlines, so that the order within each is seen too.
        let delay = ms(100 + number % 2);
        simulation.run(move |cx| {
            cx.after(delay, move |cx| {
                noted.note(number);
                if number == 0 {
                    cx.after(ms(0), move |_| noted.note("armed meanwhile"));
                }
            });
        });
    }
    let client = simulation.connect();
    // The first slice; requests that arrive during it are answered before the second.
    simulation.jump(ms(101));
    assert!(simulation.turn_once(), "the rest is due already");
    let slice = diary.len();
    assert!((100..=1_000).contains(&slice), "{slice} timers in one turn");
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    assert_eq!(answered.read(), [slice.to_string()], "no client waited for the whole crowd");

    // The one that was armed is due one millisecond later than the turn that armed it.
    simulation.advance(ms(1));
    let evens = (0..TIMERS).step_by(2);
    let mut expected: Vec<String> =
        evens.clone().chain(evens.map(|even| even + 1)).map(|n| n.to_string()).collect();
    expected.push("armed meanwhile".to_owned());
    assert_eq!(diary.read(), expected);
}

#[test]
fn invariant_7_timers_far_away_move_nearer_in_slices_between_which_requests_are_answered() {
    const TIMERS: u64 = 20_000;
    let fired = Diary::default();
    let (noted, answered) = (fired.clone(), Diary::default());
    let in_handler = answered.clone();
    let mut simulation = serving(move |_, _| {
        in_handler.note(noted.len());
        Response::no_content()
    });
    let noted = fired.clone();
    simulation.run(move |cx| {
        for number in 0..TIMERS {
            let noted = noted.clone();
            // All of them in one slot of the wheel, which begins at 8,192 ms.
            cx.after(ms(12_000 - number % 3_000), move |_| noted.note(number));
        }
    });
    let client = simulation.connect();
    simulation.jump(secs(13));
    let mut turns = 0;
    while fired.len() == 0 {
        assert!(simulation.turn_once(), "timers wait");
        turns += 1;
        assert!(turns < 100, "no progress");
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    assert!(turns >= 4, "{TIMERS} timers were moved in {turns} turns");
    assert_eq!(answered.read(), vec!["0"; turns - 1], "no client waited for all of them");

    simulation.turn();
    let mut expected: Vec<u64> = (0..TIMERS).collect();
    expected.sort_by_key(|number| 3_000 - number % 3_000);
    let expected: Vec<String> = expected.iter().map(u64::to_string).collect();
    assert_eq!(fired.read(), expected);
}
