//! A process full of clients, and its parent's end of the pipes to it.
//!
//! The parent writes a line, the child does what it says and answers with a line. In between the
//! child reads its streams, because servers send comments to keep them alive. It ends when the pipe
//! does, so no child outlives its parent.

use std::{
    env,
    fmt::{self, Display},
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    str::FromStr,
    sync::mpsc::{self, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use starwheel_load::{clients::Clients, receipts::Receipts};

use crate::Result;

/// The parent's end.
pub(super) struct Crowd {
    child: Child,
    /// Taken when the child is to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// What the child is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// So many more streams on `/topic`.
    Open(usize),
    /// An event with this stamp will come to every stream.
    Expect(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many streams are open by now.
    Open(usize),
    Ready,
    /// Every stream has got the event, once; Unix times.
    Received {
        first_ns: u64,
        last_ns: u64,
    },
    Failed(String),
}

impl Crowd {
    /// Its streams will come from the addresses from `first_address` on.
    pub(super) fn start(server: SocketAddr, first_address: usize) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args([COMMAND, &server.to_string(), &first_address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.ok_or("the clients have no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    pub(super) fn tell(&mut self, order: Order) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("the clients were sent away")?;
        Ok(writeln!(stdin, "{order}")?)
    }

    /// Waits for the next answer; the child has time limits of its own.
    pub(super) fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => Err("a process of clients is gone".into()),
            _ => match line.trim_end().parse()? {
                Answer::Failed(reason) => Err(reason.into()),
                answer => Ok(answer),
            },
        }
    }

    /// Lets the child close its streams and end; [`drop`] waits for that.
    pub(super) fn send_away(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.send_away();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The child: does what its stdin says until that ends.
pub(crate) fn serve(server: SocketAddr, first_address: usize) -> Result<()> {
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut clients = Clients::new(server)?.from_address(first_address);
    let mut open = 0;
    loop {
        let answered = match orders.try_recv() {
            Ok(line) => line.parse().and_then(|order| obey(order, &mut clients, &mut open)),
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => wait(&mut clients),
        };
        if let Err(error) = answered {
            // The parent reports it.
            say(&Answer::Failed(error.to_string()))?;
            return Ok(());
        }
    }
}

fn obey(order: Order, clients: &mut Clients, open: &mut usize) -> Result<()> {
    match order {
        Order::Open(count) => {
            clients.open(count, "/topic", Duration::ZERO, |_| {})?;
            *open += count;
            say(&Answer::Open(*open))
        }
        Order::Expect(stamp_ns) => {
            let mut receipts = Receipts::new(*open);
            receipts.expect(stamp_ns);
            say(&Answer::Ready)?;
            let (mut first_ns, mut last_ns) = (u64::MAX, 0);
            clients.run_while(Instant::now() + DELIVERY_TIMEOUT, |arrival| {
                first_ns = first_ns.min(arrival.arrived_ns);
                last_ns = last_ns.max(arrival.arrived_ns);
                receipts.enter(arrival)
            })?;
            // First, because an event for a stream that was lost did not arrive either.
            check_none_is_lost(clients)?;
            receipts.check()?;
            say(&Answer::Received { first_ns, last_ns })
        }
    }
}

/// Reads comments, and nothing else.
fn wait(clients: &mut Clients) -> Result<()> {
    let mut unexpected = None;
    clients.run_until(Instant::now() + SLICE, |arrival| unexpected = Some(arrival))?;
    check_none_is_lost(clients)?;
    match unexpected {
        Some(arrival) => Err(format!("stream {} got what nobody sent", arrival.stream).into()),
        None => Ok(()),
    }
}

fn check_none_is_lost(clients: &Clients) -> Result<()> {
    match clients.lost() {
        0 => Ok(()),
        lost => Err(format!("{lost} streams ended by themselves").into()),
    }
}

fn say(answer: &Answer) -> Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{answer}")?;
    Ok(stdout.flush()?)
}

impl Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(count) => write!(f, "open {count}"),
            Self::Expect(stamp_ns) => write!(f, "expect {stamp_ns}"),
        }
    }
}

impl FromStr for Order {
    type Err = Box<dyn std::error::Error>;

    fn from_str(line: &str) -> Result<Self> {
        match line.split_once(' ') {
            Some(("open", count)) => Ok(Self::Open(count.parse()?)),
            Some(("expect", stamp_ns)) => Ok(Self::Expect(stamp_ns.parse()?)),
            _ => Err(format!("no order: {line:?}").into()),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(count) => write!(f, "open {count}"),
            Self::Ready => f.write_str("ready"),
            Self::Received { first_ns, last_ns } => write!(f, "received {first_ns} {last_ns}"),
            Self::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
        }
    }
}

impl FromStr for Answer {
    type Err = Box<dyn std::error::Error>;

    fn from_str(line: &str) -> Result<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match word {
            "open" => Self::Open(rest.parse()?),
            "ready" => Self::Ready,
            "received" => {
                let (first_ns, last_ns) = rest.split_once(' ').ok_or("received, but when?")?;
                Self::Received { first_ns: first_ns.parse()?, last_ns: last_ns.parse()? }
            }
            "failed" => Self::Failed(rest.into()),
            _ => return Err(format!("no answer: {line:?}").into()),
        })
    }
}

/// What this program is started with to be a crowd.
pub(crate) const COMMAND: &str = "crowd";
/// How long an order may wait.
const SLICE: Duration = Duration::from_millis(20);
/// All servers share a core, and all crowds another one.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_are_read_as_they_were_written() {
        for order in [Order::Open(19_900), Order::Expect(1_790_000_000_123_456_789)] {
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
        let received = Answer::Received { first_ns: 17, last_ns: 23 };
        let failed = Answer::Failed("connecting stream 7: out of files".into());
        for answer in [Answer::Open(1000), Answer::Ready, received, failed] {
            assert_eq!(answer.to_string().parse::<Answer>().unwrap(), answer);
        }
    }

    #[test]
    fn a_failure_stays_on_one_line() {
        assert_eq!(Answer::Failed("a\nb".into()).to_string(), "failed a b");
    }

    #[test]
    fn nonsense_is_no_order_and_no_answer() {
        for line in ["", "open", "open many", "close 1"] {
            line.parse::<Order>().unwrap_err();
        }
        for line in ["", "open", "received 1", "perhaps"] {
            line.parse::<Answer>().unwrap_err();
        }
    }
}
