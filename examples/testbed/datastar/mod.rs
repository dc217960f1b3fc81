//! The routes that speak Datastar: the contract of the official SDK tests, and its neighbours.

mod described;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use starwheel::{
    Context, Ending, Event, Method, Request, Response, Router, Sse, StatusCode,
    datastar::{EscapeHtml, ExecuteScript, PatchElements, Signals},
};

use super::query::compress;
use described::{Described, Listed};

/// Adds `/test`, `/response`, `/event`, `/inject`, `/script`, `/form` and `/echo`.
pub(crate) fn add_routes(mut router: Router) -> Router {
    for method in SIGNAL_METHODS {
        router = router.on(method, "/test", test).on(method, "/reply", response);
    }
    router
        .get("/event", event)
        .get("/inject", inject)
        .get("/script", script)
        .get("/form", form)
        .post("/form", form)
        .post("/echo", echo)
}

const SIGNAL_METHODS: [Method; 6] =
    [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Query, Method::Delete];

/// Sends the events back that the signals list, then ends.
fn test(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let listed: Listed = Signals::read(request)?.deserialize()?;
    let mut sse = Sse::new();
    for one in listed.events {
        sse = one.send_on(sse)?;
    }
    Ok(sse.ending(ending(request)?))
}

/// Answers with the one event that the signals list, as a response that is no stream.
fn response(request: &Request, _cx: &mut Context<'_>) -> Result<Response, Response> {
    let listed: Listed = Signals::read(request)?.deserialize()?;
    match <[Described; 1]>::try_from(listed.events) {
        Ok([one]) => one.into_response(),
        Err(events) => Err(refused(format!("a response is one event, not {}", events.len()))),
    }
}

/// One event from a JSON object, then the end.
fn event(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let json = request.query_value("json").ok_or_else(|| refused("json is missing"))?;
    let plain: Plain = serde_json::from_str(&json).map_err(refused)?;
    let mut event = Event::new(plain.data);
    if let Some(name) = plain.event {
        event = event.name(name).map_err(refused)?;
    }
    event = match plain.id {
        Some(Id::Text(id)) => event.id(id).map_err(refused)?,
        Some(Id::Number(id)) => event.id(id).map_err(refused)?,
        None => event,
    };
    if let Some(retry_ms) = plain.retry {
        event = event.retry(Duration::from_millis(retry_ms));
    }
    Ok(Sse::new().send(event).ending(ending(request)?).compression(compress(request)?))
}

/// One event with the fields of the query, then the end.
fn inject(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let data = request.query_value("data").unwrap_or_default();
    let mut event = Event::new(&*data);
    if let Some(name) = request.query_value("event") {
        event = event.name(name.into_owned()).map_err(refused)?;
    }
    if let Some(id) = request.query_value("id") {
        event = event.id(id.into_owned()).map_err(refused)?;
    }
    Ok(Sse::new().send(event).ending(ending(request)?).compression(compress(request)?))
}

fn script(request: &Request, _cx: &mut Context<'_>) -> Result<Sse, Response> {
    let code = request.query_value("code").ok_or_else(|| refused("code is missing"))?;
    let sse = Sse::new().send(ExecuteScript::new(code));
    Ok(sse.ending(ending(request)?).compression(compress(request)?))
}

/// The fields of a form, in the query or in the body, as elements.
fn form(request: &Request, _cx: &mut Context<'_>) -> Result<Response, Response> {
    let fields: Vec<_> = match (request.method(), request.content_type()) {
        (Method::Get | Method::Head, _) => request.query_pairs().collect(),
        (_, Some(it)) if it.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
            form_urlencoded::parse(request.body()).collect()
        }
        _ => {
            return Err(Response::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a form comes as application/x-www-form-urlencoded",
            ));
        }
    };
    let mut html = String::from("<dl id=\"form\">");
    for (name, value) in fields {
        html += &format!("<dt>{}</dt><dd>{}</dd>", EscapeHtml(&name), EscapeHtml(&value));
    }
    Ok(Response::elements(PatchElements::new(html + "</dl>")))
}

fn echo(request: &Request, _cx: &mut Context<'_>) -> Result<Response, Response> {
    if !request.content_type().is_some_and(|it| it.eq_ignore_ascii_case("application/json")) {
        let refusal =
            Response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "JSON comes as application/json");
        return Err(refusal.with_header("Accept", "application/json"));
    }
    let value: Value = serde_json::from_slice(request.body()).map_err(refused)?;
    Ok(Response::json_text(value.to_string()))
}

/// How the stream ends: `?ending=drop`, or a finish.
fn ending(request: &Request) -> Result<Ending, Response> {
    match request.query_value("ending").as_deref() {
        None | Some("finish") => Ok(Ending::Finish),
        Some("drop") => Ok(Ending::Drop),
        Some(_) => Err(refused("ending is finish or drop")),
    }
}

/// 400: what is wrong came from the client.
fn refused(reason: impl ToString) -> Response {
    let reason = reason.to_string();
    Response::error(
        StatusCode::BAD_REQUEST,
        reason.chars().take(REASON_CHARACTERS_MAX).collect::<String>(),
    )
}

/// Events as `/event` takes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    event: Option<String>,
    id: Option<Id>,
    retry: Option<u64>,
    data: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

const REASON_CHARACTERS_MAX: usize = 300;
