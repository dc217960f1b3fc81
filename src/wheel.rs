//! A hierarchical timer wheel: which key is due next, out of millions, in constant time.
//!
//! This file knows no clock, no socket and no closure. A key is a number that the caller chose
//! (small and dense: the index of a slab), time is a `u64` of ticks that the caller counts
//! (milliseconds in this crate), and what a due key means is worked out above.
//!
//! The scheme is that of Varghese and Lauck (1987): eleven levels of 64 slots. A deadline lives on
//! the level of the highest base-64 digit in which it differs from `elapsed`, in the slot of that
//! digit; eleven digits are all of `u64`, so no deadline is too far away.
//!
//! ```text
//! level   a slot spans   the level spans
//!     0           1 ms             64 ms    a slot here is one deadline: its keys are due together
//!     1          64 ms              4 s
//!     2           4 s             4.4 min
//!     3         4.4 min           4.7 h
//!   ...                                     each level 64 times the one before
//!    10      37 My                  all     16 slots are enough
//!
//!               occupied[1]            slots[1 * 64 + 3]         entries, indexed by key
//! elapsed ───►  0b…0000_1000  ───────► first: 7, last: 2  ────►  7 ⇄ 4 ⇄ 2
//! ```
//!
//! When `elapsed` reaches the start of a slot of a higher level, the slot cascades: its keys move
//! to the lower levels where they now belong. A key cascades at most ten times in its life, and
//! once or twice with the deadlines of a server. Because the slot follows from `elapsed` and the
//! deadline alone, an entry stores nothing but its deadline and its two neighbours, 16 bytes.
//!
//! **Bound of the work**: everything is O(1) except a cascade, which is linear in the keys of one
//! slot and cannot be interrupted. A key costs a few nanoseconds there while the entries fit the
//! caches and 50 to 100 ns when they do not: 70,000 keys within the same 4 s, out of a million in
//! random order, held one call up for 3 to 7 ms.

use std::mem;

/// The deadlines of a set of keys, at most one per key.
///
/// Memory: 16 bytes for every key up to the largest ever armed, 6 KiB besides; it never shrinks.
pub(crate) struct Wheel {
    /// Indexed by key. The lists of the slots run through it.
    entries: Vec<Entry>,
    /// Level `l`, digit `d` is at `l * SLOTS + d`.
    slots: [Slot; LEVELS * SLOTS],
    /// Bit `d` of word `l` is set while the slot of level `l`, digit `d` has keys.
    occupied: [u64; LEVELS],
    /// The tick up to which everything was handed out, except keys due at this very tick.
    elapsed: u64,
    len: usize,
}

impl Wheel {
    /// An empty wheel at tick 0. Allocates nothing.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            slots: [Slot::EMPTY; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            elapsed: 0,
            len: 0,
        }
    }

    /// Makes room for the keys below `keys`, so that arming them allocates nothing.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.entries
            .reserve(keys.saturating_sub(self.entries.len()));
    }

    /// Sets the one deadline of `key`, in place of an earlier one. O(1).
    ///
    /// A deadline that has passed already (before `elapsed`) is taken as `elapsed`: the key is due
    /// at once, and once. Behind keys of the same deadline it queues up last.
    ///
    /// # Panics
    /// If `key` is one of the two largest `u32`, which mark the ends of lists and idle entries.
    pub(crate) fn arm(&mut self, key: u32, deadline: u64) {
        let index = key as usize;
        if index >= self.entries.len() {
            assert!(key < IDLE, "a key of the wheel is below u32::MAX - 1");
            self.entries.resize(index + 1, Entry::IDLE);
        }
        if self.entries[index].is_armed() {
            self.unlink(key);
        } else {
            self.len += 1;
        }
        self.link(key, deadline.max(self.elapsed));
    }

    /// Takes the deadline of `key` away; true when it had one. O(1), and nothing stays behind.
    pub(crate) fn cancel(&mut self, key: u32) -> bool {
        if self.deadline(key).is_none() {
            return false;
        }
        self.disarm(key);
        true
    }

    /// When `key` is due; `None` when it is not armed. O(1).
    pub(crate) fn deadline(&self, key: u32) -> Option<u64> {
        let entry = self.entries.get(key as usize)?;
        entry.is_armed().then_some(entry.deadline)
    }

    /// Until when the caller may sleep before the next [`pop_due`](Self::pop_due); `None` when
    /// nothing is armed. O(1).
    ///
    /// It is never later than the earliest deadline. It is exactly that deadline
    /// - when that lies in the same block of 64 ticks as `elapsed` (level 0), and
    /// - when it shares its slot with at most seven others, however far away it is.
    ///
    /// In a fuller slot of a higher level, finding the minimum would mean to walk all its keys in
    /// every turn, so the start of that slot is returned instead. To wake then is of use: `pop_due`
    /// at that tick cascades the slot, which has to be done anyway, and the next bound is strictly
    /// later. A deadline costs at most one such empty turn per level, and a server with few timers
    /// has none.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let (slot, start) = self.first_occupied()?;
        if slot < SLOTS {
            return Some(start);
        }
        let mut key = self.slots[slot].first;
        let mut earliest = u64::MAX;
        for _ in 0..EXACT_KEYS_MAX {
            let entry = self.entries[key as usize];
            earliest = earliest.min(entry.deadline);
            key = entry.next;
            if key == NONE {
                return Some(earliest);
            }
        }
        Some(start)
    }

    /// Hands out one key that is due at or before `now`, with its deadline, and disarms it. Call it
    /// until it returns `None`; a spurious call costs a few nanoseconds.
    ///
    /// Keys come in the order of their deadlines, and keys of the same deadline in the order in
    /// which they were armed last. No iterator is held: between two calls any key may be armed or
    /// cancelled. What is armed with a deadline at or before `now` is handed out in the same drain,
    /// so the drain ends only if the caller arms, from some point on, later than `now`.
    ///
    /// After `Some((_, deadline))`, `elapsed` is that deadline; after `None` it is `now`. `now` must
    /// never go back; if it does (release builds), nothing is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u32, u64)> {
        debug_assert!(now >= self.elapsed, "time went back");
        while let Some((slot, start)) = self.first_occupied() {
            if start > now {
                break;
            }
            // No slot lies between `elapsed` and `start`, hence no other key changes its slot.
            self.elapsed = start;
            if slot < SLOTS {
                let key = self.slots[slot].first;
                self.disarm(key);
                return Some((key, start));
            }
            self.cascade(slot);
        }
        self.elapsed = self.elapsed.max(now);
        None
    }

    /// How many keys are armed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True when no key is armed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The occupied slot that comes first in time, and the tick at which it starts.
    ///
    /// Whatever is on a level is earlier than everything on the levels above, and digits on a level
    /// never wrap around, because the digits above are those of `elapsed`: so it is the lowest bit
    /// of the lowest word.
    fn first_occupied(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&word| word != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        let shift = level * DIGIT_BITS;
        let above = (self.elapsed >> shift) & !DIGIT_MASK;
        Some((level * SLOTS + digit, (above | digit as u64) << shift))
    }

    /// Where a deadline (not before `elapsed`) belongs.
    fn slot_of(&self, deadline: u64) -> usize {
        let differing = (self.elapsed ^ deadline) | DIGIT_MASK;
        let level = differing.ilog2() as usize / DIGIT_BITS;
        let digit = (deadline >> (level * DIGIT_BITS)) & DIGIT_MASK;
        level * SLOTS + digit as usize
    }

    /// Moves all keys of a slot to lower levels, in order. `elapsed` is at the slot's start.
    fn cascade(&mut self, slot: usize) {
        // The list is taken as a whole before it is walked: a key that fell into the same slot
        // again would be walked for ever.
        let mut key = mem::replace(&mut self.slots[slot], Slot::EMPTY).first;
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        while key != NONE {
            let Entry { deadline, next, .. } = self.entries[key as usize];
            debug_assert!(self.slot_of(deadline) / SLOTS < slot / SLOTS);
            self.link(key, deadline);
            key = next;
        }
    }

    /// Appends `key`, which is in no list, to the slot of `deadline`.
    fn link(&mut self, key: u32, deadline: u64) {
        let slot = self.slot_of(deadline);
        let prev = mem::replace(&mut self.slots[slot].last, key);
        if prev == NONE {
            self.slots[slot].first = key;
            self.occupied[slot / SLOTS] |= 1 << (slot % SLOTS);
        } else {
            self.entries[prev as usize].next = key;
        }
        self.entries[key as usize] = Entry {
            deadline,
            prev,
            next: NONE,
        };
    }

    /// Takes `key`, which is armed, out of its list; its entry is left to be overwritten.
    fn unlink(&mut self, key: u32) {
        let Entry {
            deadline,
            prev,
            next,
        } = self.entries[key as usize];
        let slot = self.slot_of(deadline);
        if prev == NONE {
            self.slots[slot].first = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next == NONE {
            self.slots[slot].last = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
        if prev == NONE && next == NONE {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
    }

    fn disarm(&mut self, key: u32) {
        self.unlink(key);
        self.entries[key as usize] = Entry::IDLE;
        self.len -= 1;
    }
}

/// One key's deadline and its neighbours in the list of its slot.
#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    /// `NONE` for the first of a list, `IDLE` when the key is not armed.
    prev: u32,
    /// `NONE` for the last of a list.
    next: u32,
}

impl Entry {
    const IDLE: Self = Self {
        deadline: 0,
        prev: IDLE,
        next: NONE,
    };

    fn is_armed(self) -> bool {
        self.prev != IDLE
    }
}

/// The two ends of a list: one appends (so that equal deadlines stay in order), the other pops.
#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

impl Slot {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

/// "No key": the end of a list.
const NONE: u32 = u32::MAX;
/// In the place of a predecessor: the key is in no list.
const IDLE: u32 = u32::MAX - 1;

const DIGIT_BITS: usize = 6;
const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;
/// As many as a word has bits, so that `occupied` finds the first one in one instruction.
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = (u64::BITS as usize).div_ceil(DIGIT_BITS);
/// How many keys `next_deadline` looks at for an exact answer: eight cache misses at worst, much
/// less than the turn it may save.
const EXACT_KEYS_MAX: usize = 8;

const _: () = assert!(size_of::<Entry>() == 16, "what a timer costs is promised");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<(u32, u64)> {
        let due = std::iter::from_fn(|| wheel.pop_due(now)).collect();
        assert_sound(wheel);
        due
    }

    /// Every list is linked both ways, every key is where its deadline says, no bit is stale.
    fn assert_sound(wheel: &Wheel) {
        let mut linked = 0;
        for (index, slot) in wheel.slots.iter().enumerate() {
            let bit = wheel.occupied[index / SLOTS] >> (index % SLOTS) & 1;
            assert_eq!(bit == 1, slot.first != NONE, "stale bit of slot {index}");
            let (mut prev, mut key) = (NONE, slot.first);
            while key != NONE {
                let entry = wheel.entries[key as usize];
                assert_eq!(entry.prev, prev, "broken link before {key}");
                assert!(entry.deadline >= wheel.elapsed, "{key} was left behind");
                assert_eq!(wheel.slot_of(entry.deadline), index, "{key} is misplaced");
                linked += 1;
                (prev, key) = (key, entry.next);
            }
            assert_eq!(slot.last, prev, "slot {index} has lost its end");
        }
        assert_eq!(linked, wheel.len);
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
        assert_eq!(
            drain(&mut wheel, u64::MAX),
            [(2, u64::MAX - 1), (0, u64::MAX)]
        );
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
        let keys: Vec<_> = drain(&mut wheel, 6_000)
            .iter()
            .map(|&(key, _)| key)
            .collect();
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
        for key in [0, 1, 3, IDLE, NONE] {
            assert!(!wheel.cancel(key));
            assert_eq!(wheel.deadline(key), None);
        }
        assert_eq!(drain(&mut wheel, 10), [(2, 10)]);
    }

    #[test]
    #[should_panic(expected = "a key of the wheel")]
    fn a_reserved_key_is_refused_before_memory_is_asked_for() {
        Wheel::new().arm(IDLE, 0);
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
        assert_eq!(wheel.pop_due(1_000), Some((0, 100)));
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

    /// The wheel as it is specified: a sorted list. Equal deadlines are ordered by `arms`.
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
            let due = self
                .sorted
                .first_key_value()
                .map(|(&(at, _), &key)| (at, key));
            let Some((deadline, key)) = due.filter(|&(at, _)| at <= now) else {
                self.elapsed = now;
                return None;
            };
            self.cancel(key);
            self.elapsed = deadline;
            Some((key, deadline))
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum When {
        At(u64),
        /// Relative to `elapsed`, saturating.
        In(u64),
        /// So long ago.
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
        /// Drain up to then; after each key that is due do one of these.
        Advance(When, Vec<Act>),
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
        let meanwhile = prop::collection::vec(arm_or_cancel(), 0..6);
        (ticks, meanwhile).prop_map(|(ticks, acts)| Act::Advance(When::In(ticks), acts))
    }

    fn play(wheel: &mut Wheel, model: &mut Model, act: &Act) {
        match act {
            Act::Arm(key, when) => {
                let deadline = when.tick(model.elapsed);
                wheel.arm(*key, deadline);
                model.arm(*key, deadline);
            }
            Act::Cancel(key) => assert_eq!(wheel.cancel(*key), model.cancel(*key)),
            Act::Advance(when, meanwhile) => {
                let now = when.tick(model.elapsed);
                let mut meanwhile = meanwhile.iter();
                loop {
                    let due = wheel.pop_due(now);
                    assert_eq!(due, model.pop_due(now));
                    if due.is_none() {
                        break;
                    }
                    if let Some(act) = meanwhile.next() {
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
            assert!(bound > wheel.elapsed || bound == earliest, "no progress");
            if earliest / 64 == wheel.elapsed / 64 || model.places.len() <= EXACT_KEYS_MAX {
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
            play(&mut wheel, &mut model, &Act::Advance(When::At(u64::MAX), Vec::new()));
            prop_assert!(wheel.is_empty());
        }

        #[test]
        fn whoever_sleeps_until_the_next_deadline_is_never_late_and_seldom_woken_in_vain(
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
}
