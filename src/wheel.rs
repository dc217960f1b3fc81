//! A hierarchical timer wheel: finds the next due key, out of millions, in constant time.
//!
//! This file knows no clock, socket or closure. A key is a small, dense number chosen by the caller
//! (the index of a slab), time is a `u64` of ticks that the caller counts (milliseconds in this
//! crate), and the caller decides what a due key means.
//!
//! The scheme is that of Varghese and Lauck (1987): eleven levels of 64 slots. A deadline is on the
//! level of the highest base-64 digit in which it differs from `elapsed`, in the slot of that
//! digit. Eleven digits cover all of `u64`, so no deadline is too far away.
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
//! once or twice with the deadlines of a server. An entry stores only its deadline and its two
//! neighbours, 16 bytes. At the ends of a list, where a neighbour is missing, it stores the slot
//! instead.
//!
//! **Bound of the work**: everything is O(1) except a cascade, which is linear in the keys of one
//! slot. A key costs a few nanoseconds there while the entries fit the caches and 50 to 100 ns when
//! they do not: 3 to 7 ms for 70,000 keys within the same 4 s, out of a million in random order. A
//! cascade is therefore done in slices, of as many moves as the caller allows. Until the last
//! slice, no key is returned, and new keys for the slot are appended at its end, so the order is
//! kept.

use std::{fmt, mem};

/// The deadlines of a set of keys, at most one per key.
///
/// Memory: 16 bytes for every key up to the largest ever armed, plus 6 KiB; it never shrinks.
pub(crate) struct Wheel {
    /// Indexed by key. The lists of the slots link these entries.
    entries: Vec<Entry>,
    /// Level `l`, digit `d` is at `l * SLOTS + d`.
    slots: [Slot; LEVELS * SLOTS],
    /// Bit `d` of word `l` is set while the slot of level `l`, digit `d` has keys.
    occupied: [u64; LEVELS],
    /// The tick up to which everything has been returned, except keys due at this very tick.
    elapsed: u64,
    /// The origin for computing slots: `elapsed`, or the tick before it while a cascade is
    /// unfinished whose slot starts at `elapsed`. From there, keys of that slot still belong to it.
    origin: u64,
    /// The slot whose cascade waits for its next slice, `NO_CASCADE` if there is none. It holds the
    /// keys still to move, at least one, and takes new keys for the slot.
    cascading: usize,
    len: usize,
}

/// The result of [`Wheel::pop_due`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// This key, which had this deadline.
    Key(u32, u64),
    /// Nothing more at this time.
    Nothing,
    /// Not known yet: the allowed moves are used up, and a cascade must continue first.
    Unfinished,
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Wheel {
    /// An empty wheel at tick 0. Allocates nothing.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            slots: Slot::ALL_EMPTY,
            occupied: [0; LEVELS],
            elapsed: 0,
            origin: 0,
            cascading: NO_CASCADE,
            len: 0,
        }
    }

    /// Makes room for the keys below `keys`, so that arming them allocates nothing.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.entries.reserve(keys.saturating_sub(self.entries.len()));
    }

    /// Sets the one deadline of `key`, replacing an earlier one. O(1).
    ///
    /// A deadline before `elapsed` is treated as `elapsed`: the key is due immediately, once. Among
    /// keys with the same deadline it comes last.
    ///
    /// # Panics
    /// If `key` is one of the 705 largest `u32`, which mark the ends of lists and idle entries.
    pub(crate) fn arm(&mut self, key: u32, deadline: u64) {
        let index = key as usize;
        if index >= self.entries.len() {
            assert!(key < KEYS_MAX, "a key of the wheel is below u32::MAX - 704");
            self.entries.resize(index + 1, Entry::IDLE);
        }
        if self.entries[index].is_armed() {
            self.unlink(key);
        } else {
            self.len += 1;
        }
        self.link(key, deadline.max(self.elapsed));
    }

    /// Removes the deadline of `key`; true when it had one. O(1), and nothing is left over.
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
    /// - when that is in the same block of 64 ticks as `elapsed` (level 0), and
    /// - when it shares its slot with at most seven others, however far away it is.
    ///
    /// In a fuller slot of a higher level, finding the minimum would mean walking all its keys in
    /// every turn, so the start of that slot is returned instead. Waking then is useful: `pop_due`
    /// at that tick cascades the slot, which must be done anyway, and the next bound is strictly
    /// later. A deadline costs at most one such empty turn per level, and a server with few timers
    /// has none. While a cascade is unfinished, it is `elapsed`: there is work now.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.cascading != NO_CASCADE {
            return Some(self.elapsed);
        }
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
            if is_end(key) {
                return Some(earliest);
            }
        }
        Some(start)
    }

    /// Returns one key that is due at or before `now`, with its deadline, and disarms it. Call it
    /// until it returns [`Due::Nothing`]; an unneeded call costs a few nanoseconds.
    ///
    /// `moves` is how many keys cascades may still move, and is counted down. When they are used
    /// up, the result is [`Due::Unfinished`]: call it again with more, at this time or later. At
    /// least one key is moved in each call that allows one, so it terminates.
    ///
    /// Keys come in the order of their deadlines, and keys of the same deadline in the order in
    /// which they were last armed. No iterator is held: between two calls any key may be armed or
    /// cancelled. A key armed with a deadline at or before `now` is returned in the same drain, so
    /// the drain ends only if the caller eventually arms only keys later than `now`.
    ///
    /// After [`Due::Key`], `elapsed` is that deadline; after [`Due::Nothing`] it is `now`; after
    /// [`Due::Unfinished`] it is the start of the cascading slot. `now` must never go back; if it
    /// does (release builds), nothing is due.
    pub(crate) fn pop_due(&mut self, now: u64, moves: &mut u32) -> Due {
        debug_assert!(now >= self.elapsed, "time went back");
        if self.cascading != NO_CASCADE && !self.cascade(self.cascading, moves) {
            return Due::Unfinished;
        }
        while let Some((slot, start)) = self.first_occupied() {
            if start > now {
                break;
            }
            // No slot is between `elapsed` and `start`, so no other key changes its slot.
            self.elapse(start);
            if slot < SLOTS {
                let key = self.slots[slot].first;
                self.disarm(key);
                return Due::Key(key, start);
            }
            if !self.cascade(slot, moves) {
                return Due::Unfinished;
            }
        }
        self.elapse(self.elapsed.max(now));
        Due::Nothing
    }

    /// Number of armed keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True when no key is armed.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn elapse(&mut self, tick: u64) {
        self.elapsed = tick;
        self.origin = tick;
    }

    /// The occupied slot that comes first in time, and the tick at which it starts.
    ///
    /// Keys on a level are earlier than all keys on the levels above, and digits on a level never
    /// wrap around, because the digits above are those of `elapsed`. So it is the lowest bit of the
    /// lowest word. Not while a cascade is unfinished: then its slot comes first.
    fn first_occupied(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&word| word != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        let shift = level * DIGIT_BITS;
        let above = (self.elapsed >> shift) & !DIGIT_MASK;
        Some((level * SLOTS + digit, (above | digit as u64) << shift))
    }

    /// The slot of a deadline (not before `elapsed`).
    fn slot_of(&self, deadline: u64) -> usize {
        let differing = (self.origin ^ deadline) | DIGIT_MASK;
        let level = differing.ilog2() as usize / DIGIT_BITS;
        let digit = (deadline >> (level * DIGIT_BITS)) & DIGIT_MASK;
        level * SLOTS + digit as usize
    }

    /// Moves the keys of a slot to lower levels, in order, as far as `moves` allows. `elapsed` is
    /// the slot's start. True when none is left.
    fn cascade(&mut self, slot: usize, moves: &mut u32) -> bool {
        // The complete list is taken before it is walked: otherwise a key that fell into the same
        // slot again would be walked endlessly.
        let Slot { first: mut key, last } = mem::replace(&mut self.slots[slot], Slot::empty(slot));
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        self.cascading = NO_CASCADE;
        self.origin = self.elapsed;
        while !is_end(key) {
            if *moves == 0 {
                self.put_back(slot, Slot { first: key, last });
                return false;
            }
            *moves -= 1;
            let Entry { deadline, next, .. } = self.entries[key as usize];
            debug_assert!(self.slot_of(deadline) / SLOTS < slot / SLOTS);
            self.link(key, deadline);
            key = next;
        }
        true
    }

    /// Keeps the rest of a slot for the next slice of its cascade.
    #[cold]
    fn put_back(&mut self, slot: usize, rest: Slot) {
        self.entries[rest.first as usize].prev = end_of(slot);
        self.slots[slot] = rest;
        self.occupied[slot / SLOTS] |= 1 << (slot % SLOTS);
        // A slot of a higher level does not start at 0: its digit is greater than that of the
        // `elapsed` at which a key was put there.
        self.origin = self.elapsed - 1;
        self.cascading = slot;
    }

    /// Appends `key`, which is in no list, to the slot of `deadline`.
    fn link(&mut self, key: u32, deadline: u64) {
        let slot = self.slot_of(deadline);
        let prev = mem::replace(&mut self.slots[slot].last, key);
        if is_end(prev) {
            self.slots[slot].first = key;
            self.occupied[slot / SLOTS] |= 1 << (slot % SLOTS);
        } else {
            self.entries[prev as usize].next = key;
        }
        self.entries[key as usize] = Entry { deadline, prev, next: end_of(slot) };
    }

    /// Removes `key`, which is armed, from its list; its entry is overwritten later.
    fn unlink(&mut self, key: u32) {
        let Entry { prev, next, .. } = self.entries[key as usize];
        if is_end(prev) {
            self.slots[slot_at(prev)].first = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if is_end(next) {
            self.slots[slot_at(next)].last = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
        if is_end(prev) && is_end(next) {
            let slot = slot_at(prev);
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            if slot == self.cascading {
                self.cascading = NO_CASCADE;
                self.origin = self.elapsed;
            }
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
    /// [`end_of`] the slot for the first of its list, `IDLE` when the key is not armed.
    prev: u32,
    /// [`end_of`] the slot for the last of its list.
    next: u32,
}

impl Entry {
    const IDLE: Self = Self { deadline: 0, prev: IDLE, next: IDLE };

    fn is_armed(self) -> bool {
        self.prev != IDLE
    }
}

/// The two ends of a list: keys are appended at one (so that equal deadlines stay in order) and
/// popped at the other.
#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

impl Slot {
    const ALL_EMPTY: [Self; LEVELS * SLOTS] = {
        let mut slots = [Self { first: 0, last: 0 }; LEVELS * SLOTS];
        let mut slot = 0;
        while slot < slots.len() {
            slots[slot] = Self::empty(slot);
            slot += 1;
        }
        slots
    };

    const fn empty(slot: usize) -> Self {
        Self { first: end_of(slot), last: end_of(slot) }
    }
}

/// Replaces a neighbour: the key is at this end of the list of `slot`. An entry at the end of a
/// list thus knows its list, and no other entry needs to.
const fn end_of(slot: usize) -> u32 {
    KEYS_MAX + slot as u32
}

fn is_end(neighbour: u32) -> bool {
    neighbour >= KEYS_MAX
}

/// The slot of this end marker.
fn slot_at(end: u32) -> usize {
    (end - KEYS_MAX) as usize
}

/// Keys are below this.
const KEYS_MAX: u32 = IDLE - (LEVELS * SLOTS) as u32;
/// Replaces a neighbour: the key is in no list.
const IDLE: u32 = u32::MAX;

/// A slot of level 0, which never cascades.
const NO_CASCADE: usize = 0;

const DIGIT_BITS: usize = 6;
const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;
/// The number of bits in a word, so that `occupied` finds the first slot in one instruction.
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = (u64::BITS as usize).div_ceil(DIGIT_BITS);
/// Number of keys that `next_deadline` checks for an exact result: eight cache misses at worst,
/// much less than the turn it may save.
const EXACT_KEYS_MAX: usize = 8;

const _: () = assert!(size_of::<Entry>() == 16, "what a timer costs is promised");

#[cfg(test)]
#[path = "wheel/tests.rs"] // named, because the benchmark includes this file from elsewhere
mod tests;
