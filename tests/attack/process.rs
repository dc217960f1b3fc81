//! Signals to the process: stopped, continued, drained, forced.

use std::{io::ErrorKind, iter, net::TcpStream, thread, time::Duration, time::Instant};

use crate::{
    client::{Client, wait_for},
    testbed::{Neighbour, Signal, Testbed, since_1970, tick_time},
};

#[test]
fn a_stopped_and_continued_server_ticks_once_late_and_then_in_its_old_phase() {
    let testbed = Testbed::start(&[]);
    let mut client = Client::streaming(testbed.address, "/tick?ms=100");
    let mut ticks: Vec<Duration> = Vec::new();
    ticks.extend(iter::repeat_with(|| tick_time(&client.data())).take(10));
    testbed.signal(Signal::Stop);
    thread::sleep(Duration::from_secs(2));
    let continued = since_1970();
    testbed.signal(Signal::Continue);
    while ticks.iter().filter(|tick| **tick >= continued).count() < 12 {
        ticks.push(tick_time(&client.data()));
    }
    let first_late = ticks.iter().position(|tick| *tick >= continued).unwrap();
    let (before, after) = ticks.split_at(first_late);
    // The late one, then one per period: however slow the machine is, never more.
    let periods = (after[11] - after[0]).as_nanos().div_ceil(100_000_000) as usize;
    assert!(11 <= periods + 1, "12 ticks in {periods} periods: {after:?}");
    // A tick is late by what the machine makes of it, but never early: the earliest tells the phase.
    let phase = |ticks: &[Duration]| {
        let offset = |tick: &Duration| (*tick - ticks_origin(before)).as_millis() as i64 % 100;
        ticks.iter().map(|tick| (offset(tick) + 50) % 100 - 50).min().unwrap()
    };
    let moved = phase(&after[1..]) - phase(before);
    assert!(moved.abs() < 25, "the phase moved by {moved} ms: {before:?} {after:?}");
}

#[test]
fn sigterm_under_load_with_stuck_readers_ends_within_the_window() {
    let mut testbed = Testbed::start(&["--drain-ms", "500"]);
    let stuck: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    let mut reading: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=10")).collect();
    let idle: Vec<_> = (0..10).map(|_| Client::connect(testbed.address)).collect();
    let mut half_way = Client::connect(testbed.address);
    half_way.send("GET /hello HTTP/1.1\r\n");
    Neighbour::of(&testbed).ticks_on();
    let start = Instant::now();
    testbed.signal(Signal::Term);
    reading.iter_mut().for_each(|client| while client.event().is_some() {});
    assert_eq!(testbed.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop((stuck, idle));
}

#[test]
fn a_second_sigterm_forces_the_end() {
    let mut testbed = Testbed::start(&["--drain-ms", "3600000"]);
    let mut streams: Vec<_> =
        (0..2).map(|_| Client::streaming(testbed.address, "/tick?ms=20")).collect();
    testbed.signal(Signal::Term);
    wait_for("nobody listens", || {
        let error = TcpStream::connect(testbed.address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    streams[1].data(); // Its moment has not come.
    assert!(testbed.is_running());
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    streams.iter_mut().for_each(|client| while client.event().is_some() {});
}

#[test]
fn sigterm_tells_each_stream_ahead_when_to_come_back() {
    let mut testbed = Testbed::start(&["--drain-ms", "1000"]);
    let targets = ["/idle", "/tick?ms=50", "/topic"];
    let streams = targets.iter().cycle().take(12);
    let mut streams: Vec<_> =
        streams.map(|target| Client::streaming(testbed.address, target)).collect();
    testbed.signal(Signal::Term);
    let mut retries_ms: Vec<u64> = Vec::new();
    for client in &mut streams {
        let rest = client.rest();
        let told: Vec<&str> = rest.lines().filter_map(|it| it.strip_prefix("retry: ")).collect();
        assert_eq!(told.len(), 1, "{rest}");
        retries_ms.push(told[0].parse().unwrap());
    }
    assert_eq!(testbed.exit_code(), Some(0));
    assert!(retries_ms.iter().all(|retry| (1_000..=4_000).contains(retry)), "{retries_ms:?}");
    retries_ms.sort_unstable();
    retries_ms.dedup();
    assert_eq!(retries_ms.len(), streams.len(), "each has a time of its own: {retries_ms:?}");
}

#[test]
fn a_second_sigterm_does_not_wait_for_stuck_readers() {
    let mut testbed = Testbed::start(&["--drain-ms", "3600000"]);
    let stuck: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    Neighbour::of(&testbed).ticks_on();
    testbed.signal(Signal::Term);
    wait_for("nobody listens", || TcpStream::connect(testbed.address).err());
    assert!(testbed.is_running());
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    drop(stuck);
}

#[test]
fn two_workers_share_the_port_and_drain_together() {
    let mut testbed = Testbed::with_workers(2, &["--drain-ms", "300"]);
    wait_for("both listen", || (testbed.listeners() == 2).then_some(()));
    // Some are the second worker's, and tell by their ticks that it runs.
    let mut streams: Vec<_> =
        (0..60).map(|_| Client::streaming(testbed.address, "/tick?ms=20")).collect();
    for _ in 0..5 {
        streams.iter_mut().for_each(|client| drop(client.data()));
    }
    for _ in 0..60 {
        assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
    }
    testbed.signal(Signal::Term);
    streams.iter_mut().for_each(|client| while client.event().is_some() {});
    assert_eq!(testbed.exit_code(), Some(0));
}

/// Where phases are counted from.
fn ticks_origin(before: &[Duration]) -> Duration {
    before[0] - Duration::from_millis(100)
}
