//! Entries of the log go to the reactors, or are found to be missing.

use super::{Link, Member};
use crate::{
    span::{
        hub::Inbox,
        protocol::{Content, Entry},
    },
    topic::{Generations, Lost},
};

impl<I: Inbox> Member<I> {
    /// The answer to a `Read`.
    pub(super) fn come_to_entries(&mut self, entries: Vec<Entry>, now_ms: u64) {
        if entries.is_empty() && self.read_up_to > self.hub.position() {
            // The store had given more before, and the log does not have it anymore.
            return self.find_a_hole(self.read_up_to, now_ms);
        }
        self.unplaced.extend(entries);
        self.place_entries(now_ms);
    }

    /// Entries go to the reactors, in order, as long as these have room. Called again later if they do
    /// not.
    pub(super) fn place_entries(&mut self, now_ms: u64) {
        while let Some(entry) = self.unplaced.front() {
            let (place, position) = (entry.place, self.hub.position());
            if place <= position {
                self.unplaced.pop_front();
                continue;
            }
            if !entry.comes_after(position, self.hub.generations()) {
                return self.find_a_hole(place - 1, now_ms);
            }
            if let Content::Event { topic, .. } = &entry.content
                && !self.hub.has_room_for(topic)
            {
                return;
            }
            if let Some(entry) = self.unplaced.pop_front() {
                self.place(entry, now_ms);
            }
        }
    }

    fn place(&mut self, entry: Entry, now_ms: u64) {
        match entry.content {
            Content::Event { topic, compression, continues, events } => {
                self.figures.received += 1;
                // An eighth of the difference, so that one large event does not count for long.
                let bytes = (events.len() + topic.len()) as u64 + ENTRY_OVERHEAD_BYTES;
                self.entry_bytes = (self.entry_bytes * 7 + bytes).div_ceil(8);
                let kind = (compression, continues);
                let is_wanted = self.hub.place(entry.place, &topic, &events, kind, now_ms);
                self.figures.skipped += u64::from(!is_wanted);
            }
            Content::Generation { name, follows } => {
                let mut generations = self.hub.generations().clone();
                if generations.begin_if_new(&name, follows) {
                    self.figures.generations += 1;
                    self.hub.set_generations(generations);
                }
                self.hub.come_to(entry.place);
            }
            Content::Unreadable => {
                self.figures.unreadable += 1;
                self.hub.come_to(entry.place);
            }
        }
    }

    /// The log was trimmed before this process had read it, or a generation follows an earlier place. The
    /// generations tell which.
    fn find_a_hole(&mut self, up_to: u64, now_ms: u64) {
        self.figures.holes += 1;
        self.unplaced.clear();
        self.note_newest(up_to, now_ms);
        self.hole = Some(up_to);
        self.link = Link::Strange;
    }

    /// All pasts are asked for. What is lost is passed on when they are here, so that topics which keep
    /// it lose nothing.
    pub(super) fn recover(&mut self, generations: Generations, lost: Lost) {
        let (Lost::Skipped { up_to } | Lost::Undone { up_to, .. }) = lost;
        self.unplaced.clear();
        self.hub.lose_up_to(up_to, generations);
        self.recovering = Some(lost);
        self.end_recovery();
    }

    pub(super) fn end_recovery(&mut self) {
        if self.hub.has_all_pasts()
            && let Some(lost) = self.recovering.take()
        {
            self.hub.recover(lost);
        }
    }
}

impl Entry {
    /// True if nothing is missing between a place and this entry, and nothing before is undone.
    fn comes_after(&self, position: u64, known: &Generations) -> bool {
        match &self.content {
            Content::Generation { name, follows } => {
                // Of one that is known, a greeting has told what is undone.
                *follows == position || (known.knows(name) && self.place - 1 == position)
            }
            _ => self.place - 1 == position,
        }
    }
}

/// What the store needs for an entry besides its topic and events.
const ENTRY_OVERHEAD_BYTES: u64 = 40;
