//! [`Connection`]: one connection, from its login to the reply of its last request.
//!
//! ```text
//!   steps of the login, sent together ──► server() ──► request() … next_reply() …
//! ```
//!
//! The first error ends it. Only a batch that the server has no room for is refused without that.

use std::time::{Duration, Instant};

use redis_protocol::resp2::types::OwnedFrame;

use super::{
    Codec, Down, ReplyError, Server,
    down::is_refusal,
    exchange::Exchange,
    handshake::{Login, Purpose, Step},
};
use crate::span::protocol::{Reply, Request};

#[derive(Debug)]
pub(super) struct Connection {
    exchange: Exchange<Asked>,
    server: Server,
    steps_left: usize,
}

#[derive(Debug)]
pub(super) enum Asked {
    Step(Step),
    Request(Request),
}

impl Connection {
    /// A connection that is being opened: the login waits to be sent.
    pub(super) fn new(purpose: Purpose, login: &Login, script: &str, now: Instant) -> Self {
        let mut connection =
            Self { exchange: Exchange::new(now), server: Server::default(), steps_left: 0 };
        for step in Step::all(login, purpose) {
            connection.steps_left += 1;
            let write = |_: &Asked, out: &mut Vec<u8>| step.write(login, script, out);
            connection.exchange.ask(Asked::Step(step), LOGIN_TIMEOUT, now, write);
        }
        connection
    }

    /// The bytes in both directions.
    pub(super) fn exchange(&mut self) -> &mut Exchange<Asked> {
        &mut self.exchange
    }

    /// Its server, when the login is complete.
    pub(super) fn server(&self) -> Option<&Server> {
        (self.steps_left == 0).then_some(&self.server)
    }

    /// Sends a request, once the login is complete.
    pub(super) fn request(&mut self, request: Request, codec: &dyn Codec, now: Instant) {
        debug_assert!(self.server().is_some(), "not logged in");
        let timeout = match request {
            Request::Read { .. } => READ_TIMEOUT,
            Request::Greet { .. }
            | Request::Append { .. }
            | Request::Recall(_)
            | Request::Count { .. } => REPLY_TIMEOUT,
        };
        let server = &self.server;
        self.exchange.ask(Asked::Request(request), timeout, now, |asked, out| {
            if let Asked::Request(request) = asked {
                codec.encode(request, server, out);
            }
        });
    }

    /// The next reply of what has come; the login is looked at on the way. Call it until there is none.
    pub(super) fn next_reply(
        &mut self,
        codec: &dyn Codec,
        now: Instant,
    ) -> Result<Option<Reply>, Down> {
        while let Some((asked, frame)) = self.exchange.next(now)? {
            match asked {
                Asked::Step(step) => {
                    step.take(frame, &mut self.server)?;
                    self.steps_left -= 1;
                }
                Asked::Request(request) => return reply(&request, frame, codec).map(Some),
            }
        }
        Ok(None)
    }
}

fn reply(request: &Request, frame: OwnedFrame, codec: &dyn Codec) -> Result<Reply, Down> {
    match (request, frame) {
        (Request::Append { batch, .. }, OwnedFrame::Error(reason)) if is_refusal(&reason) => {
            Ok(Reply::Refused { number: batch.number, reason })
        }
        (_, OwnedFrame::Error(words)) => Err(Down::of_error(&words)),
        (request, frame) => codec.decode(request, frame).map_err(|error| match error {
            ReplyError::Server(words) => Down::of_error(&words),
            ReplyError::Malformed(what) => Down::Malformed(what.to_owned()),
        }),
    }
}

/// For connecting too, and for TLS.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(3);
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// A read that finds nothing is answered after a second.
const READ_TIMEOUT: Duration = Duration::from_secs(1 + 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::{address::Secret, test_support::*};

    /// Gives the bytes of a server in two pieces, and returns what came of them.
    fn after(
        purpose: Purpose,
        login: &Login,
        bytes: &[u8],
        cut: usize,
    ) -> (Connection, Result<Option<Reply>, Down>) {
        let now = Instant::now();
        let mut connection = Connection::new(purpose, login, SCRIPT, now);
        let mut last = Ok(None);
        for piece in [&bytes[..cut], &bytes[cut..]] {
            connection.exchange().receive(piece, now);
            last = connection.next_reply(&TestCodec, now);
            if last.is_err() {
                break;
            }
        }
        (connection, last)
    }

    fn login() -> Login {
        let password = Some(Secret("secret".into()));
        Login { user: Some("joe".into()), password, database: 3, client_name: "web".into() }
    }

    const WELCOME: &str = "+OK\r\n+OK\r\n-ERR no names\r\n$36\r\n# Server\r\nredis_version:7\r\nrun_id:a1\r\n\
        *3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n$4\r\nabcd\r\n";

    #[test]
    fn the_login_is_sent_at_once() {
        let mut connection = Connection::new(Purpose::Writes, &login(), SCRIPT, Instant::now());
        let sent = commands(connection.exchange().unsent());
        assert_eq!(
            sent,
            [
                "AUTH joe secret",
                "SELECT 3",
                "CLIENT SETNAME web",
                "INFO server",
                "ROLE",
                &format!("SCRIPT LOAD {SCRIPT}"),
            ]
        );
        let mut connection =
            Connection::new(Purpose::Reads, &Login::default(), SCRIPT, Instant::now());
        assert_eq!(commands(connection.exchange().unsent()), ["INFO server", "ROLE"]);
        let login = Login { user: None, ..login() };
        let mut connection = Connection::new(Purpose::Reads, &login, SCRIPT, Instant::now());
        assert_eq!(commands(connection.exchange().unsent())[0], "AUTH secret");
    }

    #[test]
    fn the_server_is_known_after_the_last_step_wherever_the_bytes_are_cut() {
        for cut in 0..=WELCOME.len() {
            let (connection, last) = after(Purpose::Writes, &login(), WELCOME.as_bytes(), cut);
            assert_eq!(last, Ok(None), "cut at {cut}");
            let server = Server { run_id: "a1".into(), script: "abcd".into() };
            assert_eq!(connection.server(), Some(&server));
        }
        let incomplete = &WELCOME.as_bytes()[..WELCOME.len() - 1];
        let (connection, last) = after(Purpose::Writes, &login(), incomplete, 10);
        assert_eq!((connection.server(), last), (None, Ok(None)));
    }

    #[test]
    fn each_step_can_fail_in_words_of_its_own() {
        let fails = |bytes: &str, why: Down| {
            for cut in 0..=bytes.len() {
                let (_, last) = after(Purpose::Writes, &login(), bytes.as_bytes(), cut);
                assert_eq!(last, Err(why.clone()), "{bytes} cut at {cut}");
            }
        };
        let (info, role) = ("$11\r\nrun_id:a1\r\n\r\n", "*1\r\n$6\r\nmaster\r\n");
        let before = "+OK\r\n+OK\r\n+OK\r\n";
        fails("-WRONGPASS no\r\n", Down::Denied("WRONGPASS no".into()));
        fails(
            "-ERR Client sent AUTH, but no password is set\r\n",
            Down::Denied("ERR Client sent AUTH, but no password is set".into()),
        );
        fails(
            "+OK\r\n-ERR DB index is out of range\r\n",
            Down::Refused("ERR DB index is out of range".into()),
        );
        fails("+OK\r\n-LOADING soon\r\n", Down::Busy("LOADING soon".into()));
        fails(&format!("{before}-NOPERM no\r\n"), Down::Denied("NOPERM no".into()));
        fails(&format!("{before}$3\r\n# S\r\n"), NO_RUN_ID_DOWN());
        fails(
            &format!("{before}{info}*5\r\n$5\r\nslave\r\n$4\r\nmain\r\n:1\r\n$4\r\nsync\r\n:0\r\n"),
            Down::NotMaster("it is a replica of main".into()),
        );
        fails(
            &format!("{before}{info}*2\r\n$8\r\nsentinel\r\n*0\r\n"),
            Down::NotMaster(
                "it is a Sentinel; write redis+sentinel://host/NAME-OF-THE-MASTER".into(),
            ),
        );
        fails(
            &format!("{before}{info}{role}-ERR Error compiling script\r\n"),
            Down::Refused("ERR Error compiling script".into()),
        );
        let unexpected = Down::Malformed("an unexpected reply to a step of the login".into());
        fails(":1\r\n", unexpected.clone());
        fails(&format!("{before}{info}:1\r\n"), unexpected.clone());
        fails(&format!("{before}{info}*0\r\n"), unexpected.clone());
        fails(&format!("{before}{info}{role}$0\r\n\r\n"), unexpected);
    }

    #[expect(non_snake_case, reason = "a constant, except that it allocates")]
    fn NO_RUN_ID_DOWN() -> Down {
        Down::Malformed("INFO server has no run_id".into())
    }

    fn ready() -> (Connection, Instant) {
        let (mut connection, last) = after(Purpose::Writes, &login(), WELCOME.as_bytes(), 0);
        assert_eq!(last, Ok(None));
        let now = Instant::now();
        let login = connection.exchange().unsent().len();
        connection.exchange().note_sent(login, now);
        (connection, now)
    }

    #[test]
    fn requests_are_pipelined_and_a_batch_without_room_is_refused() {
        let (mut connection, now) = ready();
        for number in 1..=3 {
            connection.request(append(number), &TestCodec, now);
        }
        assert_eq!(commands(connection.exchange().unsent()).len(), 3);
        let replies = b":5\r\n-OOM command not allowed\r\n-NOREPLICAS wait\r\n";
        connection.exchange().receive(replies, now);
        let refused = |number, reason: &str| Reply::Refused { number, reason: reason.into() };
        for reply in
            [appended(1, 5), refused(2, "OOM command not allowed"), refused(3, "NOREPLICAS wait")]
        {
            assert_eq!(connection.next_reply(&TestCodec, now), Ok(Some(reply)));
        }
        assert_eq!(connection.next_reply(&TestCodec, now), Ok(None));
        assert_eq!(connection.exchange().deadline(), None);
    }

    #[test]
    fn other_errors_end_the_connection() {
        for (words, why) in [
            ("NOSCRIPT no", Down::ScriptGone as fn(String) -> Down),
            ("READONLY no", Down::NotMaster),
            ("WRONGTYPE no", Down::WrongType),
            ("NOPERM no", Down::Denied),
        ] {
            let (mut connection, now) = ready();
            connection.request(append(1), &TestCodec, now);
            connection.exchange().receive(format!("-{words}\r\n").as_bytes(), now);
            assert_eq!(connection.next_reply(&TestCodec, now), Err(why(words.into())));
        }
        let (mut connection, now) = ready();
        connection.request(Request::Greet { floor: 0 }, &TestCodec, now);
        connection.exchange().receive(b"-OOM no\r\n", now);
        assert_eq!(connection.next_reply(&TestCodec, now), Err(Down::Refused("OOM no".into())));
        let (mut connection, now) = ready();
        connection.request(append(1), &TestCodec, now);
        connection.exchange().receive(b"$1\r\nx\r\n", now);
        let why = Down::Malformed("not a number".into());
        assert_eq!(connection.next_reply(&TestCodec, now), Err(why));
    }

    #[test]
    fn a_read_may_take_a_second_longer() {
        let (mut connection, now) = ready();
        connection.request(Request::Greet { floor: 0 }, &TestCodec, now);
        assert_eq!(connection.exchange().deadline(), Some(now + REPLY_TIMEOUT));
        let (mut connection, now) = ready();
        connection.request(Request::Read { after: 0, most: 1 }, &TestCodec, now);
        assert_eq!(connection.exchange().deadline(), Some(now + READ_TIMEOUT));
    }
}
