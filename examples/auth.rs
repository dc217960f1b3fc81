//! A login: a form sets a session cookie, and a stream requires it and ends with the session.
//!
//! `cargo run --example auth`, then open <http://127.0.0.1:8080>; the password is `sesame`.
//!
//! Without a session, the handler responds with 401 instead of a stream. When a session expires, its
//! streams are dropped. Their clients reconnect and get the same 401: `EventSource` then stops, and
//! Datastar reports an error. A 204 would stop both without an error.

use std::{
    cell::RefCell,
    collections::HashMap,
    env,
    error::Error,
    fs::File,
    io::{self, Read},
    rc::Rc,
    time::{Duration, SystemTime},
};

use starwheel::{
    Context, Ending, Handler, OriginCheck, Reactor, Request, Response, Router, Sse, StatusCode,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(site(random_id))?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);
    Ok(reactor.run()?)
}

/// The complete site. The source of session ids is an argument, so that tests can predict them.
pub(crate) fn site(mut new_id: impl FnMut() -> io::Result<String> + 'static) -> impl Handler {
    let sessions = Sessions::default();
    let (opened, asked, closed) = (sessions.clone(), sessions.clone(), sessions);
    let router = Router::new()
        .get("/", |_req, _cx| Response::html(PAGE))
        .post("/login", move |req, cx| {
            let form = |name| field_of_form(req, name);
            let (user, password) = (form("user"), form("password"));
            // In a real application, compare a slow hash of the password, on another thread.
            if user.is_empty() || password != "sesame" {
                return Err(unauthorized("wrong name or password"));
            }
            let id = new_id()?;
            opened.open(&id, user, cx.system_time() + SESSION);
            // Scripts cannot read it, and pages from other sites cannot send it. With TLS, add
            // `Secure` and name it `__Host-session`.
            let max_age_s = SESSION.as_secs();
            let cookie =
                format!("session={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}");
            Ok(Response::redirect("/").with_header("Set-Cookie", cookie))
        })
        .post("/logout", move |req, cx| {
            let id = req.cookie("session").unwrap_or_default();
            closed.close(id);
            // The streams of this session carry its id as their tag.
            for stream in cx.tagged(id) {
                cx.close(stream, Ending::Drop);
            }
            Response::redirect("/").with_header("Set-Cookie", "session=; Path=/; Max-Age=0")
        })
        .get("/news", move |req, cx| {
            let id = req.cookie("session").unwrap_or_default();
            let session = asked.find(id, cx).ok_or_else(|| unauthorized("log in first"))?;
            let user = session.user;
            Ok(Sse::every(Duration::from_secs(1), move |stream| {
                stream.send(format_args!("something new for {user}"));
            })
            .tag(id)
            .expires_at(session.expires))
        });
    // Pages from other sites cannot log a visitor in or out.
    OriginCheck::new().around(router)
}

const SESSION: Duration = Duration::from_secs(60);

/// A 401 must name a way to log in (RFC 9110 section 15.5.2). Browsers show no dialog of their own for
/// a scheme that they do not know.
fn unauthorized(reason: &str) -> Response {
    Response::error(StatusCode::UNAUTHORIZED, reason)
        .with_header("WWW-Authenticate", "Cookie realm=\"example\"")
}

#[derive(Clone)]
struct Session {
    user: String,
    expires: SystemTime,
}

/// The open sessions, by id.
#[derive(Clone, Default)]
struct Sessions(Rc<RefCell<HashMap<String, Session>>>);

impl Sessions {
    fn open(&self, id: &str, user: String, expires: SystemTime) {
        self.0.borrow_mut().insert(id.to_owned(), Session { user, expires });
    }

    fn find(&self, id: &str, cx: &Context<'_>) -> Option<Session> {
        // Most visitors never log out, so remove expired sessions.
        self.0.borrow_mut().retain(|_, session| session.expires > cx.system_time());
        self.0.borrow().get(id).cloned()
    }

    fn close(&self, id: &str) {
        self.0.borrow_mut().remove(id);
    }
}

fn field_of_form(req: &Request, name: &str) -> String {
    let mut fields = req.form_pairs();
    fields.find(|(sent, _)| sent == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// 128 random bits, impossible to guess.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

const PAGE: &str = include_str!("auth.html");
