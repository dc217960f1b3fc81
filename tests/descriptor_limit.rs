//! The limit of descriptors. A separate program, because the limit is per process.
#![cfg(all(target_os = "linux", not(starwheel_portable)))]

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use starwheel::{Context, Reactor, Request, Response, raise_descriptor_limit};

#[test]
fn a_low_limit_is_warned_of_once_and_raised_on_request() {
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(500), maximum }).unwrap();

    for _ in 0..2 {
        let hello = |_: &Request, _: &mut Context<'_>| Response::text("hello");
        let mut reactor = Reactor::new(hello).unwrap();
        reactor.listen("127.0.0.1:0").unwrap();
        reactor.listen("127.0.0.1:0").unwrap();
    }
    let warnings = WARNINGS.lock().unwrap();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("only 500 descriptors are allowed"), "{warning}");

    assert_eq!(raise_descriptor_limit().unwrap(), maximum.unwrap_or(u64::MAX));
    assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
}

/// Keeps what is logged.
struct Warnings;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Log for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        WARNINGS.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}
