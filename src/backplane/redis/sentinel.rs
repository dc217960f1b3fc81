//! [`Query`]: asks one Sentinel where the master is.

use std::time::Instant;

use redis_protocol::resp2::types::OwnedFrame;

use super::{
    Down,
    address::Endpoint,
    connection::LOGIN_TIMEOUT,
    exchange::Exchange,
    frames::write_command,
    handshake::{Login, frame_text},
};

/// A connection to a Sentinel. User and password are those of the server. A Sentinel is given them
/// only if it asks for a password, because most have none.
#[derive(Debug)]
pub(super) struct Query {
    exchange: Exchange<Asked>,
    master: String,
    login: Login,
    has_authenticated: bool,
}

#[derive(Debug)]
pub(super) enum Asked {
    Authentication,
    Master,
}

impl Query {
    pub(super) fn new(master: &str, login: &Login, now: Instant) -> Self {
        let (master, login) = (master.to_owned(), login.clone());
        let mut query =
            Self { exchange: Exchange::new(now), master, login, has_authenticated: false };
        query.ask_for_master(now);
        query
    }

    pub(super) fn exchange(&mut self) -> &mut Exchange<Asked> {
        &mut self.exchange
    }

    /// The master, when it is known.
    pub(super) fn answer(&mut self, now: Instant) -> Result<Option<Endpoint>, Down> {
        while let Some((asked, frame)) = self.exchange.next(now)? {
            match (asked, frame) {
                (Asked::Authentication, OwnedFrame::Error(words)) => {
                    return Err(Down::Denied(words));
                }
                (Asked::Authentication, _) => {}
                (Asked::Master, OwnedFrame::Error(words)) => self.after_error(&words, now)?,
                (Asked::Master, frame) => return self.endpoint(&frame).map(Some),
            }
        }
        Ok(None)
    }

    fn after_error(&mut self, words: &str, now: Instant) -> Result<(), Down> {
        let wants_password = words.starts_with("NOAUTH") && self.login.password.is_some();
        if !wants_password || self.has_authenticated {
            return Err(Down::of_error(words));
        }
        self.has_authenticated = true;
        let login = &self.login;
        let write = |_: &Asked, out: &mut Vec<u8>| login.write_auth(out);
        self.exchange.ask(Asked::Authentication, LOGIN_TIMEOUT, now, write);
        self.ask_for_master(now);
        Ok(())
    }

    fn ask_for_master(&mut self, now: Instant) {
        let master = self.master.as_bytes();
        self.exchange.ask(Asked::Master, LOGIN_TIMEOUT, now, |_, out| {
            write_command(out, &[b"SENTINEL", b"get-master-addr-by-name", master]);
        });
    }

    fn endpoint(&self, frame: &OwnedFrame) -> Result<Endpoint, Down> {
        if let OwnedFrame::Null = frame {
            return Err(Down::NoMaster(format!("it does not know \"{}\"", self.master)));
        }
        let parts = match frame {
            OwnedFrame::Array(parts) => parts.as_slice(),
            _ => &[],
        };
        if let [host, port] = parts
            && let (Some(host), Some(port)) = (frame_text(host), frame_text(port))
            && let Some(endpoint) = Endpoint::of_cluster(&format!("{host}:{port}"))
            && !endpoint.host.is_empty()
        {
            return Ok(endpoint);
        }
        Err(Down::Malformed("a Sentinel's answer is not an address".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::{address::Secret, test_support::commands};

    fn query(password: Option<&str>) -> (Query, Instant) {
        let now = Instant::now();
        let password = password.map(|it| Secret(it.into()));
        let mut query = Query::new("main", &Login { password, ..Login::default() }, now);
        assert_eq!(sent(&mut query, now), ["SENTINEL get-master-addr-by-name main"]);
        (query, now)
    }

    fn sent(query: &mut Query, now: Instant) -> Vec<String> {
        let exchange = query.exchange();
        let sent = commands(exchange.unsent());
        exchange.note_sent(exchange.unsent().len(), now);
        sent
    }

    fn answer(query: &mut Query, bytes: &str, now: Instant) -> Result<Option<Endpoint>, Down> {
        query.exchange().receive(bytes.as_bytes(), now);
        query.answer(now)
    }

    const MASTER: &str = "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7001\r\n";

    #[test]
    fn the_master_is_found_wherever_the_answer_is_cut() {
        for cut in 0..MASTER.len() {
            let (mut query, now) = query(Some("unused"));
            assert_eq!(answer(&mut query, &MASTER[..cut], now), Ok(None));
            let master = Some(Endpoint::new("127.0.0.1", 7001));
            assert_eq!(answer(&mut query, &MASTER[cut..], now), Ok(master));
        }
    }

    #[test]
    fn a_sentinel_gets_the_password_if_it_asks_for_one() {
        let (mut asked, now) = query(Some("secret"));
        assert_eq!(answer(&mut asked, "-NOAUTH Authentication required.\r\n", now), Ok(None));
        let again = ["AUTH secret", "SENTINEL get-master-addr-by-name main"];
        assert_eq!(sent(&mut asked, now), again);
        let found = answer(&mut asked, &format!("+OK\r\n{MASTER}"), now);
        assert!(found.is_ok_and(|it| it.is_some()));

        let (mut refusing, now) = query(Some("secret"));
        answer(&mut refusing, "-NOAUTH no\r\n", now).unwrap();
        let denied = Err(Down::Denied("WRONGPASS no".into()));
        assert_eq!(answer(&mut refusing, "-WRONGPASS no\r\n", now), denied);

        let (mut without, now) = query(None);
        let denied = Err(Down::Denied("NOAUTH no".into()));
        assert_eq!(answer(&mut without, "-NOAUTH no\r\n", now), denied);
    }

    #[test]
    fn what_is_not_an_address_is_an_error() {
        let unknown = Down::NoMaster("it does not know \"main\"".into());
        let no_address = Down::Malformed("a Sentinel's answer is not an address".into());
        for (bytes, why) in [
            ("*-1\r\n", unknown),
            ("*0\r\n", no_address.clone()),
            (":1\r\n", no_address.clone()),
            ("*2\r\n$1\r\nh\r\n$1\r\n0\r\n", no_address.clone()),
            ("*2\r\n$0\r\n\r\n$1\r\n1\r\n", no_address.clone()),
            ("*2\r\n$1\r\n\u{7f}\r\n:1\r\n", no_address),
            (
                "-ERR unknown command 'SENTINEL'\r\n",
                Down::Refused("ERR unknown command 'SENTINEL'".into()),
            ),
        ] {
            let (mut query, now) = query(None);
            assert_eq!(answer(&mut query, bytes, now), Err(why), "{bytes}");
        }
    }
}
