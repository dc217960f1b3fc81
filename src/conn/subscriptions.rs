//! Which topics a stream is subscribed to: mostly none or one, and then without heap memory.

use super::TopicIndex;

/// A place in a topic's list of subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topic: TopicIndex,
    /// Moves when another subscriber leaves.
    pub(crate) place: u32,
}

/// The subscriptions of one stream, sorted by topic, so that one of very many is found quickly.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    // Boxed once more, so that streams with one topic or none stay small.
    #[expect(clippy::box_collection, reason = "sixteen bytes in every stream")]
    Many(Box<Vec<Subscription>>),
}

impl Subscriptions {
    pub(crate) fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn find(&self, topic: TopicIndex) -> Option<Subscription> {
        self.as_slice().get(self.place_of(topic).ok()?).copied()
    }

    /// Where a topic is among them, or where it would be.
    fn place_of(&self, topic: TopicIndex) -> Result<usize, usize> {
        self.as_slice().binary_search_by_key(&topic, |subscription| subscription.topic)
    }

    /// Adds a topic that is not among them yet.
    pub(crate) fn add(&mut self, subscription: Subscription) {
        let Err(place) = self.place_of(subscription.topic) else {
            return debug_assert!(false, "a stream has a topic once");
        };
        let mut many = match std::mem::take(self) {
            Self::None => return *self = Self::One(subscription),
            Self::One(one) => Box::new(vec![one]),
            Self::Many(many) => many,
        };
        many.insert(place, subscription);
        *self = Self::Many(many);
    }

    pub(crate) fn remove(&mut self, topic: TopicIndex) -> Option<Subscription> {
        let place = self.place_of(topic).ok()?;
        match std::mem::take(self) {
            Self::None => None,
            Self::One(one) => Some(one),
            Self::Many(mut many) => {
                let removed = many.remove(place);
                *self = match many.as_slice() {
                    [one] => Self::One(*one),
                    _ => Self::Many(many),
                };
                Some(removed)
            }
        }
    }

    /// The topic has put this subscriber elsewhere in its list.
    pub(crate) fn moved(&mut self, topic: TopicIndex, place: u32) {
        let Ok(at) = self.place_of(topic) else {
            return debug_assert!(false, "a subscriber knows its topics");
        };
        match self {
            Self::None => {}
            Self::One(one) => one.place = place,
            Self::Many(many) => many[at].place = place,
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
        assert_eq!(subscriptions.remove(topic(2)), Some(on(2)));
        assert_eq!(subscriptions.remove(topic(2)), None);
        subscriptions.moved(topic(3), 7);
        assert_eq!(subscriptions.remove(topic(1)), Some(on(1)));
        let moved = Subscription { topic: topic(3), place: 7 };
        assert!(matches!(subscriptions, Subscriptions::One(only) if only == moved));
        subscriptions.remove(topic(3));
        assert_eq!(subscriptions.as_slice(), []);
    }
}
