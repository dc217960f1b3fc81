//! An axum application with live streams on its port: a page, a login, a JSON API, and a board of
//! notes that every browser shows as soon as they are written.
//!
//! `cargo run --package axum-example --example axum`, then open <http://127.0.0.1:8080> in two
//! windows; the password is `sesame`. `PORT` chooses another port.
//!
//! Extractors, state and cookies are axum's. Only `/live` leaves it: its connection moves to the
//! reactor, which keeps it for some hundred bytes.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use starwheel::{
    Ending, Event, Handle, JoinAt, Reactor, Sse, Topic,
    axum::{Live, LiveAnswer},
};
use tokio::{
    net::TcpListener,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
    task,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let live = Reactor::spawn("live", starwheel::Router::new)?;
    let site = Site::new(live.handle());
    let app = Router::new()
        .route("/", get(async || Html(include_str!("axum.html"))))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/api/notes", get(list).post(add))
        .route("/live", get(watch))
        .with_state(site);
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let handle = live.handle();
    starwheel::axum::serve(listener, app, live.handle())
        .with_graceful_shutdown(async move {
            asked_to_stop().await;
            // Streams end over ten seconds, so that their clients do not all come back at once.
            handle.drain(Duration::from_secs(10));
        })
        .await?;
    live.join()?;
    Ok(())
}

/// By Ctrl-C, or by a service manager.
async fn asked_to_stop() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => _ = ctrl_c().await,
    }
}

#[derive(Clone)]
struct Site {
    board: Topic,
    notes: Arc<Mutex<Vec<Note>>>,
    /// The names of users, by session id.
    sessions: Arc<Mutex<HashMap<String, String>>>,
    live: Handle,
}

#[derive(Clone, Serialize)]
struct Note {
    author: String,
    text: String,
}

impl Site {
    fn new(live: Handle) -> Self {
        let board = Topic::new("board").history(NOTES, 1024 * 1024);
        Self { board, notes: Arc::default(), sessions: Arc::default(), live }
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The live notes of everybody, for a user who has logged in. A browser that comes back gets what it
/// has missed.
async fn watch(user: User, State(site): State<Site>, live: Live) -> LiveAnswer {
    live.answer(move |_req, _cx| {
        Sse::new().subscribe_at(&site.board, JoinAt::Oldest).tag(user.session)
    })
}

async fn list(_user: User, State(site): State<Site>) -> Json<Vec<Note>> {
    Json(site.notes().clone())
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

async fn add(
    user: User,
    State(site): State<Site>,
    Json(new): Json<NewNote>,
) -> Result<StatusCode, StatusCode> {
    let note = Note { author: user.name, text: new.text };
    let json = serde_json::to_string(&note).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    // Under one lock, so that both have the same order.
    let mut notes = site.notes();
    let published = site.live.publish(&site.board, Event::new(json));
    published.map_err(|_full| StatusCode::SERVICE_UNAVAILABLE)?;
    notes.push(note);
    let surplus = notes.len().saturating_sub(NOTES);
    notes.drain(..surplus);
    Ok(StatusCode::CREATED)
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn log_in(
    State(site): State<Site>,
    Form(Login { name, password }): Form<Login>,
) -> Result<Response, StatusCode> {
    // A real application compares a slow hash here; tokio's workers must not wait for it.
    let is_right = task::spawn_blocking(move || password == "sesame").await.unwrap_or(false);
    if name.is_empty() || !is_right {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let session = random_id().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    // With TLS, add `Secure` and name it `__Host-session`.
    let cookie = format!("session={session}; Path=/; HttpOnly; SameSite=Strict");
    site.sessions().insert(session, name);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

async fn log_out(user: User, State(site): State<Site>) -> Result<impl IntoResponse, StatusCode> {
    site.sessions().remove(&user.session);
    let ended = site.live.run(move |cx| {
        for id in cx.tagged(&user.session) {
            cx.close(id, Ending::Drop);
        }
    });
    ended.map_err(|_full| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([(header::SET_COOKIE, "session=; Path=/; Max-Age=0")], Redirect::to("/")))
}

/// A user who has logged in; others get 401.
struct User {
    name: String,
    session: String,
}

impl FromRequestParts<Site> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, StatusCode> {
        let cookies = parts.headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
        let mut cookies = cookies.unwrap_or_default().split("; ");
        let session = cookies.find_map(|cookie| cookie.strip_prefix("session="));
        let session = session.ok_or(StatusCode::UNAUTHORIZED)?.to_owned();
        let name = site.sessions().get(&session).cloned().ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self { name, session })
    }
}

/// 128 random bits, impossible to guess.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// How many notes the board keeps.
const NOTES: usize = 200;
