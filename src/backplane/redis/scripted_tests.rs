//! The thread, with servers that answer what a test says.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

use super::{Down, address::Endpoint, handshake::frame_text, test_support::*};
use crate::span::protocol::{Reply, Request};

/// What a server answers to a command; nothing to one that it leaves unanswered.
type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// A server on loopback, and the commands that it was sent.
struct Scripted {
    port: u16,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::<Mutex<Vec<String>>>::default();
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&sent));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answer, log) =
                    (stream.unwrap(), Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { port, sent }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn count(&self, start: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|command| command.starts_with(start)).count()
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, log: &Mutex<Vec<String>>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        while let Some((frame, used)) = decode(&bytes).unwrap() {
            bytes.drain(..used);
            let OwnedFrame::Array(words) = frame else { panic!("{frame:?}") };
            let words: Vec<_> = words.iter().map(|word| frame_text(word).unwrap()).collect();
            let command = words.join(" ");
            log.lock().unwrap().push(command.clone());
            match answer(&command) {
                Some(reply) if reply == CLOSE => return,
                Some(reply) if stream.write_all(&reply).is_err() => return,
                _ => {}
            }
        }
    }
}

const CLOSE: &[u8] = b"(close)";

/// Logs in anybody, echoes, acknowledges, and never has anything to read.
fn usual(command: &str) -> Option<Vec<u8>> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
    match command.split_once(' ').unwrap_or((command, "")) {
        ("INFO", _) => Some(bulk("# Server\r\nrun_id:one\r\n")),
        ("ROLE", _) => Some(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec()),
        ("SCRIPT", _) => Some(bulk("sha")),
        ("ECHO", text) => Some(bulk(text)),
        ("EVALSHA", _) => Some(b":1\r\n".to_vec()),
        ("AUTH" | "SELECT" | "CLIENT", _) => Some(b"+OK\r\n".to_vec()),
        _ => None,
    }
}

#[test]
fn an_idle_thread_sleeps() {
    let server = Scripted::start(usual);
    let link = Running::start(&server.url());
    link.member.ask_to_read(0);
    link.member.wait_until_connected();
    let before = link.wake.turns();
    // The read is not answered; meanwhile three seconds pass.
    assert_eq!(link.member.wait_until_down(), Down::Silent(Duration::from_secs(3)));
    let turns = link.wake.turns() - before;
    assert!(turns < 20, "{turns} turns in three seconds without an event");
}

#[test]
fn a_thread_without_a_server_sleeps_between_attempts() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let link = Running::start(&format!("redis://127.0.0.1:{port}"));
    for _ in 0..5 {
        assert!(matches!(link.member.wait_until_down(), Down::Unreachable(_)));
        // Publishers do not wake it while there is no connection.
        assert!(!link.wake.wake());
    }
    let turns = link.wake.turns();
    assert!(turns < 30, "{turns} turns for five attempts");
}

#[test]
fn no_request_is_forgotten_however_publishers_race_with_the_thread() {
    let server = Scripted::start(usual);
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..500 {
                    link.ask(append(number));
                }
            });
        }
    });
    for _ in 0..2000 {
        assert!(matches!(link.member.wait_for_reply(), Reply::Appended { .. }));
    }
}

#[test]
fn a_request_between_the_last_look_and_the_sleep_wakes_the_thread() {
    let server = Scripted::start(usual);
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    for number in 0..20 {
        link.member.ask_after_the_next_look(append(number), &link.wake);
        // It goes around once, and has no other reason to do so again.
        link.wake.end();
        assert_eq!(link.member.wait_for_reply(), appended(number, 1));
    }
}

#[test]
fn a_reply_in_single_bytes_is_read() {
    // Each byte is a segment of its own.
    let server = Scripted::start(|command| match command.starts_with("LRANGE") {
        true => None,
        false => usual(command),
    });
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = slow.local_addr().unwrap().port();
    let server_port = server.port;
    thread::spawn(move || {
        for client in slow.incoming() {
            let client = client.unwrap();
            client.set_nodelay(true).unwrap();
            let server = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
            let (from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || copy_bytes(&from, &mut to));
            let mut client = client;
            thread::spawn(move || copy_bytes(&server, &mut client));
        }
    });
    let link = Running::start(&format!("redis://:password@127.0.0.1:{port}/3"));
    link.member.wait_until_connected();
    link.ask(Request::Greet { floor: 123 });
    let Reply::Greeted(greeting) = link.member.wait_for_reply() else { panic!() };
    assert_eq!(greeting.position, 123);
}

fn copy_bytes(mut from: &TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? > 0 {
        to.write_all(&byte)?;
    }
    Ok(())
}

#[test]
fn a_large_reply_is_read_to_its_end() {
    let reply = [b"*1\r\n$8388608\r\n".as_slice(), &vec![b'x'; 8 << 20], b"\r\n"].concat();
    let server = Scripted::start(move |command| match command.starts_with("LRANGE") {
        true => Some(reply.clone()),
        false => usual(command),
    });
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    for _ in 0..5 {
        link.ask(Request::Recall(vec!["topic".into()]));
        let next = link.member.wait_for(|_| true);
        assert!(matches!(next, Event::Answered(Reply::Recalled { .. })), "{next:?}");
    }
}

#[test]
fn requests_wait_while_the_server_reads_nothing() {
    let (release, released) = mpsc::channel::<()>();
    let (stopped, released) = (Mutex::new(true), Mutex::new(released));
    let server = Scripted::start(move |command| {
        if command.starts_with("ECHO") && std::mem::take(&mut *stopped.lock().unwrap()) {
            released.lock().unwrap().recv().unwrap();
        }
        match command.starts_with("LRANGE") {
            true => Some(b"*0\r\n".to_vec()),
            false => usual(command),
        }
    });
    let link = Running::start(&server.url());
    link.member.wait_until_connected();
    link.ask(Request::Greet { floor: 1 });
    // More than the system takes for a peer that does not read.
    let topic: Arc<str> = "x".repeat(1 << 20).into();
    (0..20).for_each(|_| link.ask(Request::Recall(vec![topic.clone()])));
    release.send(()).unwrap();
    assert!(matches!(link.member.wait_for_reply(), Reply::Greeted(_)));
    (0..20).for_each(|_| {
        assert!(matches!(link.member.wait_for_reply(), Reply::Recalled { .. }));
    });
    let all_the_same = format!("LRANGE {topic} 0 -1");
    assert_eq!(server.count(&all_the_same), 20);
}

#[test]
fn a_move_is_followed_by_both_connections() {
    let owner = Scripted::start(usual);
    let port = owner.port;
    let other = Scripted::start(move |command| match command.starts_with("ECHO") {
        // No host: the same.
        true => Some(format!("-MOVED 12 :{port}\r\n").into_bytes()),
        false => usual(command),
    });
    let link = Running::start(&other.url());
    link.member.wait_until_connected();
    link.ask(Request::Greet { floor: 1 });
    assert_eq!(link.member.wait_until_down(), Down::Moved(Endpoint::new("", port)));
    link.member.wait_until_connected();
    link.ask(Request::Greet { floor: 2 });
    assert!(matches!(link.member.wait_for_reply(), Reply::Greeted(_)));
    assert_eq!((owner.count("INFO"), owner.count("SCRIPT")), (2, 1));
}

#[test]
fn servers_that_move_in_a_circle_are_not_followed_without_a_pause() {
    let server = Scripted::start(move |command| match command.starts_with("ECHO") {
        true => Some(b"-MOVED 12 :1\r\n".to_vec()),
        false => usual(command),
    });
    let link = Running::start(&server.url());
    for _ in 0..3 {
        link.member.wait_until_connected();
        link.ask(Request::Greet { floor: 1 });
        assert_eq!(link.member.wait_until_down(), Down::Moved(Endpoint::new("", 1)));
        assert!(matches!(link.member.wait_until_down(), Down::Unreachable(_)));
    }
}

#[test]
fn whatever_a_server_answers_the_thread_tries_again() {
    for garbage in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"*1\r\n".repeat(10_000),
        b":1\r\n:2\r\n:3\r\n".to_vec(),
        vec![0xff; 100_000],
        b"-\xff\r\n".to_vec(),
    ] {
        let is_broken = Mutex::new(true);
        let server = Scripted::start(move |command| match command.starts_with("ECHO") {
            true if std::mem::take(&mut *is_broken.lock().unwrap()) => Some(garbage.clone()),
            _ => usual(command),
        });
        let link = Running::start(&server.url());
        link.member.wait_until_connected();
        link.ask(Request::Greet { floor: 1 });
        assert!(matches!(link.member.wait_until_down(), Down::Malformed(_)));
        link.member.wait_until_connected();
    }
}

#[test]
fn a_member_hears_that_it_has_asked_for_too_much() {
    let server = Scripted::start(|command| match command.starts_with("XREAD") {
        true => Some(b"$67108865\r\n".to_vec()),
        false => usual(command),
    });
    let link = Running::start(&server.url());
    link.member.ask_to_read(0);
    assert_eq!(link.member.wait_until_down(), Down::TooLarge);
}

#[test]
fn the_last_words_of_a_server_are_the_reason() {
    let server = Scripted::start(|command| match command.split(' ').next() {
        Some("INFO") => Some(b"-ERR max number of clients reached\r\n".to_vec()),
        Some("ROLE") => Some(CLOSE.to_vec()),
        _ => usual(command),
    });
    let link = Running::start(&server.url());
    let why = Down::Refused("ERR max number of clients reached".into());
    assert_eq!(link.member.wait_until_down(), why);
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let server = Scripted::start(|_| None);
    let link = Running::start(&server.url());
    assert_eq!(link.member.wait_until_down(), Down::Silent(Duration::from_secs(3)));
}

#[test]
fn two_servers_behind_one_address_are_noticed() {
    let count = Mutex::new(0);
    let server = Scripted::start(move |command| match command {
        "INFO server" => {
            *count.lock().unwrap() += 1;
            let run_id = format!("run_id:{}", count.lock().unwrap());
            Some(format!("${}\r\n{run_id}\r\n", run_id.len()).into_bytes())
        }
        _ => usual(command),
    });
    let link = Running::start(&server.url());
    assert_eq!(link.member.wait_until_down(), Down::TwoServers);
}

#[test]
fn sentinels_name_the_master_again_in_each_attempt() {
    let (master, replica) = (
        Scripted::start(usual),
        Scripted::start(|command| match command {
            "ROLE" => Some(b"*2\r\n$5\r\nslave\r\n$1\r\nm\r\n".to_vec()),
            _ => usual(command),
        }),
    );
    let names = |port: u16| {
        move |command: &str| {
            let text = port.to_string();
            let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{text}\r\n", text.len());
            (command == "SENTINEL get-master-addr-by-name main").then(|| answer.into_bytes())
        }
    };
    let unaware = Scripted::start(|_| Some(b"*-1\r\n".to_vec()));
    let (outdated, current) =
        (Scripted::start(names(replica.port)), Scripted::start(names(master.port)));
    let ports = [&unaware, &outdated, &current].map(|it| format!("127.0.0.1:{}", it.port));
    let link = Running::start(&format!("redis+sentinel://{}/main", ports.join(",")));
    assert_eq!(link.member.wait_until_down(), Down::NotMaster("it is a replica of m".into()));
    link.member.wait_until_connected();
    assert_eq!(current.count("SENTINEL"), 1);

    let link = Running::start(&format!("redis+sentinel://127.0.0.1:{}/main", unaware.port));
    let Down::NoMaster(why) = link.member.wait_until_down() else { panic!() };
    assert!(why.contains("does not know"), "{why}");
}

#[test]
fn the_thread_ends_when_all_is_sent() {
    let server = Scripted::start(usual);
    let mut link = Running::start(&server.url());
    link.member.wait_until_connected();
    link.finish(true);

    // It was asked before it was connected, and has a second for it.
    let mut link = Running::start(&server.url());
    link.ask(append(1));
    link.finish(false);
    assert!(matches!(link.member.wait_for_reply(), Reply::Appended { .. }));

    // Nobody is there: it ends after a second.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut link = Running::start(&format!("redis://127.0.0.1:{port}"));
    link.ask(append(1));
    link.finish(false);
}
