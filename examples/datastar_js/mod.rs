//! Code that the Datastar examples share: a page that loads the client, and the start of the server.

use std::{env, error::Error, fs};

use starwheel::{Reactor, Response, Router, datastar::ScriptTag};

/// Serves `page` at `/`, with the tag that loads Datastar in place of `<!-- datastar -->`.
///
/// By default the page loads the client from its public CDN. On machines without internet access, set
/// `DATASTAR_JS` to a local file, which is then served instead.
pub(crate) fn serve_page(router: Router, page: &'static str) -> Result<Router, Box<dyn Error>> {
    let Some(path) = env::var_os("DATASTAR_JS") else {
        return Ok(add_page(router, page, &ScriptTag::CDN));
    };
    let client = fs::read_to_string(&path)
        .map_err(|error| format!("DATASTAR_JS={}: {error}", path.display()))?;
    let router = router.get("/datastar.js", move |_req, _cx| {
        Response::bytes("text/javascript; charset=utf-8", client.clone())
    });
    Ok(add_page(router, page, &ScriptTag::hosted("/datastar.js")))
}

/// Listens on `PORT` (default 8080; 0 is any free port), prints the address, and runs the reactor.
pub(crate) fn run(router: Router) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(router)?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);
    Ok(reactor.run()?)
}

fn add_page(router: Router, page: &str, tag: &ScriptTag<'_>) -> Router {
    let page = page.replace("<!-- datastar -->", &tag.to_string());
    router.get("/", move |_req, _cx| Response::html(page.clone()))
}
