//! Signals to the process: stopped, continued, drained, forced.

use std::{
    io::{ErrorKind, Read, Write},
    iter,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    client::{Client, get, wait_for},
    testbed::{Neighbour, Signal, Testbed, since_1970, tick_time},
};

#[test]
fn a_stopped_and_continued_server_ticks_once_late_on_each_stream_and_loses_none() {
    let testbed = Testbed::start(&[]);
    let mut clients: Vec<_> =
        (0..50).map(|_| Client::streaming(testbed.address, "/tick?ms=100")).collect();
    clients.iter_mut().for_each(|client| drop(client.data()));
    let continued = testbed.stops_for(Duration::from_secs(2));
    for client in &mut clients {
        let ticks = iter::repeat_with(|| tick_time(&client.data()));
        let ticks: Vec<_> = ticks.skip_while(|tick| *tick < continued).take(12).collect();
        // The late one, then at most one in each period, on a busy machine fewer: between the
        // first and the last there are ten whole periods.
        let span = ticks[11] - ticks[0];
        assert!(span > Duration::from_millis(1_000), "12 ticks in {span:?}: {ticks:?}");
    }
    assert_eq!(testbed.figure("streams"), 50);
    assert_eq!(testbed.figure("streams_closed_total"), 0);
    assert!(testbed.figure("ticks_missed_total") > 50 * 10);
}

#[test]
fn a_stopped_and_continued_server_ticks_on_in_its_old_phase() {
    let testbed = Testbed::start(&[]);
    let mut client = Client::streaming(testbed.address, "/tick?ms=100");
    let before = phase_ms(&mut client);
    client.data();
    testbed.stops_for(Duration::from_millis(2_050)); // Half a period beside the phase.
    client.data();
    let moved = (phase_ms(&mut client) - before + 150) % 100 - 50;
    assert!(moved.abs() < 25, "the phase has moved by {moved} ms");
}

#[test]
fn sigterm_under_load_with_stuck_readers_ends_within_the_window() {
    let testbed = Testbed::start(&["--drain-ms", "500"]);
    let stuck: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    let mut reading: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=10")).collect();
    let idle: Vec<_> = (0..10).map(|_| Client::connect(testbed.address)).collect();
    let silent: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=10")).collect();
    silent.iter().for_each(Client::cut_cable);
    let mut half_way = Client::connect(testbed.address);
    half_way.send("GET /hello HTTP/1.1\r\n");
    let has_ended = &AtomicBool::new(false);
    // Moved in, so that a panic ends the process, and with it the threads.
    thread::scope(move |scope| {
        let address = testbed.address;
        let mut testbed = testbed;
        for path in ["/hello", "/tick?ms=1", "/topic"] {
            // They connect and close without a pause, as long as the server accepts them.
            scope.spawn(move || {
                while !has_ended.load(Ordering::Relaxed) {
                    let Ok(mut socket) = TcpStream::connect(address) else { break };
                    let _refused_meanwhile = socket.write_all(get(path).as_bytes());
                    let _reset_meanwhile = socket.read(&mut [0; 512]);
                }
            });
        }
        Neighbour::of(&testbed).ticks_on();
        testbed.signal(Signal::Term);
        reading.iter_mut().for_each(|client| while client.event().is_some() {});
        // Any other timeout is longer than a test's patience.
        let code = testbed.exit_code();
        has_ended.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0));
        drop((stuck, idle, silent));
    });
}

#[test]
fn a_second_sigterm_forces_the_end() {
    let mut testbed = Testbed::start(&["--drain-ms", "3600000"]);
    let mut streams: Vec<_> =
        (0..2).map(|_| Client::streaming(testbed.address, "/tick?ms=20")).collect();
    let stuck: Vec<_> =
        (0..10).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    testbed.signal(Signal::Term);
    wait_for("the listener is closed", || {
        let error = TcpStream::connect(testbed.address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    streams[1].data(); // Its moment has not come.
    assert!(testbed.is_running());
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    streams.iter_mut().for_each(|client| while client.event().is_some() {});
    drop(stuck);
}

#[test]
fn sigterm_sends_each_stream_a_reconnect_delay_first() {
    let mut testbed = Testbed::start(&["--drain-ms", "1000"]);
    let targets = ["/idle", "/tick?ms=50", "/topic"];
    let streams = targets.iter().cycle().take(12);
    let mut streams: Vec<_> =
        streams.map(|target| Client::streaming(testbed.address, target)).collect();
    testbed.signal(Signal::Term);
    let mut retries_ms: Vec<u64> = Vec::new();
    for client in &mut streams {
        let rest = client.rest();
        let delays: Vec<&str> = rest.lines().filter_map(|it| it.strip_prefix("retry: ")).collect();
        assert_eq!(delays.len(), 1, "{rest}");
        retries_ms.push(delays[0].parse().unwrap());
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
    wait_for("the listener is closed", || TcpStream::connect(testbed.address).err());
    assert!(testbed.is_running());
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    drop(stuck);
}

#[test]
fn two_workers_share_the_port_and_drain_together() {
    let mut testbed = Testbed::with_workers(2, &["--drain-ms", "300"]);
    wait_for("both listen", || (testbed.listeners() == 2).then_some(()));
    // Some belong to the second worker, and show by their ticks that it runs.
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

/// The phase of a stream in a period of 100 ms. Ticks are late by random amounts, depending on the
/// machine; those on time agree, so it waits for ten that do.
fn phase_ms(client: &mut Client) -> i64 {
    let mut seen = [0; 100];
    loop {
        let tick_ms = tick_time(&client.data()).as_millis() as usize % 100;
        seen[tick_ms] += 1;
        let near = (tick_ms + 95)..(tick_ms + 105);
        if near.map(|ms| seen[ms % 100]).sum::<u32>() >= 10 {
            return tick_ms as i64;
        }
    }
}

impl Testbed {
    /// Stops the process for a while and returns when it was continued.
    fn stops_for(&self, pause: Duration) -> Duration {
        self.signal(Signal::Stop);
        thread::sleep(pause);
        let continued = since_1970();
        self.signal(Signal::Continue);
        continued
    }
}
