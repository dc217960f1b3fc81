//! Code that the Datastar examples share: a page that loads the client, and the start of the server.

use std::{env, error::Error, fs};

use starwheel::{Asset, Method, Reactor, Router, Workers, datastar::ScriptTag};

/// Serves `page` at `/`, with the tag that loads Datastar in place of `<!-- datastar -->`.
///
/// By default the page loads the client from its public CDN. On machines without internet access, set
/// `DATASTAR_JS` to a local file, which is then served instead.
#[allow(dead_code, reason = "the same")]
pub(crate) fn serve_page(router: Router, page: &str) -> Result<Router, Box<dyn Error>> {
    Ok(self::page(page)?.serve(router))
}

/// A page with the client that it loads.
pub(crate) struct Page {
    html: Asset,
    /// The client, if it is served too.
    client: Option<Asset>,
}

pub(crate) fn page(html: &str) -> Result<Page, Box<dyn Error>> {
    let with =
        |tag: &ScriptTag<'_>| Asset::html(html.replace("<!-- datastar -->", &tag.to_string()));
    let Some(path) = env::var_os("DATASTAR_JS") else {
        return Ok(Page { html: with(&ScriptTag::CDN), client: None });
    };
    let client = fs::read_to_string(&path)
        .map_err(|error| format!("DATASTAR_JS={}: {error}", path.display()))?;
    let client = Asset::new(client, "text/javascript; charset=utf-8");
    Ok(Page { html: with(&ScriptTag::hosted("/datastar.js")), client: Some(client) })
}

impl Page {
    pub(crate) fn serve(&self, router: Router) -> Router {
        let router = router.handler(Method::Get, "/", self.html.clone());
        let Some(client) = self.client.clone() else { return router };
        router.handler(Method::Get, "/datastar.js", client)
    }
}

/// Listens on `PORT` (default 8080; 0 is any free port), prints the address, and runs the reactor.
#[allow(dead_code, reason = "one example runs on all cores")]
pub(crate) fn run(router: Router) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(router)?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", reactor.listen(format!("127.0.0.1:{port}"))?);
    Ok(reactor.run()?)
}

/// The same with a reactor on each core, and the routes of each.
#[allow(dead_code, reason = "not every example needs more than one")]
pub(crate) fn run_on_all_cores(
    routes: impl Fn() -> Router + Send + Sync + 'static,
) -> Result<(), Box<dyn Error>> {
    let workers = Workers::new(Workers::per_core(), move |_worker| routes())?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    println!("listening on http://{}", workers.listen(format!("127.0.0.1:{port}"))?);
    Ok(workers.run()?)
}
