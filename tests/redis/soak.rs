//! Random faults, one after the other, for a long time.
//!
//! `cargo test --package starwheel-tests --test redis -- --ignored soak --nocapture` takes ten minutes;
//! `STARWHEEL_MINUTES` sets how many.

use std::{
    env, fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    drill::Drill,
    random::Random,
    server::{Redis, is_missing},
};

#[test]
#[ignore = "it takes ten minutes"]
fn soak() {
    if is_missing() {
        return;
    }
    let minutes = env::var("STARWHEEL_MINUTES").map_or(10, |it| it.parse().expect("a number"));
    let options = ["--save", "", "--appendonly", "yes", "--enable-debug-command", "yes"];
    // Full soon, so that memory tells something.
    let mut drill = Drill::start(Redis::with(&options), &[("LOG", "2000000"), ("HISTORY", "500")]);
    let mut random = Random::new(18);
    let (end, warm) = (Duration::from_secs(60 * minutes), Duration::from_secs(30 * minutes));
    let (start, mut before) = (Instant::now(), None);
    let mut faults = [0; FAULTS.len()];
    while start.elapsed() < end {
        let fault = random.below(FAULTS.len());
        faults[fault] += 1;
        FAULTS[fault].1(&mut drill);
        drill.go_on(Duration::from_millis(random.between(500, 3_000)));
        if before.is_none() && start.elapsed() >= warm {
            before = Some(resident_kb(&drill));
        }
    }
    let (before, after) = (before.expect("it was warm"), resident_kb(&drill));
    let names = FAULTS.map(|(name, _)| name);
    eprintln!("{:?}", names.iter().zip(faults).collect::<Vec<_>>());
    eprintln!("resident kB of Redis and the publishing machine: {before:?}, at the end {after:?}");
    drill.end("a soak").has_ticked();
    for (before, after) in before.into_iter().zip(after) {
        assert!(after < before + before / 2 + 8_192, "{before} kB has become {after} kB");
    }
}

type Fault = (&'static str, fn(&mut Drill));

const FAULTS: [Fault; 8] = [
    ("kill", |drill| {
        drill.redis.kill();
        drill.go_on(Duration::from_secs(1));
        drill.redis.start_again();
    }),
    ("stop", |drill| {
        drill.redis.signal(Signal::STOP);
        drill.go_on(Duration::from_millis(2_500));
        drill.redis.signal(Signal::CONT);
    }),
    ("cut", |drill| {
        drill.redis.cli(&["client", "kill", "type", "normal"]);
    }),
    ("slow", |drill| {
        drill.redis.cli(&["debug", "sleep", "0.5"]);
    }),
    ("full", |drill| {
        drill.redis.cli(&["config", "set", "maxmemory", "1"]);
        drill.go_on(Duration::from_millis(500));
        drill.redis.cli(&["config", "set", "maxmemory", "0"]);
    }),
    ("script gone", |drill| {
        drill.redis.cli(&["script", "flush"]);
    }),
    ("machine replaced", |drill| drill.replace_second()),
    ("machine stopped", |drill| {
        let second = drill.second.as_ref().expect("it runs");
        second.signal(Signal::STOP);
        drill.go_on(Duration::from_millis(800));
        second.signal(Signal::CONT);
    }),
];

fn resident_kb(drill: &Drill) -> [u64; 2] {
    [drill.redis.pid(), drill.first.pid()].map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    })
}
