//! The two series of frames: that of one reactor, and that of a namespace.
//!
//! A topic's frames are numbered in one of them. The numbers of the two say nothing of each other,
//! so a stream with topics of both has a place in each.

/// Where the frames of a topic get their sequence from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Series {
    /// From this reactor.
    #[default]
    Local,
    /// From the sequencer of the namespace: the same frame has the same sequence everywhere.
    Spanning,
}

/// A sequence in each series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) local: u64,
    pub(crate) spanning: u64,
}

impl Progress {
    /// After every frame.
    pub(crate) const END: Self = Self { local: u64::MAX, spanning: u64::MAX };

    pub(crate) const fn of(self, series: Series) -> u64 {
        match series {
            Series::Local => self.local,
            Series::Spanning => self.spanning,
        }
    }

    /// Moves to this sequence in its series.
    pub(crate) const fn move_to(&mut self, series: Series, sequence: u64) {
        match series {
            Series::Local => self.local = sequence,
            Series::Spanning => self.spanning = sequence,
        }
    }
}
