//! What several routes read of a request's query.

use starwheel::{Request, Response, Sse, StatusCode, StreamCompression};

/// Whether a stream may be compressed: yes, or `?encoding=identity`.
pub(crate) fn compress(request: &Request) -> Result<StreamCompression, Response> {
    match request.query_value("encoding").as_deref() {
        None => Ok(StreamCompression::Negotiated),
        Some("identity") => Ok(StreamCompression::Off),
        Some(_) => Err(Response::error(StatusCode::BAD_REQUEST, "encoding must be identity")),
    }
}

#[allow(dead_code, reason = "tests include one route's module and this one")]
pub(crate) fn number(request: &Request, name: &str, default: u64) -> Result<u64, Response> {
    let Some(text) = request.query_value(name) else { return Ok(default) };
    text.parse().map_err(|_| {
        Response::error(StatusCode::BAD_REQUEST, format!("{name} must be a whole number"))
    })
}

/// The stream under the tag that `?tag=T` gives it.
#[allow(dead_code, reason = "tests include one route's module and this one")]
pub(crate) fn tagged(request: &Request, stream: Sse) -> Sse {
    match request.query_value("tag") {
        Some(tag) => stream.tag(&*tag),
        None => stream,
    }
}
