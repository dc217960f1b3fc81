//! The topics of one stream: usually none or one, which needs no heap memory.

use super::TopicIndex;

/// A place in a topic's list of subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topic: TopicIndex,
    /// Changes when another subscriber leaves.
    pub(crate) place: u32,
}

/// The subscriptions of one stream, sorted by topic for fast lookup.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Subscription, Standing),
    /// Boxed, so that streams with one topic or none stay small.
    Many(Box<(Vec<Subscription>, Standing)>),
}

/// Whether the ids of shared frames give a stream's position in all its topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// They do.
    #[default]
    Even,
    /// Perhaps not: the next due frame may be older than what the stream has been given.
    Uneven,
    /// Perhaps not, and the client does not yet hold an id that covers its newest topic.
    Unmarked,
    /// It must have no frames until the past of a further topic has come.
    Waiting,
}

impl Subscriptions {
    pub(crate) fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one, _) => std::slice::from_ref(one),
            Self::Many(many) => &many.0,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::None => Standing::Even,
            Self::One(_, standing) => *standing,
            Self::Many(many) => many.1,
        }
    }

    pub(crate) fn set_standing(&mut self, standing: Standing) {
        match self {
            Self::None => {}
            Self::One(_, stored) => *stored = standing,
            Self::Many(many) => many.1 = standing,
        }
    }

    /// The next frames need at least this check.
    pub(crate) fn doubt(&mut self, standing: Standing) {
        self.set_standing(self.standing().max(standing));
    }

    pub(crate) fn find(&self, topic: TopicIndex) -> Option<Subscription> {
        self.as_slice().get(self.place_of(topic).ok()?).copied()
    }

    /// The index of a topic, or where it would be inserted.
    fn place_of(&self, topic: TopicIndex) -> Result<usize, usize> {
        self.as_slice().binary_search_by_key(&topic, |subscription| subscription.topic)
    }

    /// Adds a topic that is not in the list yet.
    pub(crate) fn add(&mut self, subscription: Subscription) {
        let Err(place) = self.place_of(subscription.topic) else {
            return debug_assert!(false, "a stream has a topic once");
        };
        let mut many = match std::mem::take(self) {
            Self::None => return *self = Self::One(subscription, Standing::Even),
            Self::One(one, standing) => Box::new((vec![one], standing)),
            Self::Many(many) => many,
        };
        many.0.insert(place, subscription);
        *self = Self::Many(many);
    }

    pub(crate) fn remove(&mut self, topic: TopicIndex) -> Option<Subscription> {
        let place = self.place_of(topic).ok()?;
        match std::mem::take(self) {
            Self::None => None,
            Self::One(one, _) => Some(one),
            Self::Many(mut many) => {
                let removed = many.0.remove(place);
                *self = match many.0[..] {
                    [one] => Self::One(one, many.1),
                    _ => Self::Many(many),
                };
                Some(removed)
            }
        }
    }

    /// The topic has moved this subscriber in its list.
    pub(crate) fn moved(&mut self, topic: TopicIndex, place: u32) {
        let Ok(at) = self.place_of(topic) else {
            return debug_assert!(false, "a subscriber knows its topics");
        };
        match self {
            Self::None => {}
            Self::One(one, _) => one.place = place,
            Self::Many(many) => many.0[at].place = place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: usize) -> TopicIndex {
        TopicIndex::new(number)
    }

    fn on(number: usize) -> Subscription {
        Subscription { topic: topic(number), place: 10 * number as u32 }
    }

    #[test]
    fn one_topic_costs_sixteen_bytes() {
        assert_eq!(size_of::<Subscriptions>(), 16);
    }

    #[test]
    fn topics_come_and_go_in_any_order() {
        let mut subscriptions = Subscriptions::None;
        for number in [3, 1, 2] {
            subscriptions.add(on(number));
        }
        assert_eq!(subscriptions.as_slice(), [on(1), on(2), on(3)]);
        subscriptions.doubt(Standing::Unmarked);
        subscriptions.doubt(Standing::Uneven);
        assert_eq!(subscriptions.remove(topic(2)), Some(on(2)));
        assert_eq!(subscriptions.remove(topic(2)), None);
        subscriptions.moved(topic(3), 7);
        assert_eq!(subscriptions.remove(topic(1)), Some(on(1)));
        let moved = Subscription { topic: topic(3), place: 7 };
        assert!(matches!(subscriptions, Subscriptions::One(only, _) if only == moved));
        assert_eq!(subscriptions.standing(), Standing::Unmarked);
        subscriptions.remove(topic(3));
        assert_eq!((subscriptions.as_slice(), subscriptions.standing()), (&[][..], Standing::Even));
    }
}
