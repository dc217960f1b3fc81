//! Three Sentinels, whose master ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use redis_protocol::resp2::types::OwnedFrame;

use super::server::{Folder, Server, free_ports, is_installed, start_on_port};
use super::wait_for_append;
use crate::backplane::redis::{
    handshake::frame_text,
    test_support::{PATIENCE, Running, append, appended},
};

#[test]
fn after_a_failover_the_new_master_is_found() {
    if !is_installed("redis-server") || !is_installed("redis-sentinel") {
        return;
    }
    let on_port = |port: u16| vec!["--port".to_owned(), port.to_string()];
    let (master, master_port) = start_on_port(on_port).expect("it is installed");
    let of_master = format!("127.0.0.1 {master_port}");
    let (replica, replica_port) = start_on_port(|port| {
        let replica_of = ["--replicaof".to_owned(), of_master.clone()];
        let delay = ["--repl-diskless-sync-delay", "0"].map(str::to_owned);
        [on_port(port), replica_of.to_vec(), delay.to_vec()].concat()
    })
    .expect("it is installed");
    let sentinels: Vec<_> = (0..3).map(|_| start_sentinel(master_port)).collect();
    let hosts: Vec<_> = sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    wait_for_sentinels(&sentinels, master_port);

    let link = Running::start(&format!("redis+sentinel://{}/main", hosts.join(",")));
    link.member.wait_until_connected();
    link.ask(append(1));
    assert_eq!(wait_for_append(&link, 1), appended(1, 1));
    let mut admin = replica.admin();
    wait_until("the replica has it", || admin.ask("GET {test}:n") != OwnedFrame::Null);
    drop(master);
    link.member.wait_until_connected();
    link.ask(append(2));
    assert_eq!(wait_for_append(&link, 2), appended(2, 2), "the replica had the first");
    let (_, master) = sentinels[0].0.master();
    assert_eq!(master, replica_port);
}

impl Server {
    /// The address of the master, as this Sentinel names it.
    fn master(&self) -> (String, u16) {
        let OwnedFrame::Array(parts) = self.admin().ask("SENTINEL get-master-addr-by-name main")
        else {
            panic!()
        };
        let [host, port] = [0, 1].map(|n| frame_text(&parts[n]).unwrap().to_owned());
        (host, port.parse().unwrap())
    }
}

fn start_sentinel(master_port: u16) -> (Server, u16) {
    for _ in 0..20 {
        let (folder, [port]) = (Folder::new(), free_ports());
        let socket = folder.0.join("r");
        let config = format!(
            "port {port}\nunixsocket {}\ndir {}\nsentinel monitor main 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            socket.display(),
            folder.0.display()
        );
        let path = folder.0.join("sentinel.conf");
        fs::write(&path, config).unwrap();
        let child = Command::new("redis-sentinel")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a Sentinel starts");
        let mut sentinel = Server { child, folder };
        let log = sentinel.child.stdout.take().unwrap();
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        if lines.any(|line| line.contains("+monitor master main")) {
            thread::spawn(move || lines.for_each(drop));
            return (sentinel, port);
        }
    }
    panic!("no port could be had");
}

/// Until each knows the replica and the two others.
fn wait_for_sentinels(sentinels: &[(Server, u16)], master_port: u16) {
    for (sentinel, _) in sentinels {
        assert_eq!(sentinel.master(), ("127.0.0.1".into(), master_port));
        let mut admin = sentinel.admin();
        wait_until("the Sentinels know each other", || {
            let info = admin.text("INFO sentinel");
            info.contains("slaves=1,sentinels=3")
        });
    }
}

/// Nothing reports what a server does on its own, so it is asked again and again.
fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_it() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}
