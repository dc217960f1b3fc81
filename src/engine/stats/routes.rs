//! [`RouteStats`]: figures of one route.

use std::{sync::Arc, time::Duration};

use super::{closed::ClosedCounts, table::Table};
use crate::{conn::RouteIndex, error::CloseReason};

/// Figures of one route: the requests and streams that matched the same pattern.
///
/// Routes are told apart by the pattern of the [`Router`](crate::Router), such as `/rooms/{id}`, and
/// not by the path, which a client chooses. The first 100 patterns that are requested are listed. All
/// others count as `other`, and so does what no pattern matched: a fallback, a bare closure as
/// handler. Methods are not told apart.
///
/// ```
/// use starwheel::{Context, Response};
/// /// The routes that keep the thread busy, in percent of the time in closures.
/// fn busy(cx: &Context<'_>) -> Response {
///     let all = cx.stats().call_nanos.max(1);
///     let lines = cx.stats().routes().map(|(pattern, route)| {
///         format!("{pattern}: {} %, {} streams\n", 100 * route.call_nanos / all, route.streams)
///     });
///     Response::text(lines.collect::<String>())
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// Requests passed to the handler. Counted when it has returned: only then is the route known.
    pub requests: u64,
    /// Gauge: open streams, from their start until their end is decided.
    pub streams: u64,
    /// Streams opened.
    pub opened: u64,
    /// Streams ended, by reason.
    pub closed: ClosedCounts,
    /// How long streams were open that have ended.
    pub durations: DurationHistogram,
    /// Time in the closures of this route, in nanoseconds: its handlers, and updaters and hooks of
    /// its streams. Timers, updaters of topics and [`Handle::run`](crate::Handle::run) belong to no
    /// route: they are the rest of [`Stats::call_nanos`](crate::Stats::call_nanos), which says how exact it is.
    pub call_nanos: u64,
}

/// A histogram of durations, from seconds to days. [`DurationHistogram::BOUNDS`] are the upper bounds
/// in seconds; the last count has none. Exact to a tenth of a second.
///
/// ```
/// use starwheel::DurationHistogram;
/// let histogram = DurationHistogram::default();
/// assert_eq!((histogram.count(), histogram.sum().as_secs()), (0, 0));
/// assert_eq!(DurationHistogram::BOUNDS[2], 15);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum_ms: u64,
}

impl DurationHistogram {
    /// Inclusive upper bounds of the counts, in seconds: up to a day.
    pub const BOUNDS: [u64; 9] = [1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400];

    /// Number of durations for each bound; the last is the number above all bounds.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_millis(self.sum_ms)
    }

    fn add(&mut self, duration: Duration) {
        let ms = crate::time::millis(duration);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.counts[Self::BOUNDS.partition_point(|bound| bound * 1_000 < ms)] += 1;
    }

    fn add_all(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, more)| *sum += more);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }
}

/// What happened to the requests and streams of a route.
impl Table<RouteStats> {
    /// A table whose first place is that of all routes that are not listed.
    pub(in crate::engine) fn begin_routes(&mut self) {
        self.set(OTHER, &OTHER_NAME.into(), RouteStats::default());
    }

    /// A route has got its number. It is listed if there is a place.
    pub(in crate::engine) fn name(&mut self, route: RouteIndex, pattern: &Arc<str>) {
        let place = place(Some(route));
        if place != OTHER {
            self.set(place, pattern, RouteStats::default());
        }
    }

    #[inline]
    pub(in crate::engine) fn requested(&mut self, route: Option<RouteIndex>) {
        self.note(route, |it| it.requests += 1);
    }

    #[inline]
    pub(in crate::engine) fn opened(&mut self, route: Option<RouteIndex>) {
        self.note(route, |it| {
            it.streams += 1;
            it.opened += 1;
        });
    }

    /// The end of a stream is decided.
    #[inline]
    pub(in crate::engine) fn ended(&mut self, route: Option<RouteIndex>) {
        self.note(route, |it| it.streams -= 1);
    }

    /// A stream that was open for so long has ended.
    #[inline]
    pub(in crate::engine) fn closed(
        &mut self,
        route: Option<RouteIndex>,
        reason: &CloseReason,
        after: Duration,
    ) {
        self.note(route, |it| {
            it.closed.count(reason);
            it.durations.add(after);
        });
    }

    /// A closure of the route has run.
    #[inline]
    pub(in crate::engine) fn called(&mut self, route: Option<RouteIndex>, nanos: u64) {
        self.note(route, |it| it.call_nanos += nanos);
    }

    #[inline]
    fn note(&mut self, route: Option<RouteIndex>, happened: impl FnOnce(&mut RouteStats)) {
        match self.change(place(route)) {
            Some(figures) => happened(figures),
            None => debug_assert!(false, "a route gets its place with its first request"),
        }
    }
}

impl RouteStats {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { requests, streams, opened, closed, durations, call_nanos } = self;
        *requests += other.requests;
        *streams += other.streams;
        *opened += other.opened;
        closed.add(&other.closed);
        durations.add_all(&other.durations);
        *call_nanos += other.call_nanos;
    }
}

/// The place of a route in the table: of those with a pattern the first [`ROUTES_MAX`] have their own.
#[inline]
fn place(route: Option<RouteIndex>) -> usize {
    let place = route.map_or(OTHER, |route| route.number() + 1);
    if place <= ROUTES_MAX { place } else { OTHER }
}

const OTHER: usize = 0;
const OTHER_NAME: &str = "other";
/// Routes that are listed by name.
const ROUTES_MAX: usize = super::table::PLACES - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_and_including_their_bound() {
        let mut histogram = DurationHistogram::default();
        for ms in [0, 1_000, 1_001, 5_000, 86_400_000, 86_400_001] {
            histogram.add(Duration::from_millis(ms));
        }
        assert_eq!(histogram.counts(), [2, 2, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum().as_millis()), (6, 172_807_002));
    }
}
