//! The thread, with real servers. Each test starts its own, and ends it.
//!
//! Without a `redis-server` they are skipped, unless `STARWHEEL_REDIS` is `required`.

#[cfg(feature = "redis-tls")]
mod encrypted;
mod failover;
mod server;

use std::{
    fs,
    time::{Duration, Instant},
};

use redis_protocol::resp2::types::OwnedFrame;

use self::server::{READY, Server};
use super::{
    Down,
    test_support::{Event, Running, append, appended},
};
use crate::span::protocol::{Reply, Request};

/// The next reply to an append of this number.
fn wait_for_append(link: &Running, number: u64) -> Reply {
    let is_it = |reply: &Reply| match reply {
        Reply::Appended { number: n, .. } | Reply::Refused { number: n, .. } => *n == number,
        _ => false,
    };
    match link.member.wait_for(|event| matches!(event, Event::Answered(it) if is_it(it))) {
        Event::Answered(reply) => reply,
        _ => unreachable!(),
    }
}

#[test]
fn requests_and_reads_go_over_a_unix_socket() {
    let Some(server) = Server::start(&[]) else { return };
    let mut admin = server.admin();
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    let clients = admin.text("CLIENT LIST");
    assert_eq!(clients.matches("name=test ").count(), 2, "{clients}");
    link.ask(Request::Greet { floor: 5 });
    for number in 1..=100 {
        link.ask(append(number));
    }
    assert!(matches!(link.member.wait_for_reply(), Reply::Greeted(_)));
    for number in 1..=100 {
        assert_eq!(link.member.wait_for_reply(), appended(number, number));
    }
    link.member.ask_to_read(7);
    link.ask(append(101));
    wait_for_append(&link, 101);
    admin.ask("XADD {test}:log 8-0 f v");
    let Reply::Entries(entries) = link.member.wait_for_reply() else { panic!() };
    assert_eq!(entries[0].place, 8);
}

/// The answers of `XREAD` are the only events.
#[test]
fn an_idle_connection_costs_a_few_turns_a_second() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    link.member.ask_to_read(0);
    link.member.wait_until_connected();
    let before = link.wake.turns();
    for _ in 0..3 {
        assert_eq!(link.member.wait_for_reply(), Reply::Entries(Vec::new()));
    }
    let turns = link.wake.turns() - before;
    assert!(turns < 20, "{turns} turns in three seconds");
}

#[test]
fn a_password_is_needed_and_enough() {
    let Some(server) = Server::start(&["--requirepass", "a@b/c"]) else { return };
    let path = server.socket().display().to_string();
    let link = Running::start(&format!("unix://:a%40b%2Fc@{path}"));
    link.member.wait_until_connected();
    let link = Running::start(&format!("unix://:wrong@{path}"));
    let Down::Denied(words) = link.member.wait_until_down() else { panic!() };
    assert!(words.starts_with("WRONGPASS"), "{words}");
    let link = Running::start(&server.url());
    let Down::Denied(words) = link.member.wait_until_down() else { panic!() };
    assert!(words.starts_with("NOAUTH"), "{words}");
}

#[test]
fn a_password_that_the_server_does_not_want_is_reported() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&format!("unix://:needless@{}", server.socket().display()));
    assert!(matches!(link.member.wait_until_down(), Down::Denied(_)));
}

#[test]
fn a_user_needs_only_the_keys_and_commands_of_the_backplane() {
    let Some(server) = Server::start(&[]) else { return };
    let mut admin = server.admin();
    let common = "on >pass ~{test}* +auth +client|setname +info +role +script|load +echo";
    assert_eq!(admin.text(&format!("ACL SETUSER joe {common} +evalsha +incr +xread")), "OK");
    assert_eq!(admin.text(&format!("ACL SETUSER ann {common}")), "OK");
    let path = server.socket().display().to_string();
    let link = Running::start(&format!("unix://joe:pass@{path}"));
    link.member.wait_until_connected();
    link.ask(append(1));
    assert_eq!(link.member.wait_for_reply(), appended(1, 1));
    let link = Running::start(&format!("unix://ann:pass@{path}"));
    link.member.wait_until_connected();
    link.ask(append(1));
    let Down::Denied(words) = link.member.wait_until_down() else { panic!() };
    assert!(words.starts_with("NOPERM"), "{words}");
    let link = Running::start(&format!("unix://joe:wrong@{path}"));
    assert!(matches!(link.member.wait_until_down(), Down::Denied(_)));
}

#[test]
fn the_database_is_selected() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&format!("{}?db=3", server.url()));
    link.member.wait_until_connected();
    link.ask(append(1));
    link.member.wait_for_reply();
    let mut admin = server.admin();
    assert_eq!(admin.ask("GET {test}:n"), OwnedFrame::Null);
    admin.ask("SELECT 3");
    assert_eq!(admin.text("GET {test}:n"), "1");
    let link = Running::start(&format!("{}?db=99", server.url()));
    assert!(matches!(link.member.wait_until_down(), Down::Refused(_)));
}

#[test]
fn killed_servers_are_noticed_and_found_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    for number in 1..=3 {
        link.member.wait_until_connected();
        link.ask(append(number));
        assert_eq!(wait_for_append(&link, number), appended(number, 1), "a new life");
        let folder = server.kill();
        assert!(matches!(link.member.wait_until_down(), Down::Closed(_)));
        assert!(matches!(link.member.wait_until_down(), Down::Unreachable(_)));
        let _stale = fs::remove_file(folder.0.join("r"));
        server = Server::start_in(folder, &[]);
    }
}

#[test]
fn a_server_that_stops_answering_is_left_after_two_to_three_seconds() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    link.member.ask_to_read(0);
    link.member.wait_until_connected();
    assert_eq!(link.member.wait_for_reply(), Reply::Entries(Vec::new()));
    let stopped = Instant::now();
    server.signal("STOP");
    let down = link.member.wait_until_down();
    let Down::Silent(limit) = down else { panic!("{down:?}") };
    assert_eq!(limit, Duration::from_secs(3), "the read that was on its way");
    assert!(stopped.elapsed() >= Duration::from_secs(2));
    // The system accepts connections for a server that is stopped.
    assert!(matches!(link.member.wait_until_down(), Down::Silent(_) | Down::Unreachable(_)));
    server.signal("CONT");
    link.member.wait_until_connected();
    link.ask(append(1));
    wait_for_append(&link, 1);

    server.signal("STOP");
    link.ask(append(2));
    assert_eq!(link.member.wait_until_down(), Down::Silent(Duration::from_secs(2)), "a write");
    server.signal("CONT");
    link.member.wait_until_connected();
}

#[test]
fn killed_connections_are_opened_again() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    let mut admin = server.admin();
    for _ in 0..3 {
        link.member.wait_until_connected();
        assert!(matches!(admin.ask("CLIENT KILL TYPE normal"), OwnedFrame::Integer(2)));
        assert!(matches!(link.member.wait_until_down(), Down::Closed(_)));
    }
    link.member.wait_until_connected();
}

/// Either of the two connections ends both.
#[test]
fn one_killed_connection_takes_the_other_with_it() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    let mut admin = server.admin();
    for n in 0..2 {
        link.member.wait_until_connected();
        let clients = admin.text("CLIENT LIST");
        let mut ids = clients.lines().filter(|line| line.contains("name=test "));
        let line = ids.nth(n).unwrap_or_else(|| panic!("{clients}"));
        let id = line.split(' ').next().and_then(|it| it.strip_prefix("id=")).unwrap();
        admin.ask(&format!("CLIENT KILL ID {id}"));
        link.member.wait_until_down();
    }
    link.member.wait_until_connected();
    let clients = admin.text("CLIENT LIST");
    assert_eq!(clients.matches("name=test ").count(), 2, "{clients}");
}

#[test]
fn a_script_that_was_flushed_is_loaded_again() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    link.ask(append(1));
    link.member.wait_for_reply();
    server.admin().ask("SCRIPT FLUSH");
    link.ask(append(2));
    assert!(matches!(link.member.wait_until_down(), Down::ScriptGone(_)));
    link.member.wait_until_connected();
    link.ask(append(2));
    assert_eq!(link.member.wait_for_reply(), appended(2, 2));
}

#[test]
fn a_batch_without_room_is_refused_on_a_connection_that_stays() {
    let Some(server) = Server::start(&[]) else { return };
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    let mut admin = server.admin();
    admin.ask("CONFIG SET maxmemory 1");
    link.ask(append(1));
    let Reply::Refused { number: 1, reason } = link.member.wait_for_reply() else { panic!() };
    assert!(reason.contains("OOM"), "{reason}");
    admin.ask("CONFIG SET maxmemory 0");
    link.ask(append(1));
    assert_eq!(link.member.wait_for_reply(), appended(1, 1));
    assert!(link.member.take_events().is_empty(), "the connection has stayed");
}

#[test]
fn keys_of_another_program_are_reported() {
    let Some(server) = Server::start(&[]) else { return };
    let mut admin = server.admin();
    admin.ask("SET {test}:history text");
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    link.ask(Request::Recall(vec!["{test}:history".into()]));
    assert!(matches!(link.member.wait_until_down(), Down::WrongType(_)));
    // In a script.
    admin.ask("LPUSH {test}:n text");
    link.member.wait_until_connected();
    link.ask(append(1));
    assert!(matches!(link.member.wait_until_down(), Down::WrongType(_)));
}

#[test]
fn a_server_that_loads_its_data_is_waited_for() {
    let Some(server) = Server::start(&[]) else { return };
    let mut admin = server.admin();
    admin.ask("EVAL for#i=1,3000#do#redis.call('SET',i,i)#end 0".replace('#', "\t").as_str());
    admin.ask("SAVE");
    let folder = server.kill();
    let _stale = fs::remove_file(folder.0.join("r"));
    // A millisecond a key; it answers between two pieces.
    let slow = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Server::spawn("redis-server", folder, &slow);
    let link = Running::start(&server.url());
    link.member.wait_for(|event| matches!(event, Event::Disconnected(Down::Busy(_))));
    server.wait_for_log(READY);
    link.member.wait_until_connected();
}

#[test]
fn a_replica_is_not_a_master() {
    let Some(server) = Server::start(&[]) else { return };
    server.admin().ask("REPLICAOF 127.0.0.1 1");
    let link = Running::start(&server.url());
    let Down::NotMaster(words) = link.member.wait_until_down() else { panic!() };
    assert_eq!(words, "it is a replica of 127.0.0.1");
    server.admin().ask("REPLICAOF NO ONE");
    link.member.wait_until_connected();
    server.admin().ask("REPLICAOF 127.0.0.1 1");
    link.ask(append(1));
    // Redis ends connections of a script that it may not run, or says READONLY.
    assert!(matches!(link.member.wait_until_down(), Down::NotMaster(_) | Down::Closed(_)));
}
