//! `plain`: short responses on persistent connections.

use std::{
    io::{ErrorKind, Read, Write},
    thread,
    time::{Duration, Instant},
};

use lexopt::prelude::ValueExt;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde_json::json;

use crate::{
    Experiment, Result,
    client::connect_from,
    figures::Figures,
    publisher::answer_length,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub struct Plain {
    pub connections: usize,
    pub replies: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self { connections: 64, replies: 100_000 }
    }
}

impl Experiment for Plain {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "connections" => self.connections = parser.value()?.parse()?,
            "replies" => self.replies = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.connections
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let server = Server::start(program, cores)?;
        let mut askers = Askers::connect(&server, self.connections)?;
        askers.ask(self.replies / 10)?;
        let cpu_before_ns = server.cpu_ns()?;
        askers.ask(self.replies)?;
        let cpu_ns = (server.cpu_ns()? - cpu_before_ns) as f64 / self.replies as f64;
        Ok(Figures {
            command: "plain",
            cpu_ns,
            text: format!(
                "{} responses on {} connections\n  CPU       {:.2} us per response",
                self.replies,
                self.connections,
                cpu_ns / 1e3
            ),
            json: json!({ "connections": self.connections, "replies": self.replies }),
        })
    }
}

struct Askers {
    poll: Poll,
    request: Vec<u8>,
    askers: Vec<Asker>,
}

struct Asker {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Askers {
    fn connect(server: &Server, count: usize) -> Result<Self> {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
        let mut poll = Poll::new()?;
        let mut askers = Vec::with_capacity(count);
        let mut events = Events::with_capacity(count);
        for index in 0..count {
            let mut socket = connect_from(index, server.address())?;
            poll.registry().register(
                &mut socket,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            askers.push(Asker { socket, received: Vec::new() });
        }
        let mut connected = vec![false; count];
        let deadline = Instant::now() + TIMEOUT;
        while connected.contains(&false) {
            poll.poll(&mut events, Some(TIMEOUT))?;
            for event in events.iter().filter(|event| event.is_writable()) {
                connected[event.token().0] = true;
            }
            if Instant::now() > deadline {
                return Err("the server does not accept".into());
            }
        }
        Ok(Self { poll, request: request.into_bytes(), askers })
    }

    /// Each connection asks again when it has its response, until there are `count` responses.
    fn ask(&mut self, count: usize) -> Result<()> {
        let mut asked = 0;
        for asker in self.askers.iter_mut().take(count) {
            asker.send(&self.request)?;
            asked += 1;
        }
        let mut replies = 0;
        let mut events = Events::with_capacity(self.askers.len());
        let mut buffer = [0; 4096];
        while replies < count {
            match self.poll.poll(&mut events, Some(TIMEOUT)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            if events.is_empty() {
                return Err(format!("{replies} of {count} responses arrived").into());
            }
            for event in events.iter().filter(|event| event.is_readable()) {
                let asker = &mut self.askers[event.token().0];
                if asker.receive(&mut buffer)? {
                    replies += 1;
                    if asked < count {
                        asker.send(&self.request)?;
                        asked += 1;
                    }
                }
            }
        }
        thread::sleep(FALL_ASLEEP);
        Ok(())
    }
}

impl Asker {
    fn send(&mut self, request: &[u8]) -> Result<()> {
        match self.socket.write(request)? == request.len() {
            true => Ok(()),
            false => Err("the request was not taken whole".into()),
        }
    }

    /// True when the response is complete.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.socket.read(buffer) {
            Ok(0) => return Err("the server closed a connection that was to be kept".into()),
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        match answer_length(&self.received)? {
            Some(length) if !self.received[..length].ends_with(b"Hello, World!") => {
                Err("not the expected response".into())
            }
            Some(length) if length < self.received.len() => Err("more than was asked for".into()),
            Some(_) => {
                self.received.clear();
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const FALL_ASLEEP: Duration = Duration::from_millis(20);
