//! Which routes inside of layers a request has been matched to.

/// Which [`Routes`](crate::Routes) a number belongs to.
///
/// A number alone would do for one layer. Where a layer is a router with layers of its own, the
/// routes of the outer one would take the inner one's number for theirs.
pub(crate) type RoutesId = u64;

/// The layers that a request is passing, and the routes that were matched inside them.
#[derive(Debug, Clone)]
pub(crate) struct Layers(Vec<(RoutesId, usize)>);

impl Layers {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The route that was matched among these routes, if the request is inside of their layer.
    pub(crate) fn route(&self, routes: RoutesId) -> Option<usize> {
        let mut layers = self.0.iter().rev();
        layers.find(|(id, _)| *id == routes).map(|(_, route)| *route)
    }

    /// The request enters a layer; returns what [`leave`](Self::leave) needs.
    pub(crate) fn enter(&mut self, routes: RoutesId, route: usize) -> usize {
        let depth = self.0.len();
        self.0.push((routes, route));
        depth
    }

    /// After a panic that an outer layer has caught, this also leaves those inside.
    pub(crate) fn leave(&mut self, depth: usize) {
        self.0.truncate(depth);
    }
}
