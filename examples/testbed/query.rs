//! What several routes read of a request's query.

use starwheel::{Compress, Reply, Request, Sse};

/// Whether a stream may be compressed: yes, or `?encoding=identity`.
pub(crate) fn compress(request: &Request) -> Result<Compress, Reply> {
    match request.query_value("encoding").as_deref() {
        None => Ok(Compress::Negotiated),
        Some("identity") => Ok(Compress::Off),
        Some(_) => Err(Reply::error(400, "encoding must be identity")),
    }
}

#[allow(dead_code, reason = "tests include one route's module and this one")]
pub(crate) fn number(request: &Request, name: &str, default: u64) -> Result<u64, Reply> {
    let Some(text) = request.query_value(name) else { return Ok(default) };
    text.parse().map_err(|_| Reply::error(400, format!("{name} must be a whole number")))
}

/// The stream under the tag that `?tag=T` gives it.
#[allow(dead_code, reason = "tests include one route's module and this one")]
pub(crate) fn tagged(request: &Request, stream: Sse) -> Sse {
    match request.query_value("tag") {
        Some(tag) => stream.tag(&*tag),
        None => stream,
    }
}
