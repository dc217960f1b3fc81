//! How machines are run with a Redis: publishing once, versions, figures.

use starwheel::{Backplane, Reactor, Router, Topic};

use crate::{
    client::{Client, wait_for},
    server::{Node, Redis, is_missing},
};

#[test]
fn an_event_reaches_all_machines_with_the_same_id_and_a_new_one_has_its_history() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let (one, other) = (Node::start(&redis.url(), &[]), Node::start(&redis.url(), &[]));
    let mut clients = [&one, &other].map(|node| Client::streaming(node.address, "/live?topics=t"));
    one.post("/publish?topic=t", "hello");
    other.post("/publish?topic=t", "world");
    let events = clients.each_mut().map(|client| {
        let mut events = Vec::new();
        while events.len() < 2 {
            let event = client.event().unwrap();
            events.extend(event.contains("data:").then_some(event));
        }
        events
    });
    assert_eq!(events[0], events[1]);
    assert!(events[0][0].starts_with("data: hello\nid: _"), "{events:?}");
    let id = events[0][0].rsplit(' ').next().unwrap();
    let late = Node::start(&redis.url(), &[]);
    let mut client = Client::connect(late.address);
    client.send(format!("GET /live?topics=t HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n"));
    client.stream_head();
    assert_eq!(client.event().unwrap(), events[0][1]);
}

#[test]
fn a_key_counts_once_on_all_machines() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let nodes = [Node::start(&redis.url(), &[]), Node::start(&redis.url(), &[])];
    let mut client = Client::streaming(nodes[1].address, "/live?topics=t");
    for node in &nodes {
        assert_eq!(node.post("/publish?topic=t&key=row-7", "changed").status, 204);
    }
    nodes[0].post("/publish?topic=t", "last");
    let mut data = Vec::new();
    while data.last().is_none_or(|it| it != "last") {
        let event = client.event().unwrap();
        data.extend(
            event.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned),
        );
    }
    // The second machine may have been later than the last event, but not with the key.
    assert_eq!(data.iter().filter(|it| *it == "changed").count(), 1, "{data:?}");
}

#[test]
fn subscribers_are_counted_over_all_machines() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let settings = [("WORKERS", "2")];
    let nodes = [(); 2].map(|()| Node::start(&redis.url(), &settings));
    let clients = |node: usize| Client::streaming(nodes[node].address, "/live?topics=t");
    let (_here, there, _there_too) = (clients(0), clients(1), clients(1));
    let counted = |node: usize| nodes[node].get("/count?topics=t").body;
    wait_for("both know all", || (counted(0) == "3" && counted(1) == "3").then_some(()));
    drop(there);
    wait_for("one has gone", || (counted(0) == "2" && counted(1) == "2").then_some(()));
    let keys = redis.cli(&["keys", "*"]);
    assert!(keys.contains(":watched") && keys.contains(":count:t"), "{keys}");
}

#[test]
fn a_namespace_of_a_newer_release_is_refused_with_a_reason() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let node = Node::start(&redis.url(), &[]);
    let keys = redis.cli(&["keys", "*"]);
    let meta = keys.lines().find(|name| name.ends_with(":meta")).unwrap();
    redis.cli(&["hset", meta, "format", "2"]);
    redis.cli(&["client", "kill", "type", "normal"]);
    wait_for("it says why", || {
        let state = node.get("/state").body;
        (state.starts_with("false") && state.contains("format 2")).then_some(())
    });
    redis.cli(&["hset", meta, "format", "1"]);
    node.wait_until_connected();
}

#[test]
fn entries_that_no_release_writes_are_counted_and_reach_nobody() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    let node = Node::start(&redis.url(), &[]);
    let mut client = Client::streaming(node.address, "/live?topics=t");
    node.post("/publish?topic=t", "one");
    let keys = redis.cli(&["keys", "*"]);
    let log = keys.lines().find(|name| name.ends_with(":log")).unwrap();
    let meta = keys.lines().find(|name| name.ends_with(":meta")).unwrap();
    wait_for("it has come", || (node.figure("received") == 1).then_some(()));
    let next: u64 = node.figure("position") + 1;
    redis.cli(&["xadd", log, &format!("{next}-0"), "e1", "1 1\ntdata: evil\r\n\r\n"]);
    redis.cli(&["hset", meta, "n", &next.to_string()]);
    wait_for("it is counted", || (node.figure("unreadable") == 1).then_some(()));
    node.post("/publish?topic=t", "two");
    let mut text = String::new();
    while !text.contains("two") {
        text.push_str(&client.event().unwrap());
    }
    assert!(text.contains("one") && !text.contains("evil") && !text.contains("gap"), "{text}");
}

#[test]
fn machines_start_and_serve_without_redis() {
    if is_missing() {
        return;
    }
    let mut redis = Redis::start();
    redis.point_address_here();
    redis.kill();
    let node = Node::start_without_redis(&redis.url());
    let mut ticking = Client::streaming(node.address, "/tick");
    assert!(ticking.event().is_some());
    let mut client = Client::streaming(node.address, "/live?topics=t");
    assert_eq!(node.post("/publish?topic=t", "early").status, 204, "into the outbox");
    assert!(node.get("/state").body.starts_with("false "), "and says why");
    redis.start_again();
    node.wait_until_connected();
    let mut text = String::new();
    while !text.contains("early") {
        text.push_str(&client.event().unwrap());
    }
    assert!(!text.contains("gap"), "{text}");
}

/// The user that docs/backplane.md describes may do what is needed.
#[test]
fn the_documented_permissions_suffice() {
    if is_missing() {
        return;
    }
    let docs = include_str!("../../docs/backplane.md");
    let (_, rest) = docs.split_once("ACL SETUSER").expect("the command");
    let (command, _) = rest.split_once("```").expect("the end of the block");
    let command = command.replace("{shop}", "{drills}").replace("PASSWORD", "secret");
    let redis = Redis::with(&["--save", "", "--aclfile", ""]);
    let arguments: Vec<_> =
        ["acl", "setuser"].into_iter().chain(command.split_whitespace()).collect();
    assert_eq!(redis.cli(&arguments), "OK");
    redis.point_address_here();
    let url = redis.url().replace("unix://", "unix://starwheel:secret@");
    let node = Node::start(&url, &[]);
    let mut client = Client::streaming(node.address, "/live?topics=t");
    for (path, text) in [("/publish?topic=t&key=k", "one"), ("/publish?topic=t", "two")] {
        assert_eq!(node.post(path, text).status, 204);
    }
    let mut text = String::new();
    while !text.contains("two") {
        text.push_str(&client.event().unwrap());
    }
    // Another life of the server, so that every part of the script has run.
    redis.cli(&["hset", "{drills}:meta", "run", "another"]);
    redis.cli(&["client", "kill", "type", "normal"]);
    wait_for("it has greeted again", || (node.figure("generations") > 0).then_some(()));
    let log = redis.cli(&["acl", "log"]);
    assert_eq!(log, "", "nothing was denied");
}

#[test]
fn what_a_reactor_has_published_is_stored_when_it_has_ended() {
    if is_missing() {
        return;
    }
    let redis = Redis::start();
    redis.point_address_here();
    for pause in ["1", "500"] {
        let url = redis.url();
        let live = Reactor::spawn_with("live", move || {
            let mut reactor = Reactor::new(Router::new())?;
            reactor.join(&Backplane::redis(&url)?)?;
            Ok(reactor)
        });
        let live = live.unwrap();
        let handle = live.handle().clone();
        let stats = || handle.backplane().expect("it has joined");
        wait_for("it is connected", || stats().connected.then_some(()));
        redis.cli(&["client", "pause", pause, "write"]);
        handle.publish(&Topic::new("t"), "last").unwrap();
        handle.shutdown();
        live.join().unwrap();
        // The process may end now.
        assert_eq!(stats().outbox_bytes, 0);
    }
}
