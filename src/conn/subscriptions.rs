//! Which topics a stream is subscribed to: mostly none or one, and then without heap memory.

/// A place in a topic's list of subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topic: u32,
    /// Moves when another subscriber leaves.
    pub(crate) place: u32,
}

/// The subscriptions of one stream, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Subscription, Standing),
    /// Boxed, so that streams with one topic or none stay small.
    Many(Box<(Vec<Subscription>, Standing)>),
}

/// Whether the ids of shared frames say how far a stream has come in all its topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// They do.
    #[default]
    Even,
    /// Perhaps not: what is due next may be older than what the stream has been given.
    Uneven,
    /// Perhaps not, and the client holds no id yet that speaks of its newest topic.
    Unmarked,
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

    /// The next frames need at least this much of a look.
    pub(crate) fn doubt(&mut self, standing: Standing) {
        self.set_standing(self.standing().max(standing));
    }

    pub(crate) fn find(&self, topic: u32) -> Option<Subscription> {
        self.as_slice().iter().copied().find(|subscription| subscription.topic == topic)
    }

    /// Adds a topic that is not among them yet.
    pub(crate) fn add(&mut self, subscription: Subscription) {
        debug_assert!(self.find(subscription.topic).is_none());
        *self = match std::mem::take(self) {
            Self::None => Self::One(subscription, Standing::Even),
            Self::One(one, standing) => Self::Many(Box::new((vec![one, subscription], standing))),
            Self::Many(mut many) => {
                many.0.push(subscription);
                Self::Many(many)
            }
        };
    }

    pub(crate) fn remove(&mut self, topic: u32) -> Option<Subscription> {
        let removed = self.find(topic)?;
        *self = match std::mem::take(self) {
            Self::None | Self::One(..) => Self::None,
            Self::Many(mut many) => {
                many.0.retain(|subscription| subscription.topic != topic);
                match many.0[..] {
                    [one] => Self::One(one, many.1),
                    _ => Self::Many(many),
                }
            }
        };
        Some(removed)
    }

    /// The topic has put this subscriber elsewhere in its list.
    pub(crate) fn moved(&mut self, topic: u32, place: u32) {
        let found = match self {
            Self::None => None,
            Self::One(one, _) => Some(one).filter(|one| one.topic == topic),
            Self::Many(many) => many.0.iter_mut().find(|one| one.topic == topic),
        };
        debug_assert!(found.is_some(), "a subscriber knows its topics");
        if let Some(subscription) = found {
            subscription.place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(topic: u32) -> Subscription {
        Subscription { topic, place: 10 * topic }
    }

    #[test]
    fn one_topic_costs_sixteen_bytes() {
        assert_eq!(size_of::<Subscriptions>(), 16);
    }

    #[test]
    fn topics_come_and_go_in_any_order() {
        let mut subscriptions = Subscriptions::None;
        for topic in 1..=3 {
            subscriptions.add(on(topic));
        }
        assert_eq!(subscriptions.as_slice(), [on(1), on(2), on(3)]);
        subscriptions.doubt(Standing::Unmarked);
        subscriptions.doubt(Standing::Uneven);
        assert_eq!(subscriptions.remove(2), Some(on(2)));
        assert_eq!(subscriptions.remove(2), None);
        subscriptions.moved(3, 7);
        assert_eq!(subscriptions.remove(1), Some(on(1)));
        assert!(matches!(
            subscriptions,
            Subscriptions::One(Subscription { topic: 3, place: 7 }, _)
        ));
        assert_eq!(subscriptions.standing(), Standing::Unmarked);
        subscriptions.remove(3);
        assert_eq!((subscriptions.as_slice(), subscriptions.standing()), (&[][..], Standing::Even));
    }
}
