//! The store of one process, and what joins it.

use std::time::Duration;

use starwheel::{Backplane, BackplaneError, BackplaneStats, Handle, Reactor, Router, Topic};

use crate::client::wait_for;

fn joined(backplane: &Backplane) -> (Reactor, Handle) {
    let mut reactor = Reactor::new(Router::new()).unwrap();
    reactor.join(backplane).unwrap();
    let handle = reactor.handle();
    (reactor, handle)
}

fn stats(handle: &Handle) -> BackplaneStats {
    handle.backplane().expect("it has joined")
}

/// Publishes so many events, and returns when the store has answered.
fn publish(handle: &Handle, count: usize) {
    for n in 0..count {
        handle.publish(&Topic::new("t"), n.to_string()).unwrap();
    }
    wait_for("they are stored", || (stats(handle).outbox_bytes == 0).then_some(()));
}

#[test]
fn a_reactor_that_joins_after_another_has_ended_is_not_taken_for_it() {
    let backplane = Backplane::memory();
    let (watching, watcher) = joined(&backplane);
    for count in [3, 1, 2] {
        let (ending, its_handle) = joined(&backplane);
        let (staying, handle) = joined(&backplane);
        publish(&its_handle, count);
        publish(&handle, count);
        drop(ending);
        let (_late, late_handle) = joined(&backplane);
        publish(&late_handle, count);
        assert_eq!((stats(&late_handle).duplicates, stats(&handle).duplicates), (0, 0));
        drop(staying);
    }
    wait_for("all have come", || (stats(&watcher).received == 3 * 6).then_some(()));
    drop(watching);
}

#[test]
fn a_store_whose_reactors_have_all_ended_takes_the_events_of_the_next_one() {
    let backplane = Backplane::memory();
    for count in [3, 2, 4, 1] {
        let (_reactor, handle) = joined(&backplane);
        publish(&handle, count);
        wait_for("they come back", || (stats(&handle).received as usize == count).then_some(()));
        assert_eq!(stats(&handle).duplicates, 0);
    }
}

#[test]
fn a_wrong_name_changes_nothing() {
    let mut reactor = Reactor::new(Router::new()).unwrap();
    for name in ["", "a b", "{a}", &"a".repeat(101)] {
        let refused = reactor.join(&Backplane::memory().namespace(name));
        assert!(matches!(refused, Err(BackplaneError::Namespace)), "{name}: {refused:?}");
    }
    reactor.join(&Backplane::memory()).unwrap();
    let again = reactor.join(&Backplane::memory());
    assert!(matches!(again, Err(BackplaneError::JoinedAlready)), "{again:?}");
    reactor.turn(Some(Duration::ZERO)).unwrap();
}
