//! Assets: one representation per content coding, made once, and named by strong entity tags.

use starwheel::{
    Answer, Asset, Compression, Config, Context, Handler, Method, Request, Response, Router,
    StatusCode,
    testing::{ClientResponse, Simulation},
};

use super::{decoded, page};

const CODINGS: [&str; 4] = ["identity", "zstd", "br", "gzip"];

fn serving(asset: Asset) -> Simulation {
    Simulation::new(Router::new().get("/", move |_req, _cx| asset.clone()))
}

fn ask(simulation: &mut Simulation, method: Method, fields: &[(&str, &str)]) -> ClientResponse {
    let client = simulation.connect();
    simulation.request(client, method, "/", fields, b"");
    simulation.turn();
    simulation.response(client)
}

fn get(simulation: &mut Simulation, coding: &str) -> ClientResponse {
    ask(simulation, Method::Get, &[("Accept-Encoding", coding)])
}

fn tag(answer: &ClientResponse) -> String {
    answer.header("etag").expect("an entity tag").to_owned()
}

/// Bytes that no coding makes shorter.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..5000).map(|_| byte()).collect()
}

#[test]
fn an_asset_is_compressed_once_per_coding_for_all_clients() {
    let asset = Asset::html(page(1));
    let mut simulation = serving(asset.clone());
    let mut another = serving(asset);
    for _ in 0..3 {
        for coding in CODINGS {
            for simulation in [&mut simulation, &mut another] {
                let answer = get(simulation, coding);
                let sent = answer.header("content-encoding");
                assert_eq!(sent, (coding != "identity").then_some(coding));
                assert_eq!(decoded(&answer), page(1).as_bytes(), "{coding}");
            }
        }
    }
    let wholes = [&simulation, &another].map(|it| it.stats().compression.wholes);
    assert_eq!(wholes, [3, 0], "reactors share them");
}

#[test]
fn each_coding_has_a_strong_tag_of_its_own_and_gets_304_for_it() {
    let mut simulation = serving(Asset::html(page(1)).header("X-Frame-Options", "DENY"));
    let answers = CODINGS.map(|coding| get(&mut simulation, coding));
    let tags = answers.each_ref().map(tag);
    for (known, tag) in tags.iter().enumerate() {
        assert!(tag.starts_with('"'), "{tag} is weak");
        for (asked, coding) in CODINGS.iter().enumerate() {
            let fields = [("Accept-Encoding", *coding), ("If-None-Match", tag)];
            let answer = ask(&mut simulation, Method::Get, &fields);
            let expected = if known == asked { 304 } else { 200 };
            assert_eq!(answer.status, expected, "{tag} {coding}");
            assert_eq!(answer.header("etag"), Some(&*tags[asked]));
            for name in ["vary", "cache-control", "x-frame-options"] {
                assert_eq!(answer.header(name), answers[asked].header(name), "{name}");
            }
            if expected == 304 {
                assert!(answer.body.is_empty() && answer.header("content-encoding").is_none());
            }
        }
    }
}

#[test]
fn tags_are_found_in_lists_and_compared_weakly() {
    let mut simulation = serving(Asset::html(page(1)));
    let tag = tag(&get(&mut simulation, "zstd"));
    let weak = format!("W/{tag}");
    for (known, status) in [
        (format!("\"a, b\" , {tag},\"c\""), 304),
        (format!("W/\"x\", {weak}"), 304),
        ("*".to_owned(), 304),
        (tag.trim_matches('"').to_owned(), 200),
        (tag.to_uppercase(), 200),
        (format!("\"x{tag}"), 200),
    ] {
        for method in [Method::Get, Method::Head] {
            let fields = [("Accept-Encoding", "zstd"), ("If-None-Match", &*known)];
            let answer = ask(&mut simulation, method, &fields);
            assert_eq!(answer.status, status, "{known}");
        }
    }
    // A proxy that has compressed the response knows only the weak tag (RFC 9111 section 4.3.4).
    let fields = [("Accept-Encoding", "zstd"), ("If-None-Match", &*weak)];
    assert_eq!(ask(&mut simulation, Method::Get, &fields).header("etag"), Some(&*weak));
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let mut simulation = serving(Asset::html(page(1)).cache_control("max-age=60"));
    for coding in CODINGS {
        let head = ask(&mut simulation, Method::Head, &[("Accept-Encoding", coding)]);
        let get = get(&mut simulation, coding);
        assert_eq!(head.headers, get.headers, "{coding}");
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
    }
}

#[test]
fn only_what_may_be_compressed_varies() {
    for (asset, vary) in [
        (Asset::new(noise(), "text/plain"), Some("Accept-Encoding")),
        (Asset::new(vec![0_u8; 4000], "image/png"), None),
        (Asset::html("<p>small</p>"), None),
        (Asset::html(page(1)).cache_control("max-age=9, no-transform"), None),
        (Asset::html(page(1)).header("Content-Digest", "x"), None),
    ] {
        let bytes = asset.as_slice().to_vec();
        let mut simulation = serving(asset);
        let answers = CODINGS.map(|coding| get(&mut simulation, coding));
        for answer in &answers {
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("vary"), vary);
            assert_eq!(tag(answer), tag(&answers[0]));
            assert_eq!(answer.body, bytes);
        }
    }
    let mut config = Config::default();
    config.compression = Compression::off();
    let asset = Asset::html(page(1));
    let router = Router::new().get("/", move |_req, _cx| asset.clone());
    let mut simulation = Simulation::with_config(config, 1, router);
    let answer = get(&mut simulation, "zstd");
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
}

#[test]
fn a_coding_that_saves_nothing_is_not_used() {
    let mut simulation = serving(Asset::new(noise(), "text/plain"));
    for _ in 0..2 {
        for coding in CODINGS {
            let answer = get(&mut simulation, coding);
            assert_eq!((answer.header("content-encoding"), &answer.body), (None, &noise()));
        }
    }
    assert_eq!(simulation.stats().compression.wholes, 3, "each is tried once");
}

#[test]
fn tags_change_with_the_bytes_and_the_media_type_and_with_nothing_else() {
    let tags = |asset: Asset| {
        let mut simulation = serving(asset);
        CODINGS.map(|coding| tag(&get(&mut simulation, coding)))
    };
    let html = tags(Asset::html(page(1)));
    assert_eq!(html, tags(Asset::html(page(1)).cache_control("private")));
    assert!(html.iter().all(|tag| !tags(Asset::html(page(2))).contains(tag)));
    let text = tags(Asset::new(page(1), "text/plain"));
    assert!(html.iter().all(|tag| !text.contains(tag)));
    let changed = Asset::html(page(1)).header("Content-Type", "text/plain");
    assert_eq!(tags(changed), text, "however the media type is set");
}

#[test]
fn responses_made_from_an_asset_may_have_another_status_or_tag() {
    let page = Asset::html(page(1));
    let (lost, versioned, broken) = (page.clone(), page.clone(), page.header("X-Split", "a\r\nb"));
    let router = Router::new()
        .fallback(move |_req, _cx| Response::from(&lost).with_status(StatusCode::NOT_FOUND))
        .get("/own", move |_req, _cx| Response::from(&versioned).with_header("ETag", "\"v1\""))
        .handler(Method::Get, "/broken", broken);
    let mut simulation = Simulation::new(router);
    let mut ask = |target: &str| {
        let client = simulation.connect();
        let fields = [("Accept-Encoding", "gzip"), ("If-None-Match", "*")];
        simulation.request(client, Method::Get, target, &fields, b"");
        simulation.turn();
        simulation.response(client)
    };
    let lost = ask("/lost");
    assert_eq!((lost.status, lost.header("etag")), (404, None));
    assert_eq!(decoded(&lost), super::page(1).as_bytes());
    let own = ask("/own");
    assert_eq!((own.status, own.header("etag")), (200, Some("W/\"v1\"")));
    assert_eq!(ask("/broken").status, 500);
}

/// A handler that compares a tag of its own, or that sends a part.
#[test]
fn a_304_or_206_made_from_an_asset_is_not_compressed() {
    let page = Asset::html(page(1));
    let (known, part) = (page.clone(), page);
    let router = Router::new()
        .get("/known", move |_req, _cx| {
            let response = Response::from(&known).with_header("ETag", "\"v1\"");
            response.with_status(StatusCode::NOT_MODIFIED)
        })
        .get("/part", move |_req, _cx| {
            Response::from(&part).with_status(StatusCode::PARTIAL_CONTENT)
        });
    let mut simulation = Simulation::new(router);
    for (target, sent, expected) in [
        ("/known", "\"v1\"", (304, Some("\"v1\""))),
        ("/known", "W/\"v1\"", (304, Some("W/\"v1\""))),
        ("/part", "\"v1\"", (206, None)),
    ] {
        let client = simulation.connect();
        let fields = [("Accept-Encoding", "gzip"), ("If-None-Match", sent)];
        simulation.request(client, Method::Get, target, &fields, b"");
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!((answer.status, answer.header("etag")), expected, "{target} {sent}");
        assert_eq!(answer.header("content-encoding"), None, "{target}");
    }
    assert_eq!(simulation.stats().compression.wholes, 0);
}

#[test]
fn bytes_of_any_length_are_assets() {
    for bytes in [Vec::new(), vec![b'a'], noise(), b"<p>long</p>".repeat(500_000)] {
        let mut simulation = serving(Asset::new(bytes.clone(), "text/plain"));
        for coding in CODINGS {
            let answer = get(&mut simulation, coding);
            assert_eq!((answer.status, decoded(&answer) == bytes), (200, true), "{coding}");
            let fields = [("Accept-Encoding", coding), ("If-None-Match", &*tag(&answer))];
            let again = ask(&mut simulation, Method::Get, &fields);
            assert_eq!((again.status, tag(&again)), (304, tag(&answer)), "{coding}");
        }
    }
}

#[test]
fn an_asset_is_the_same_in_a_layer_that_adds_to_it() {
    let page = Asset::html(page(1));
    let layered = Router::new().handler(Method::Get, "/", page).layer(|mut routes| {
        move |req: &Request, cx: &mut Context<'_>| match routes.handle(&mut req.clone(), cx) {
            Answer::Response(response) => response.with_header("Vary", "Origin").into(),
            answer => answer,
        }
    });
    let mut simulation = Simulation::new(layered);
    assert_is_asset(&mut simulation);
    let answer = get(&mut simulation, "zstd");
    let varies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    let varies: Vec<&str> = varies.map(|(_, value)| &**value).collect();
    assert_eq!(varies, ["Origin", "Accept-Encoding"]);
}

#[test]
fn an_asset_is_the_same_as_a_later_answer() {
    let page = Asset::html(page(1));
    let mut simulation =
        Simulation::new(Router::new().get("/", move |_req, cx: &mut Context<'_>| {
            let (later, responder) = cx.later();
            responder.answer(&page);
            later
        }));
    assert_is_asset(&mut simulation);
}

fn assert_is_asset(simulation: &mut Simulation) {
    for coding in CODINGS {
        let answer = get(simulation, coding);
        assert_eq!(decoded(&answer), page(1).as_bytes(), "{coding}");
        let fields = [("Accept-Encoding", coding), ("If-None-Match", &*tag(&answer))];
        let again = ask(simulation, Method::Get, &fields);
        assert_eq!((again.status, tag(&again)), (304, tag(&answer)), "{coding}");
    }
    assert_eq!(simulation.stats().compression.wholes, 3);
}
