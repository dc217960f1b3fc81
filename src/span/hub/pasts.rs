//! What a [`Hub`] gets from the store of its namespace, and what it passes on after a loss.

use std::{mem, sync::Arc};

use super::{FIRST_PLACE, Hub, Inbox, Pasts, ReactorIndex};
use crate::{
    span::{archive::Archive, protocol},
    topic::{Arrival, Generations, Lost, Placed},
};

/// Pasts that come from the store.
impl<I: Inbox> Hub<I> {
    /// From here on, events get their places elsewhere. None has got one here.
    pub(in crate::span) fn move_to_store(&mut self) {
        self.pasts = Pasts::InStore;
        self.await_all_pasts();
    }

    /// Up to `most` topics whose past is to be asked for.
    pub(in crate::span) fn take_unasked(&mut self, most: usize) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(name) = self.unasked.pop_front()
        {
            // It may have been forgotten since, and be listed twice if it was opened again.
            let entry = self.by_name.get(&name).map(|&index| &self.topics[index]);
            if entry.is_some_and(|entry| !entry.has_past) && !taken.contains(&name) {
                taken.push(name);
            }
        }
        taken
    }

    pub(in crate::span) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }

    /// True when the pasts of all topics have come.
    pub(in crate::span) fn has_all_pasts(&self) -> bool {
        self.unknown == 0
    }

    /// What was asked for is not coming: it must be asked for again.
    pub(in crate::span) fn ask_again(&mut self) {
        self.unasked.clear();
        let missing = self.topics.iter().filter(|(_, entry)| !entry.has_past);
        self.unasked.extend(missing.map(|(_, entry)| Arc::clone(entry.topic.shared_name())));
    }

    /// What was asked for has not come with the rest: it must be asked for again.
    pub(in crate::span) fn ask_again_for(&mut self, names: &[Arc<str>]) {
        self.unasked.extend(names.iter().cloned());
    }

    /// The past of a topic has come, complete up to a place. Returns the topic, if that was missing.
    pub(in crate::span) fn add_past(
        &mut self,
        history: &protocol::History,
        up_to: u64,
        now_ms: u64,
    ) -> Option<usize> {
        let index = *self.by_name.get(&history.topic)?;
        let entry = &mut self.topics[index];
        // It may have been asked for before the last loss; then it is asked for again.
        if up_to < entry.began_after || mem::replace(&mut entry.has_past, true) {
            return None;
        }
        self.unknown -= 1;
        // Later ones come one by one.
        let older = history.events.iter().filter(|it| it.place <= entry.began_after);
        let placed = older.map(|recorded| {
            let place = (self.generations.current(), recorded.place);
            let kind = (recorded.compression, recorded.continues);
            let events = &recorded.events;
            Arc::new(Placed::new(&entry.topic, place, events, kind, &mut self.scratch))
        });
        let placed: Vec<_> = placed.collect();
        let options = entry.topic.options();
        entry.archive.prepend(entry.began_after, history.lost_up_to, placed, options);
        entry.finished_ms = now_ms;
        // The store has forgotten the history, but this process remembers its end.
        if let Some(remembered) = self.tombstones.get(&history.topic, now_ms)
            && history.events.is_empty()
            && history.lost_up_to <= remembered.end
        {
            entry.archive.was_finished(remembered.end);
        }
        Some(index)
    }

    /// Passes the past of a topic on to the reactors that wait for it.
    pub(in crate::span) fn hydrate(&self, index: usize) {
        if self.is_recovering {
            return;
        }
        let entry = &self.topics[index];
        for user in &entry.users {
            let seat = &self.seats[user.0];
            if !seat.is_behind {
                let past = entry.archive.backlog(self.position);
                seat.inbox.arrive(Arrival::Hydrate(entry.topic.clone(), past));
            }
        }
    }

    /// This process has come to the namespace, and begins after this place.
    pub(in crate::span) fn join(&mut self, generations: Generations, place: u64) {
        self.position = place;
        self.await_all_pasts();
        self.generations = generations;
        for (_, inbox) in self.inboxes() {
            inbox.arrive(Arrival::Joined(self.generations.clone(), place));
        }
    }

    /// Everything up to this place must come from the store again, or is lost. Reactors
    /// [learn](Self::recover) what is lost when all pasts have come, and the generations with it: what
    /// has come until then has ids of the new one.
    pub(in crate::span) fn lose_up_to(&mut self, place: u64, generations: Generations) {
        self.position = place;
        self.generations = generations;
        self.is_recovering = true;
        self.await_all_pasts();
    }

    fn await_all_pasts(&mut self) {
        self.unasked.clear();
        let all: Vec<_> = self.topics.iter().map(|(index, _)| index).collect();
        for index in all {
            if self.topics[index].keeps_something() {
                self.await_past(index);
            }
        }
    }

    pub(super) fn await_past(&mut self, index: usize) {
        let entry = &mut self.topics[index];
        entry.began_after = self.position;
        entry.archive = Archive::new(self.position);
        self.unknown += usize::from(mem::replace(&mut entry.has_past, false));
        self.unasked.push_back(Arc::clone(entry.topic.shared_name()));
    }
}

/// Lives of the namespace.
impl<I: Inbox> Hub<I> {
    /// Nothing is lost. False if the generations are still the same.
    pub(in crate::span) fn set_generations(&mut self, generations: Generations) -> bool {
        let is_new = generations != self.generations;
        if is_new {
            self.generations = generations;
            if !self.is_recovering {
                self.tell_all(None);
            }
        }
        is_new
    }

    /// The generations are still the same, for reactors that have asked up to this question.
    pub(in crate::span) fn confirm_generations(&self, question: u64) {
        if self.is_recovering {
            // They get new ones with the loss.
            return;
        }
        self.inboxes().for_each(|(_, inbox)| inbox.arrive(Arrival::SameGenerations(question)));
    }

    /// Something is lost: the archives have what is left.
    pub(in crate::span) fn recover(&mut self, lost: Lost) {
        self.is_recovering = false;
        self.tell_all(Some(lost));
    }

    /// A generation begins that has lost everything placed after `place`; nothing, if that is the
    /// last place. No place is given twice.
    pub(in crate::span) fn begin_generation(&mut self, name: &str, place: u64) {
        let place = place.clamp(FIRST_PLACE - 1, self.position);
        self.generations.begin(name, place);
        let is_lossy = place < self.position;
        // A place after all that a reactor may have.
        self.position += u64::from(is_lossy);
        for (_, entry) in self.topics.iter_mut().filter(|_| is_lossy) {
            entry.archive.undo_after(place);
        }
        if is_lossy {
            self.tombstones.undo_after(place);
        }
        self.tell_all(is_lossy.then_some(Lost::Undone { after: place, up_to: self.position }));
    }

    fn tell_all(&self, lost: Option<Lost>) {
        for reactor in (0..self.seats.len()).map(ReactorIndex) {
            let loss = lost.map(|lost| self.loss_of(reactor, lost));
            let generations = self.generations.clone();
            self.inbox(reactor).arrive(Arrival::Generations(generations, loss));
        }
    }
}
