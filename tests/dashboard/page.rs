//! The page.

use starwheel::{Method, testing::Simulation};

use crate::routes;

fn ask(
    simulation: &mut Simulation,
    headers: &[(&str, &str)],
) -> starwheel::testing::ClientResponse {
    let browser = simulation.connect();
    simulation.request(browser, Method::Get, "/ops", headers, b"");
    simulation.turn();
    simulation.response(browser)
}

#[test]
fn a_browser_gets_the_page_and_keeps_it() {
    let mut simulation = Simulation::new(routes());
    let page = ask(&mut simulation, &[("Accept", "text/html, */*")]);
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let tag = page.header("ETag").expect("a tag").to_owned();
    let again = ask(&mut simulation, &[("Accept", "text/html"), ("If-None-Match", &tag)]);
    assert_eq!(again.status, 304);
    assert!(again.body.is_empty());
}

#[test]
fn the_page_and_the_stream_are_told_apart_by_caches() {
    let mut simulation = Simulation::new(routes());
    let page = ask(&mut simulation, &[]);
    let vary: Vec<_> = page.header("Vary").into_iter().flat_map(|it| it.split(", ")).collect();
    assert!(vary.contains(&"Accept"), "{vary:?}");
    assert_eq!(page.header("Cache-Control"), Some("no-cache"));
}

#[test]
fn the_page_is_compressed_once_for_all() {
    let mut simulation = Simulation::new(routes());
    for _ in 0..3 {
        let page = ask(&mut simulation, &[("Accept-Encoding", "zstd")]);
        assert_eq!(page.header("Content-Encoding"), Some("zstd"));
    }
    assert_eq!(simulation.stats().compression.wholes, 1);
}

/// No inline handlers and no styles in attributes, which the policy would refuse; nothing from elsewhere.
#[test]
fn the_page_loads_nothing_and_runs_its_own_script_alone() {
    let mut simulation = Simulation::new(routes());
    let page = ask(&mut simulation, &[]);
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(!text.contains("http:") && !text.contains("https:"), "an address");
    assert!(!text.contains(" style=\"") && !text.contains(" onclick"), "refused by the policy");
    assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"), "not as text");
}
