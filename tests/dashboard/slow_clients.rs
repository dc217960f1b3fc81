//! Slow clients: who they are, found by a walk in pieces.

use starwheel::{
    KeepAlive, Router, Sse,
    testing::{Client, Simulation},
};

use crate::{
    last_snapshot, look, snapshots,
    story::{faults, ms, secs},
};

fn serving() -> Simulation {
    let router = Router::new()
        .get("/ops", starwheel::dashboard())
        .get("/quiet", |_req, _cx| Sse::new().keep_alive(KeepAlive::Off))
        .get("/ticks/{user}", |req, _cx| {
            let user = req.param("user").unwrap_or_default().to_owned();
            Sse::every(ms(100), |stream| stream.send("x".repeat(1_000))).tag(user)
        });
    let mut simulation = Simulation::new(router);
    // Two ticks, and a client that does not read is noticed.
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 2_500));
    simulation
}

/// A client whose socket takes nothing from now on.
fn stalled(simulation: &mut Simulation, user: &str) -> Client {
    let client = simulation.get(&format!("/ticks/{user}"));
    simulation.stall(client);
    client
}

#[test]
fn a_slow_client_is_named_within_two_seconds() {
    let mut simulation = serving();
    let viewer = look(&mut simulation);
    simulation.get("/ticks/ben");
    stalled(&mut simulation, "anna");
    simulation.advance(secs(2));
    let worker = &last_snapshot(&simulation, viewer)["workers"][0];
    assert_eq!(worker["slow_clients"], 1);
    let slow = &worker["slow"][0];
    assert_eq!((&slow["route"], &slow["tag"]), (&"/ticks/{user}".into(), &"anna".into()));
    assert!(slow["queued_bytes"].as_u64().unwrap() >= 500, "{slow}");
    assert!(slow["stuck_ms"].as_u64().unwrap() >= 600, "{slow}");
    assert!(slow["age_ms"].as_u64().unwrap() >= 1_000, "{slow}");
}

#[test]
fn a_client_that_reads_again_is_no_longer_named() {
    let mut simulation = serving();
    let viewer = look(&mut simulation);
    let anna = stalled(&mut simulation, "anna");
    simulation.advance(secs(2));
    simulation.resume(anna);
    simulation.advance(secs(2));
    let worker = &last_snapshot(&simulation, viewer)["workers"][0];
    assert!(worker.get("slow").is_none() && worker.get("slow_clients").is_none(), "{worker}");
}

#[test]
fn of_many_the_twenty_that_are_stuck_longest_are_named() {
    let mut simulation = serving();
    let viewer = look(&mut simulation);
    for user in 0..30 {
        stalled(&mut simulation, &user.to_string());
        simulation.advance(ms(100));
    }
    simulation.advance(secs(2));
    let worker = &last_snapshot(&simulation, viewer)["workers"][0];
    assert_eq!(worker["slow_clients"], 30);
    let tags: Vec<_> =
        worker["slow"].as_array().unwrap().iter().map(|it| it["tag"].as_str().unwrap()).collect();
    let oldest: Vec<_> = (0..20).map(|user| user.to_string()).collect();
    assert_eq!(tags, oldest);
}

/// 1,024 in a turn, 10 ms apart: 20,000 connections are 20 pieces, which take as many turns.
#[test]
fn no_turn_walks_over_all_connections() {
    let mut simulation = serving();
    simulation.crowd(20_000, "GET /quiet HTTP/1.1");
    simulation.advance(secs(1));
    stalled(&mut simulation, "anna");
    simulation.advance(secs(1));
    let viewer = look(&mut simulation);
    // The client of the last slot is not found by the first snapshots.
    simulation.advance(ms(100));
    assert!(last_snapshot(&simulation, viewer)["workers"][0].get("slow").is_none());
    let before = simulation.turns();
    simulation.advance(ms(100));
    let pieces = simulation.turns() - before;
    simulation.advance(secs(2));
    let found = snapshots(&simulation, viewer);
    let number = found.iter().position(|it| it["workers"][0].get("slow").is_some());
    assert_eq!(number, Some(1), "in the second snapshot: {} of them", found.len());
    assert!((10..=14).contains(&pieces), "{pieces} turns in 100 ms, with a tick in one of them");
}
