//! [`Pair`]: the two connections of a member to one server.

use std::time::Instant;

use super::{
    Codec, Down, Membership,
    connection::{Asked, Connection},
    exchange::Exchange,
    handshake::{Login, Purpose},
};

#[derive(Debug)]
pub(super) struct Pair {
    writer: Connection,
    reader: Connection,
    /// Both are logged in, and the member knows.
    is_connected: bool,
}

/// What is asked of the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// The thread is about to end, so nobody needs what could be read.
    NoReads,
}

impl Pair {
    pub(super) fn new(login: &Login, script: &str, now: Instant) -> Self {
        let open = |purpose| Connection::new(purpose, login, script, now);
        Self { writer: open(Purpose::Writes), reader: open(Purpose::Reads), is_connected: false }
    }

    pub(super) fn writer(&mut self) -> &mut Exchange<Asked> {
        self.writer.exchange()
    }

    pub(super) fn reader(&mut self) -> &mut Exchange<Asked> {
        self.reader.exchange()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Hands out all replies that have come.
    ///
    /// # Errors
    /// Both connections must end.
    pub(super) fn take_replies(
        &mut self,
        member: &dyn Membership,
        codec: &dyn Codec,
        now: Instant,
    ) -> Result<(), Down> {
        // First the writer: an acknowledgement comes before the entries that it speaks of.
        for connection in [&mut self.writer, &mut self.reader] {
            while let Some(reply) = connection.next_reply(codec, now)? {
                member.answered(reply);
            }
        }
        if let (false, Some(one), Some(other)) =
            (self.is_connected, self.writer.server(), self.reader.server())
        {
            if one.run_id != other.run_id {
                return Err(Down::TwoServers);
            }
            self.is_connected = true;
            member.connected();
        }
        Ok(())
    }

    /// Takes requests from the member as far as there is room, and says whether there were any.
    pub(super) fn pull(
        &mut self,
        member: &dyn Membership,
        codec: &dyn Codec,
        wanted: Wanted,
        now: Instant,
    ) -> bool {
        if !self.is_connected {
            return false;
        }
        let mut has_pulled = false;
        while !self.is_full()
            && let Some(request) = member.next_request()
        {
            self.writer.request(request, codec, now);
            has_pulled = true;
        }
        if wanted == Wanted::All
            && self.reader().missing() == 0
            && let Some(request) = member.next_read()
        {
            self.reader.request(request, codec, now);
            has_pulled = true;
        }
        has_pulled
    }

    /// The server takes no more for now.
    pub(super) fn is_full(&mut self) -> bool {
        let writer = self.writer();
        writer.unsent().len() >= UNSENT_BYTES_MAX || writer.missing() >= UNANSWERED_MAX
    }

    /// When one of them has been silent for too long, if nothing comes.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let deadlines = [self.writer().deadline(), self.reader().deadline()];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn check_deadline(&mut self, now: Instant) -> Result<(), Down> {
        self.writer().check_deadline(now)?;
        self.reader().check_deadline(now)
    }
}

/// More requests are not taken from the member. One of them may be larger.
const UNSENT_BYTES_MAX: usize = 1 << 20;
/// Members allow themselves far less.
const UNANSWERED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        backplane::redis::test_support::*,
        span::protocol::{Reply, Request},
    };

    fn info(run_id: &str) -> String {
        let text = format!("run_id:{run_id}\r\n");
        format!("${}\r\n{text}\r\n*1\r\n$6\r\nmaster\r\n", text.len())
    }

    fn send_all(exchange: &mut Exchange<Asked>, now: Instant) -> Vec<String> {
        let sent = commands(exchange.unsent());
        exchange.note_sent(exchange.unsent().len(), now);
        sent
    }

    fn pair(now: Instant) -> Pair {
        let mut pair = Pair::new(&Login::default(), SCRIPT, now);
        assert_eq!(send_all(pair.writer(), now).len(), 3);
        assert_eq!(send_all(pair.reader(), now).len(), 2);
        pair
    }

    #[test]
    fn the_member_is_connected_when_both_connections_have_reached_the_same_server() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = pair(now);
        pair.reader().receive(info("a").as_bytes(), now);
        pair.take_replies(&member, &TestCodec, now).unwrap();
        assert!(!pair.pull(&member, &TestCodec, Wanted::All, now));
        assert!(!pair.is_connected() && member.take_events().is_empty());
        pair.writer().receive(info("a").as_bytes(), now);
        pair.writer().receive(b"$1\r\ns\r\n", now);
        pair.take_replies(&member, &TestCodec, now).unwrap();
        pair.take_replies(&member, &TestCodec, now).unwrap();
        assert_eq!(member.take_events(), [Event::Connected]);
    }

    #[test]
    fn two_servers_behind_one_address_are_an_error() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = pair(now);
        pair.reader().receive(info("a").as_bytes(), now);
        pair.writer().receive(info("b").as_bytes(), now);
        pair.writer().receive(b"$1\r\ns\r\n", now);
        assert_eq!(pair.take_replies(&member, &TestCodec, now), Err(Down::TwoServers));
        assert!(member.take_events().is_empty());
    }

    fn connected(member: &Recorder, now: Instant) -> Pair {
        let mut pair = pair(now);
        pair.reader().receive(info("a").as_bytes(), now);
        pair.writer().receive(info("a").as_bytes(), now);
        pair.writer().receive(b"$1\r\ns\r\n", now);
        pair.take_replies(member, &TestCodec, now).unwrap();
        member.take_events();
        pair
    }

    #[test]
    fn several_requests_are_on_their_way_and_one_read() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = connected(&member, now);
        member.ask(Request::Greet { floor: 7 });
        member.ask(append(1));
        member.ask_to_read(5);
        assert!(pair.pull(&member, &TestCodec, Wanted::All, now));
        assert!(!pair.pull(&member, &TestCodec, Wanted::All, now));
        assert_eq!(send_all(pair.writer(), now), ["ECHO 7", "EVALSHA s 1 {test}:n"]);
        assert_eq!(
            send_all(pair.reader(), now),
            ["XREAD COUNT 10 BLOCK 1000 STREAMS {test}:log 5-0"]
        );
        pair.writer().receive(b"$1\r\n7\r\n:9\r\n", now);
        pair.reader().receive(b"*-1\r\n", now);
        pair.take_replies(&member, &TestCodec, now).unwrap();
        let [
            Event::Answered(Reply::Greeted(_)),
            Event::Answered(acknowledged),
            Event::Answered(entries),
        ] = &*member.take_events()
        else {
            panic!("{member:?}")
        };
        assert_eq!((acknowledged, entries), (&appended(1, 9), &Reply::Entries(Vec::new())));
        assert!(pair.pull(&member, &TestCodec, Wanted::All, now), "the next read");
        assert_eq!(send_all(pair.reader(), now).len(), 1);
    }

    #[test]
    fn at_the_end_nothing_is_read() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = connected(&member, now);
        member.ask(append(1));
        member.ask_to_read(5);
        assert!(pair.pull(&member, &TestCodec, Wanted::NoReads, now));
        assert!(pair.reader().unsent().is_empty() && !pair.writer().unsent().is_empty());
    }

    #[test]
    fn a_server_that_takes_nothing_holds_a_bounded_number_of_requests() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = connected(&member, now);
        (0..1000).for_each(|number| member.ask(append(number)));
        assert!(pair.pull(&member, &TestCodec, Wanted::All, now));
        assert_eq!(pair.writer().missing(), UNANSWERED_MAX);
        let mut pair = connected(&member, now);
        let topic: std::sync::Arc<str> = "x".repeat(UNSENT_BYTES_MAX).into();
        let member = Recorder::default();
        (0..3).for_each(|_| member.ask(Request::Recall(vec![topic.clone()])));
        assert!(pair.pull(&member, &TestCodec, Wanted::All, now));
        assert_eq!(pair.writer().missing(), 1);
    }

    #[test]
    fn each_connection_has_its_timeout() {
        let (now, member) = (Instant::now(), Recorder::default());
        let mut pair = connected(&member, now);
        assert_eq!(pair.deadline(), None);
        member.ask_to_read(0);
        pair.pull(&member, &TestCodec, Wanted::All, now);
        let seconds = Duration::from_secs;
        assert_eq!(pair.deadline(), Some(now + seconds(3)));
        member.ask(append(1));
        pair.pull(&member, &TestCodec, Wanted::All, now);
        assert_eq!(pair.deadline(), Some(now + seconds(2)));
        assert_eq!(pair.check_deadline(now + seconds(2)), Err(Down::Silent(seconds(2))));
    }
}
