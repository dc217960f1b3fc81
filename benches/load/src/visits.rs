//! `churn`: connect, wait for the first event, close; over and over.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use lexopt::prelude::ValueExt;
use mio::{Events, Poll, Token};
use serde_json::json;

use crate::{
    Experiment, Result,
    client::{Client, Phase},
    figures::Figures,
    server::{Cores, Program, Server},
    wire::Response,
};

#[derive(Debug, Clone)]
pub struct Visits {
    /// Connections in all.
    pub connections: usize,
    pub at_a_time: usize,
}

impl Default for Visits {
    fn default() -> Self {
        Self { connections: 20_000, at_a_time: 32 }
    }
}

impl Experiment for Visits {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "connections" => self.connections = parser.value()?.parse()?,
            "at-a-time" => self.at_a_time = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.at_a_time
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let server = Server::start(program, cores)?;
        self.cycles(&server, self.connections / 10)?;
        let cpu_before_ns = server.cpu_ns()?;
        self.cycles(&server, self.connections)?;
        let cpu_ns = (server.cpu_ns()? - cpu_before_ns) as f64 / self.connections as f64;
        Ok(Figures {
            command: "churn",
            cpu_ns,
            text: format!(
                "{} connections, {} at a time\n  CPU       {:.2} us per connection",
                self.connections,
                self.at_a_time,
                cpu_ns / 1e3
            ),
            json: json!({ "connections": self.connections, "at_a_time": self.at_a_time }),
        })
    }
}

impl Visits {
    /// The interval is longer than a client stays, and short enough for servers that notice at the
    /// next event only that a client has left.
    fn cycles(&self, server: &Server, count: usize) -> Result<()> {
        let request = format!(
            "GET /tick?ms=250&bytes=100 HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
            server.address()
        );
        let mut poll = Poll::new()?;
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 16 * 1024]);
        let (mut begun, mut done) = (0, 0);
        let mut slots: Vec<Option<Client>> = (0..self.at_a_time).map(|_| None).collect();
        let mut progress = Instant::now();
        while done < count {
            for (slot, client) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
                if begun < count {
                    *client = Some(Client::connect(
                        begun,
                        server.address(),
                        poll.registry(),
                        Token(slot),
                        Response::default(),
                    )?);
                    begun += 1;
                }
            }
            match poll.poll(&mut events, Some(TIMEOUT)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let slot = &mut slots[event.token().0];
                let Some(client) = slot else { continue };
                if client.phase == Phase::Connecting {
                    if !event.is_writable() {
                        continue;
                    }
                    client.send(request.as_bytes())?;
                }
                let mut has_event = false;
                client.read(0, &mut buffer, &mut |_| has_event = true)?;
                if client.phase == Phase::Lost {
                    return Err("the server ended a stream before its first event".into());
                }
                if has_event {
                    *slot = None;
                    done += 1;
                    progress = Instant::now();
                }
            }
            if progress.elapsed() > TIMEOUT {
                return Err(format!("{done} of {count} connections got their event").into());
            }
        }
        // The server still has to find out about the last ones.
        thread::sleep(FALL_ASLEEP);
        Ok(())
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const FALL_ASLEEP: Duration = Duration::from_millis(50);
