//! Who may look: a password opens a session, and the page and its stream require one.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use starwheel::{Answer, Context, Request, Response, Router, StatusCode};

/// The open sessions and when they end, for all workers.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, SystemTime>>>);

pub(crate) fn around_dashboard(router: Router, password: &str, sessions: &Sessions) -> Router {
    let (expected, opened, asked) = (password.to_owned(), sessions.clone(), sessions.clone());
    let mut dashboard = starwheel::dashboard();
    router
        .get("/", |_req, _cx| Response::redirect("/ops"))
        .get("/login", |_req, _cx| Response::html(PAGE))
        .post("/login", move |req, cx| {
            let mut fields = req.form_pairs();
            // In a real application, compare a slow hash of the password, on another thread.
            if !fields.any(|(name, value)| name == "password" && value == expected) {
                return Err(Response::error(StatusCode::FORBIDDEN, "wrong password"));
            }
            let id = opened.open(cx.system_time() + SESSION)?;
            // With TLS, add `Secure` and name it `__Host-session`.
            let seconds = SESSION.as_secs();
            let cookie =
                format!("session={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
            Ok(Response::redirect("/ops").with_header("Set-Cookie", cookie))
        })
        .get("/ops", move |req, cx| match asked.end_of(req, cx) {
            // The stream ends with the session.
            Some(end) => match dashboard(req, cx) {
                Answer::Sse(sse) => Answer::Sse(Box::new(sse.expires_at(end))),
                page => page,
            },
            None if wants_stream(req) => {
                Response::error(StatusCode::FORBIDDEN, "log in first").into()
            }
            None => Response::redirect("/login").into(),
        })
}

fn wants_stream(request: &Request) -> bool {
    request.header("accept").is_some_and(|accept| accept.contains("text/event-stream"))
}

impl Sessions {
    fn open(&self, end: SystemTime) -> io::Result<String> {
        let id = random_text()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), end);
        Ok(id)
    }

    /// When the session of a request ends, if it has one.
    fn end_of(&self, request: &Request, cx: &Context<'_>) -> Option<SystemTime> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, end| *end > cx.system_time());
        sessions.get(request.cookie("session")?).copied()
    }
}

/// 128 random bits, impossible to guess.
pub(crate) fn random_text() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

const SESSION: Duration = Duration::from_secs(8 * 3600);
const PAGE: &str = include_str!("login.html");
