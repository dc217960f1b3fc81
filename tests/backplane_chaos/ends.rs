//! Rooms that are finished, and what becomes of their clients.

use std::time::Duration;

use starwheel::testing::BodyEnd;

use crate::scenario::{Chaos, Visit};

impl Chaos {
    /// The stream or its connection has ended.
    pub(crate) fn is_over(&self, Visit { at, client, .. }: Visit) -> bool {
        let has_ended = self.machines[at].response(client).end != BodyEnd::Open;
        has_ended || !self.machines[at].is_open(client)
    }

    /// The id of a client that is told to stay away speaks of the end of all rooms of its request.
    pub(crate) fn check_that_it_may_stay_away(&self, traveller: usize) {
        let journey = &self.travellers[traveller].journey;
        for progress in &journey.rooms[..journey.at_once] {
            let room = &self.log.rooms[progress.room];
            let id = self.log.id_in(&journey.id, room).expect("an id of the namespace");
            assert!(room.had_ended_at(id.place), "{} goes on: {}", room.number, journey.tell());
        }
    }

    /// A stream ends if all of its rooms have, and its client stays away.
    pub(crate) fn check_that_it_ends(&mut self, traveller: usize, Visit { at, client, .. }: Visit) {
        let journey = &self.travellers[traveller].journey;
        let mut rooms = journey.rooms.iter().map(|it| &self.log.rooms[it.room]);
        let is_unclear = rooms.clone().any(|room| room.has_lost_its_end());
        if is_unclear || !self.expected.remembers_ends {
            return;
        }
        let (is_over, story) = (rooms.all(|room| room.has_ended()), journey.tell());
        let answer = self.machines[at].response(client);
        assert_eq!(answer.end != BodyEnd::Open, is_over, "the end of the stream: {story}");
        if !is_over {
            return;
        }
        // A worker learns of a topic with the first client that asks for it.
        for _ in 0..20 {
            self.visit(traveller);
            self.machines.advance(Duration::from_millis(100));
            let Some(visit) = self.travellers[traveller].visit else { return };
            let answer = self.machines[visit.at].response(visit.client);
            let received = self.machines[visit.at].received(visit.client);
            self.read(traveller, &received, visit);
            if answer.status == 204 {
                return;
            }
            let story = self.travellers[traveller].journey.tell();
            assert_eq!(answer.end, BodyEnd::Complete, "{story}");
        }
        panic!("it comes again and again: {}", self.travellers[traveller].journey.tell());
    }

    /// A finished room gets no more places while the store remembers its end.
    pub(crate) fn check_ends(&self) {
        for room in self.log.rooms.iter().filter(|_| self.expected.remembers_ends) {
            let kept: Vec<_> = room.published.iter().filter(|it| !it.is_undone()).collect();
            let end = kept.iter().position(|it| it.is_last);
            assert!(end.is_none_or(|end| end + 1 == kept.len()), "after the end: {room:?}");
        }
    }
}
