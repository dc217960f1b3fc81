//! [`Sequencer`]: gives places to the events of a namespace that is this process alone.

use std::mem;

use super::{
    hub::{FIRST_PLACE, Hub, Inbox},
    once::Once,
};
use crate::topic::{Compressible, Continues, Topic};

/// Numbers the events of a namespace. They are in one order for all reactors of the process.
#[derive(Debug)]
pub(crate) struct Sequencer<I> {
    hub: Hub<I>,
    once: Once,
}

/// What is published at once, directly after each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) topic: &'a Topic,
    /// Each encoded, and none of them empty.
    pub(crate) events: &'a [&'a [u8]],
    pub(crate) compression: Compressible,
    /// Whether the topic goes on after the last of them.
    pub(crate) continues: Continues,
    /// Nothing is published if another event on this topic has had this key in the last minutes.
    pub(crate) once: Option<&'a str>,
}

impl<'a> Publication<'a> {
    pub(crate) const fn of(
        topic: &'a Topic,
        events: &'a [&'a [u8]],
        compression: Compressible,
        once: Option<&'a str>,
    ) -> Self {
        Self { topic, events, compression, continues: Continues::Yes, once }
    }

    /// The event that finishes a topic.
    pub(crate) const fn last(topic: &'a Topic, events: &'a [&'a [u8]]) -> Self {
        let (compression, continues) = (Compressible::Yes, Continues::No);
        Self { topic, events, compression, continues, once: None }
    }

    /// How much memory it needs while it waits.
    pub(super) fn bytes(&self) -> usize {
        let key_bytes = self.once.map_or(0, str::len);
        let event_bytes = self.topic.name().len() + key_bytes + POST_BYTES;
        self.events.iter().map(|event| event.len() + event_bytes).sum()
    }
}

/// What an event needs besides its topic and key.
const POST_BYTES: usize = 64;

/// Why events got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    /// More than the store may get at once.
    TooLarge,
    /// All reactors have stopped.
    Closed,
    /// The topic has been finished.
    Finished,
}

impl<I: Inbox> Sequencer<I> {
    /// A sequencer in its first generation. `name` consists of letters and digits, and no other
    /// sequencer has the same one.
    pub(crate) fn new(name: &str) -> Self {
        Self { hub: Hub::new(name), once: Once::default() }
    }

    pub(crate) fn hub(&self) -> &Hub<I> {
        &self.hub
    }

    pub(crate) fn hub_mut(&mut self) -> &mut Hub<I> {
        &mut self.hub
    }

    /// Gives places to events, directly after each other, and passes them to all reactors that use
    /// the topic: all of them or, if one has no room, none. Costs nothing when nobody uses the topic
    /// and it keeps nothing.
    pub(crate) fn publish(
        &mut self,
        publication: Publication<'_>,
        now_ms: u64,
    ) -> Result<(), Refused> {
        let Publication { topic, events, compression, continues, once } = publication;
        if self.hub.is_empty() {
            return Err(Refused::Closed);
        }
        if events.is_empty() {
            return Ok(());
        }
        let name = topic.shared_name();
        if self.hub.end_of(topic, now_ms).is_some() {
            return match continues {
                Continues::Yes => Err(Refused::Finished),
                Continues::No => Ok(()),
            };
        }
        if !self.hub.touch(name, now_ms) {
            if !topic.options().keeps_events() {
                return Ok(());
            }
            self.hub.open(topic, now_ms);
        }
        if !self.hub.has_room_for(name) {
            return Err(Refused::Full);
        }
        if once.is_some_and(|key| !self.once.is_first(name, key, now_ms)) {
            return Ok(());
        }
        for event in events {
            let kind = (compression, continues);
            self.hub.place(self.hub.position() + 1, name, event, kind, now_ms);
        }
        Ok(())
    }

    /// A generation begins that has lost everything placed after `place`; nothing, if that is the
    /// last place. No place is given twice.
    pub(crate) fn begin_generation(&mut self, name: &str, place: u64) {
        self.hub.begin_generation(name, place);
    }

    /// The reactors, for a namespace whose events get their places elsewhere. `None` if some have got
    /// theirs here.
    pub(crate) fn take_hub(&mut self) -> Option<Hub<I>> {
        let is_untouched = self.hub.position() == FIRST_PLACE - 1;
        is_untouched.then(|| mem::replace(&mut self.hub, Hub::new("")))
    }
}
