//! What it costs: nothing while nobody looks.

use starwheel::testing::Simulation;

use crate::{
    look, routes,
    story::{HOUR, secs},
};

#[test]
fn nothing_happens_while_nobody_looks() {
    let mut simulation = Simulation::new(routes());
    let before = simulation.turns();
    simulation.advance(HOUR);
    assert_eq!(simulation.turns() - before, 2, "those of this call");
}

#[test]
fn nothing_happens_once_the_last_viewer_has_left() {
    let mut simulation = Simulation::new(routes());
    let viewer = look(&mut simulation);
    simulation.advance(secs(10));
    simulation.reset(viewer);
    simulation.advance(secs(130));
    let before = simulation.turns();
    simulation.advance(HOUR);
    assert_eq!(simulation.turns() - before, 2, "those of this call");
    assert_eq!(simulation.stats().streams, 0);
}

/// The walk is one piece, in the turn of the snapshot.
#[test]
fn a_small_server_is_woken_once_a_second() {
    let mut simulation = Simulation::new(routes());
    look(&mut simulation);
    simulation.advance(secs(2));
    let before = simulation.turns();
    simulation.advance(secs(100));
    assert!(
        (100..=110).contains(&(simulation.turns() - before)),
        "{}",
        simulation.turns() - before
    );
}
