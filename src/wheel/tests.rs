use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn drain(wheel: &mut Wheel, now: u64) -> Vec<(u32, u64)> {
    let due = std::iter::from_fn(|| pop(wheel, now)).collect();
    assert_sound(wheel);
    due
}

/// The next due key, with as many moves as needed.
fn pop(wheel: &mut Wheel, now: u64) -> Option<(u32, u64)> {
    match wheel.pop_due(now, &mut { u32::MAX }) {
        Due::Key(key, deadline) => Some((key, deadline)),
        Due::Nothing => None,
        Due::Unfinished => panic!("more than u32::MAX moves"),
    }
}

/// Every list is linked both ways, every key is where its deadline says, no bit is stale.
fn assert_sound(wheel: &Wheel) {
    let mut linked = 0;
    for (index, slot) in wheel.slots.iter().enumerate() {
        let bit = wheel.occupied[index / SLOTS] >> (index % SLOTS) & 1;
        assert_eq!(bit == 1, !is_end(slot.first), "stale bit of slot {index}");
        let (mut prev, mut key) = (end_of(index), slot.first);
        while !is_end(key) {
            let entry = wheel.entries[key as usize];
            assert_eq!(entry.prev, prev, "broken link before {key}");
            assert!(entry.deadline >= wheel.elapsed, "{key} was left behind");
            let moved = Wheel { origin: wheel.elapsed, ..Wheel::new() }.slot_of(entry.deadline);
            let waits = wheel.cascading == index && moved / SLOTS < index / SLOTS;
            assert!(moved == index || waits, "{key} is misplaced");
            linked += 1;
            (prev, key) = (key, entry.next);
        }
        assert_eq!((slot.last, key), (prev, end_of(index)), "slot {index} has lost its end");
    }
    assert_eq!(linked, wheel.len);
    let cascades = wheel.cascading != NO_CASCADE;
    assert_eq!(wheel.origin, wheel.elapsed - u64::from(cascades));
    assert!(!cascades || !is_end(wheel.slots[wheel.cascading].first), "a cascade without an end");
    let armed = wheel.entries.iter().filter(|entry| entry.is_armed());
    assert_eq!(armed.count(), wheel.len);
}

#[test]
fn a_new_wheel_is_empty_and_follows_time() {
    let mut wheel = Wheel::new();
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(drain(&mut wheel, 1_000), []);
    wheel.arm(0, 5);
    assert_eq!(wheel.deadline(0), Some(1_000), "clamped to elapsed");
}

#[test]
fn a_key_is_due_at_its_deadline_and_not_before() {
    let powers = (0..64).map(|bit| 1 << bit);
    for deadline in powers.flat_map(|power: u64| [power - 1, power, power + 1]) {
        let mut wheel = Wheel::new();
        wheel.arm(3, deadline);
        assert_eq!(wheel.deadline(3), Some(deadline));
        if deadline > 0 {
            assert_eq!(drain(&mut wheel, deadline - 1), []);
        }
        assert_eq!(drain(&mut wheel, deadline), [(3, deadline)]);
        assert!(wheel.is_empty());
    }
}

#[test]
fn the_ends_of_time_are_ordinary_deadlines() {
    let mut wheel = Wheel::new();
    wheel.arm(0, u64::MAX);
    wheel.arm(1, 0);
    wheel.arm(2, u64::MAX - 1);
    assert_eq!(drain(&mut wheel, 0), [(1, 0)]);
    assert_eq!(wheel.next_deadline(), Some(u64::MAX - 1));
    assert_eq!(drain(&mut wheel, u64::MAX), [(2, u64::MAX - 1), (0, u64::MAX)]);
    wheel.arm(0, 0);
    assert_eq!(drain(&mut wheel, u64::MAX), [(0, u64::MAX)]);
}

#[test]
fn equal_deadlines_come_in_the_order_of_arming_across_a_cascade() {
    let mut wheel = Wheel::new();
    wheel.arm(9, 5_000);
    wheel.arm(1, 5_000);
    wheel.arm(4, 5_000);
    wheel.arm(9, 5_000);
    assert_eq!(drain(&mut wheel, 4_999), []);
    wheel.arm(0, 5_000);
    let keys: Vec<_> = drain(&mut wheel, 6_000).iter().map(|&(key, _)| key).collect();
    assert_eq!(keys, [1, 4, 9, 0]);
}

#[test]
fn cancelling_leaves_no_trace() {
    let mut wheel = Wheel::new();
    for key in 0..1_000 {
        wheel.arm(key, u64::from(key) * 977);
    }
    for key in (0..1_000).rev() {
        assert!(wheel.cancel(key));
        assert!(!wheel.cancel(key));
        assert_eq!(wheel.deadline(key), None);
    }
    assert_sound(&wheel);
    assert_eq!(wheel.occupied, [0; LEVELS]);
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.entries.len(), 1_000, "memory goes by keys, not calls");
}

#[test]
fn a_key_that_was_never_armed_is_inert() {
    let mut wheel = Wheel::new();
    wheel.arm(2, 10);
    for key in [0, 1, 3, KEYS_MAX - 1, KEYS_MAX, IDLE] {
        assert!(!wheel.cancel(key));
        assert_eq!(wheel.deadline(key), None);
    }
    assert_eq!(drain(&mut wheel, 10), [(2, 10)]);
}

#[test]
#[should_panic(expected = "a key of the wheel")]
fn a_reserved_key_is_refused_before_memory_is_asked_for() {
    Wheel::new().arm(KEYS_MAX, 0);
}

#[test]
fn reserved_keys_arm_without_allocation() {
    let mut wheel = Wheel::new();
    wheel.reserve(100);
    let before = wheel.entries.as_ptr();
    (0..100).for_each(|key| wheel.arm(key, 7));
    wheel.reserve(50);
    assert_eq!(wheel.entries.as_ptr(), before);
}

#[test]
fn while_draining_keys_may_be_armed_and_cancelled() {
    let mut wheel = Wheel::new();
    for key in 0..4 {
        wheel.arm(key, 100);
    }
    assert_eq!(pop(&mut wheel, 1_000), Some((0, 100)));
    wheel.cancel(1); // due in the same tick, cancelled by its neighbour
    wheel.arm(2, 2_000); // put off
    wheel.arm(0, 500); // again in this drain
    wheel.arm(7, 3); // long past: now
    assert_eq!(drain(&mut wheel, 1_000), [(3, 100), (7, 100), (0, 500)]);
    assert_eq!(drain(&mut wheel, 2_000), [(2, 2_000)]);
}

#[test]
fn few_far_deadlines_are_known_exactly_and_many_as_a_lower_bound() {
    let mut wheel = Wheel::new();
    for key in 0..8 {
        wheel.arm(key, 15_007 - u64::from(key));
    }
    assert_eq!(wheel.next_deadline(), Some(15_000));
    wheel.arm(8, 15_008);
    assert_eq!(wheel.next_deadline(), Some(3 * 4_096));
    assert_eq!(drain(&mut wheel, 3 * 4_096), []);
    assert_eq!(wheel.next_deadline(), Some(234 * 64));
    assert_eq!(drain(&mut wheel, 234 * 64), []);
    assert_eq!(wheel.next_deadline(), Some(15_000));
}

#[test]
fn a_cascade_moves_no_more_keys_than_it_may_and_hands_out_none_before_it_is_done() {
    let mut wheel = Wheel::new();
    // All in one slot of level 2, and there in all slots of level 1, latest first.
    let deadline_of = |key: u32| 8_191 - u64::from(key) * 4;
    (0..1_000).for_each(|key| wheel.arm(key, deadline_of(key)));
    for slice in 0..10 {
        let mut moves = 100;
        let due = wheel.pop_due(10_000, &mut moves);
        assert_eq!(moves, 0);
        assert_sound(&wheel);
        if slice < 9 {
            assert_eq!((due, wheel.next_deadline()), (Due::Unfinished, Some(4_096)));
        }
    }
    // The rest of the last slice is the first slot of level 1.
    let mut moves = 100;
    assert_eq!(wheel.pop_due(10_000, &mut moves), Due::Key(999, deadline_of(999)));
    assert!(moves > 80, "{moves}");
    let rest: Vec<_> = drain(&mut wheel, 10_000).iter().map(|&(key, _)| key).collect();
    assert_eq!(rest, (0..999).rev().collect::<Vec<_>>());
}

#[test]
fn without_moves_a_cascade_waits() {
    let mut wheel = Wheel::new();
    wheel.arm(0, 100);
    wheel.arm(1, 3);
    assert_eq!(wheel.pop_due(200, &mut 0), Due::Key(1, 3));
    assert_eq!(wheel.pop_due(200, &mut 0), Due::Unfinished);
    assert_eq!(wheel.next_deadline(), Some(64));
    assert_sound(&wheel);
    assert_eq!(wheel.pop_due(200, &mut 1), Due::Key(0, 100));
    assert_eq!(wheel.pop_due(200, &mut 0), Due::Nothing);
}

#[test]
fn between_the_slices_of_a_cascade_keys_may_be_armed_and_cancelled_in_any_list() {
    let mut wheel = Wheel::new();
    for key in 0..6 {
        wheel.arm(key, 100);
    }
    assert_eq!(wheel.pop_due(1_000, &mut 3), Due::Unfinished);
    // Already moved: the first, the middle and the last of them; waiting: those of the others.
    wheel.arm(1, 100);
    wheel.arm(4, 100);
    wheel.arm(9, 100);
    wheel.arm(8, 99);
    assert!(wheel.cancel(0) && wheel.cancel(5) && wheel.cancel(2));
    assert_sound(&wheel);
    assert_eq!(wheel.deadline(1), Some(100));
    assert_eq!(
        drain(&mut wheel, 1_000),
        [8, 3, 1, 4, 9].map(|key| (key, 99 + u64::from(key != 8)))
    );
}

#[test]
fn a_cascade_whose_last_keys_are_cancelled_is_done() {
    let mut wheel = Wheel::new();
    (0..4).for_each(|key| wheel.arm(key, 100));
    assert_eq!(wheel.pop_due(100, &mut 2), Due::Unfinished);
    assert!(wheel.cancel(2) && wheel.cancel(3));
    assert_sound(&wheel);
    assert_eq!(wheel.next_deadline(), Some(100), "no longer the start of the slot");
    assert!(wheel.cancel(0) && wheel.cancel(1));
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.pop_due(100, &mut 0), Due::Nothing);
}

/// The specification of the wheel: a sorted list. Equal deadlines are ordered by `arms`.
#[derive(Default)]
struct Model {
    sorted: BTreeMap<(u64, u64), u32>,
    places: BTreeMap<u32, (u64, u64)>,
    arms: u64,
    elapsed: u64,
}

impl Model {
    fn arm(&mut self, key: u32, deadline: u64) {
        self.cancel(key);
        self.arms += 1;
        let place = (deadline.max(self.elapsed), self.arms);
        self.places.insert(key, place);
        self.sorted.insert(place, key);
    }

    fn cancel(&mut self, key: u32) -> bool {
        let place = self.places.remove(&key);
        place.is_some_and(|place| self.sorted.remove(&place).is_some())
    }

    fn pop_due(&mut self, now: u64) -> Option<(u32, u64)> {
        let due = self.sorted.first_key_value().map(|(&(at, _), &key)| (at, key));
        let Some((deadline, key)) = due.filter(|&(at, _)| at <= now) else {
            self.elapsed = now;
            return None;
        };
        self.cancel(key);
        self.elapsed = deadline;
        Some((key, deadline))
    }

    /// A cascade has begun: keys armed from now on are due at its start at the earliest.
    fn begin_cascade(&mut self, start: u64) {
        let earliest = self.sorted.first_key_value().expect("a cascade has keys").0.0;
        assert!((self.elapsed..=earliest).contains(&start), "nothing lies between");
        self.elapsed = start;
    }
}

#[derive(Debug, Clone, Copy)]
enum When {
    At(u64),
    /// Relative to `elapsed`, saturating.
    In(u64),
    /// This long ago.
    Ago(u64),
}

impl When {
    fn tick(self, elapsed: u64) -> u64 {
        match self {
            Self::At(tick) => tick,
            Self::In(ticks) => elapsed.saturating_add(ticks),
            Self::Ago(ticks) => elapsed.saturating_sub(ticks),
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Arm(u32, When),
    Cancel(u32),
    /// Drain up to then, with this many moves at a time; after each due key, and between the slices
    /// of a cascade, do one of these. A cascade that is unfinished when these are used up waits for
    /// the next drain.
    Advance(When, u32, Vec<Self>),
}

fn when() -> impl Strategy<Value = When> {
    // A shift makes every level, and both sides of its borders, equally likely.
    let any_scale = (any::<u64>(), 0_u32..64).prop_map(|(tick, shift)| tick >> shift);
    prop_oneof![
        4 => (0_u64..200).prop_map(When::In),
        4 => any_scale.clone().prop_map(When::In),
        2 => (0_u32..64, -1_i64..=1)
            .prop_map(|(bit, by)| When::At((1_u64 << bit).wrapping_add_signed(by))),
        1 => any_scale.prop_map(When::At),
        1 => (0_u64..5_000).prop_map(When::Ago),
        1 => Just(When::At(0)),
        1 => Just(When::At(u64::MAX)),
    ]
}

fn arm_or_cancel() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u32..24, when()).prop_map(|(key, when)| Act::Arm(key, when)),
        1 => (0_u32..24).prop_map(Act::Cancel),
    ]
}

fn advance() -> impl Strategy<Value = Act> {
    let ticks = prop_oneof![
        5 => 0_u64..300,
        5 => 0_u64..20_000,
        2 => (any::<u64>(), 0_u32..64).prop_map(|(ticks, shift)| ticks >> shift),
    ];
    let slice = prop_oneof![3 => 1_u32..6, 1 => 6_u32..30, 1 => Just(u32::MAX)];
    let meanwhile = prop::collection::vec(arm_or_cancel(), 0..12);
    (ticks, slice, meanwhile)
        .prop_map(|(ticks, slice, acts)| Act::Advance(When::In(ticks), slice, acts))
}

fn play(wheel: &mut Wheel, model: &mut Model, act: &Act) {
    match act {
        Act::Arm(key, when) => {
            let deadline = when.tick(model.elapsed);
            wheel.arm(*key, deadline);
            model.arm(*key, deadline);
        }
        Act::Cancel(key) => assert_eq!(wheel.cancel(*key), model.cancel(*key)),
        Act::Advance(when, slice, meanwhile) => {
            let now = when.tick(model.elapsed);
            let mut meanwhile = meanwhile.iter();
            loop {
                let mut moves = *slice;
                let next_act = meanwhile.next();
                match wheel.pop_due(now, &mut moves) {
                    Due::Key(key, deadline) => {
                        assert_eq!(model.pop_due(now), Some((key, deadline)));
                    }
                    Due::Nothing => {
                        assert_eq!(model.pop_due(now), None);
                        break;
                    }
                    Due::Unfinished => {
                        assert_eq!(moves, 0, "moves are left");
                        model.begin_cascade(wheel.elapsed);
                        if next_act.is_none() {
                            break;
                        }
                    }
                }
                if let Some(act) = next_act {
                    play(wheel, model, act);
                }
            }
        }
    }
    assert_matches(wheel, model);
}

fn assert_matches(wheel: &Wheel, model: &Model) {
    assert_sound(wheel);
    assert_eq!(wheel.elapsed, model.elapsed);
    assert_eq!(wheel.len(), model.places.len());
    assert_eq!(wheel.is_empty(), model.places.is_empty());
    for key in 0..25 {
        let place = model.places.get(&key);
        assert_eq!(wheel.deadline(key), place.map(|&(deadline, _)| deadline));
    }
    let earliest = model.sorted.keys().next().map(|&(deadline, _)| deadline);
    let bound = wheel.next_deadline();
    assert_eq!(bound.is_some(), earliest.is_some());
    if let (Some(bound), Some(earliest)) = (bound, earliest) {
        assert!(bound <= earliest, "slept too long");
        let cascades = wheel.cascading != NO_CASCADE;
        assert!(bound > wheel.elapsed || bound == earliest || cascades, "no progress");
        if cascades {
            assert_eq!(bound, wheel.elapsed);
        } else if earliest / 64 == wheel.elapsed / 64 || model.places.len() <= EXACT_KEYS_MAX {
            assert_eq!(bound, earliest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_wheel_does_what_a_sorted_list_does(
        acts in prop::collection::vec(prop_oneof![3 => arm_or_cancel(), 1 => advance()], 0..80)
    ) {
        let (mut wheel, mut model) = (Wheel::new(), Model::default());
        for act in &acts {
            play(&mut wheel, &mut model, act);
        }
        play(&mut wheel, &mut model, &Act::Advance(When::At(u64::MAX), u32::MAX, Vec::new()));
        prop_assert!(wheel.is_empty());
    }

    #[test]
    fn sleeping_until_the_next_deadline_is_never_late_and_rarely_wakes_early(
        deadlines in prop::collection::vec((any::<u64>(), 0_u32..64), 0..200)
    ) {
        let mut wheel = Wheel::new();
        let mut expected = Vec::new();
        for (key, (tick, shift)) in (0..).zip(deadlines) {
            wheel.arm(key, tick >> shift);
            expected.push((tick >> shift, key));
        }
        expected.sort_unstable();
        let (mut fired, mut empty_turns) = (Vec::new(), 0);
        while let Some(now) = wheel.next_deadline() {
            let due = drain(&mut wheel, now);
            empty_turns += usize::from(due.is_empty());
            for (key, deadline) in due {
                prop_assert_eq!(deadline, now);
                fired.push((deadline, key));
            }
        }
        prop_assert!(empty_turns <= expected.len() * (LEVELS - 1));
        prop_assert_eq!(fired, expected);
    }
}
