//! What fails, and what clients notice.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    client::wait_for,
    drill::{AWAY, Drill},
    server::{Redis, is_missing},
};

const AOF_EVERY_SECOND: &[&str] =
    &["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
const AOF_ALWAYS: &[&str] = &["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

fn kill_and_start(drill: &mut Drill) {
    drill.redis.kill();
    drill.go_on(AWAY);
    drill.redis.start_again();
}

#[test]
fn redis_that_is_killed_and_has_its_data_is_not_noticed() {
    if is_missing() {
        return;
    }
    for options in [AOF_EVERY_SECOND, AOF_ALWAYS] {
        let mut drill = Drill::start(Redis::with(options), &[]);
        kill_and_start(&mut drill);
        let generations = drill.first.figure("generations");
        drill.end(&format!("killed for 3 s, {}", options[5])).has_no_gap().has_ticked();
        assert!(generations <= 1);
    }
}

#[test]
fn redis_that_has_lost_everything_is_a_gap_for_every_client_and_topic() {
    if is_missing() {
        return;
    }
    let mut drill = Drill::start(Redis::start(), &[]);
    kill_and_start(&mut drill);
    drill.end("killed for 3 s, nothing kept").has_a_gap_for_each().has_ticked();
}

#[test]
fn publishers_are_refused_when_the_outbox_is_full_and_nothing_is_lost() {
    if is_missing() {
        return;
    }
    let mut drill = Drill::start(Redis::with(AOF_EVERY_SECOND), &[("OUTBOX", "20000")]);
    kill_and_start(&mut drill);
    let outcome = drill.end("killed for 3 s, an outbox of 20 kB");
    outcome.has_no_gap().has_ticked();
    assert!(outcome.refused > 0, "{outcome:?}");
}

#[test]
fn redis_that_stands_still_is_found_out_and_nothing_comes_twice() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::start(), &[]);
    drill.redis.signal(Signal::STOP);
    let stopped = Instant::now();
    wait_for("it is noticed", || (drill.first.figure("connected") == 0).then_some(()));
    eprintln!("noticed after {:?}", stopped.elapsed());
    drill.go_on(Duration::from_secs(10).saturating_sub(stopped.elapsed()));
    drill.redis.signal(Signal::CONT);
    drill.end("stopped for 10 s").has_no_gap().has_ticked();
}

#[test]
fn connections_that_are_killed_are_made_again() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::start(), &[]);
    for _ in 0..5 {
        drill.redis.cli(&["client", "kill", "type", "normal"]);
        drill.go_on(Duration::from_millis(400));
    }
    let connects = drill.first.figure("connects");
    drill.end("five times CLIENT KILL").has_no_gap().has_ticked();
    assert!(connects >= 5, "{connects}");
}

#[test]
fn redis_without_room_refuses_whole_batches_and_order_stays() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::start(), &[]);
    drill.redis.cli(&["config", "set", "maxmemory-policy", "noeviction"]);
    drill.redis.cli(&["config", "set", "maxmemory", "1"]);
    drill.go_on(AWAY);
    assert!(drill.first.figure("outbox_bytes") > 0);
    drill.redis.cli(&["config", "set", "maxmemory", "0"]);
    drill.end("without room for 3 s").has_no_gap().has_ticked();
}

#[test]
fn slow_redis_delays_events_alone() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::with(&["--save", "", "--enable-debug-command", "yes"]), &[]);
    for _ in 0..8 {
        drill.redis.cli(&["debug", "sleep", "0.7"]);
        drill.go_on(Duration::from_millis(100));
    }
    drill.end("eight times slow by 0.7 s").has_no_gap().has_ticked();
}

#[test]
fn a_replica_that_lacks_events_gets_them_again_and_everybody_is_notified() {
    if is_missing() {
        return;
    }
    let master = Redis::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let replica = master.replica();
    let mut drill = Drill::start(master, &[]);
    replica.cli(&["replicaof", "no", "one"]);
    drill.go_on(Duration::from_millis(500));
    drill.redis.point_address_to(&replica);
    drill.redis.kill();
    drill.first.wait_until_connected();
    let resent = wait_for("events are sent again", || {
        Some(drill.first.figure("resent")).filter(|resent| *resent > 0)
    });
    drill.end("failover to a replica that lacks 300 events").has_a_gap_for_each().has_ticked();
    eprintln!("{resent} batches were sent again");
}

#[test]
fn a_machine_that_was_away_for_longer_than_the_log_finds_the_hole() {
    if is_missing() {
        return;
    }
    // 1,000 entries are kept in any case.
    let drill = Drill::start(Redis::start(), &[("LOG", "1")]);
    let second = drill.second.as_ref().unwrap();
    second.signal(Signal::STOP);
    drill.go_on(Duration::from_secs(4));
    second.signal(Signal::CONT);
    wait_for("it has found the hole", || (second.figure("holes") > 0).then_some(()));
    drill.end("a machine stopped for 4 s, a log of 1,000 events");
}

#[test]
fn a_machine_that_is_replaced_continues_where_the_other_one_was() {
    if is_missing() {
        return;
    }
    let mut drill = Drill::start(Redis::start(), &[]);
    for _ in 0..3 {
        drill.replace_second();
        drill.go_on(Duration::from_secs(1));
    }
    drill.end("a machine killed and replaced three times").has_no_gap();
}

#[test]
fn keys_that_are_deleted_one_by_one_are_made_again() {
    if is_missing() {
        return;
    }
    for key in ["meta", "log", "generations", "h:a"] {
        let drill = Drill::start(Redis::start(), &[]);
        let keys = drill.redis.cli(&["keys", "*"]);
        let name = keys.lines().find(|name| name.contains(key)).unwrap_or_else(|| panic!("{keys}"));
        drill.redis.cli(&["del", name]);
        drill.go_on(Duration::from_secs(1));
        drill.end(&format!("{key} deleted")).has_no_gap().has_ticked();
    }
}

#[test]
fn a_namespace_without_counter_and_log_continues_after_its_histories() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::start(), &[]);
    let keys = drill.redis.cli(&["keys", "*"]);
    let both: Vec<_> =
        keys.lines().filter(|it| it.ends_with(":meta") || it.ends_with(":log")).collect();
    drill.redis.cli(&[&["del"], &both[..]].concat());
    drill.go_on(Duration::from_secs(1));
    drill.end("counter and log deleted").has_ticked();
}

#[test]
fn machines_with_different_histories_give_all_events_or_a_gap() {
    if is_missing() {
        return;
    }
    let drill = Drill::start(Redis::start(), &[("HISTORY", "500")]);
    let short = crate::server::Node::start(&drill.redis.url(), &[("HISTORY", "50")]);
    drill.addresses.lock().unwrap().push(short.address);
    drill.go_on(Duration::from_secs(3));
    *drill.addresses.lock().unwrap() = vec![drill.first.address];
    drill.end("two releases with different histories");
}
