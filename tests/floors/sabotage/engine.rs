//! Violations of the layers inside the engine.

use super::{complaints, refuses_among};

/// An engine with a file for each layer, and with what its `mod.rs` files re-export.
const ENGINE: &[(&str, &str)] = &[
    (
        "src/engine/mod.rs",
        "pub(crate) use self::transport::Transport; pub use self::api::{Config, Stream};",
    ),
    ("src/engine/keys.rs", ""),
    ("src/engine/transport.rs", ""),
    ("src/engine/links.rs", "use super::transport::Transport;"),
    ("src/engine/conns.rs", "use super::keys::ConnIndex;"),
    ("src/engine/admission.rs", ""),
    ("src/engine/topics/mod.rs", "use self::pass::Pass; use crate::engine::keys::ConnIndex;"),
    ("src/engine/topics/pass.rs", ""),
    ("src/engine/api/mod.rs", "pub use self::{config::Config, stream::Stream};"),
    ("src/engine/api/config.rs", ""),
    ("src/engine/api/stream.rs", "use crate::engine::core::Core;"),
    ("src/engine/calls/mod.rs", ""),
    ("src/engine/calls/routes.rs", ""),
    (
        "src/engine/core/mod.rs",
        "use crate::engine::{admission::Crowd, api::Stream, pending::Pending};",
    ),
    ("src/engine/pending.rs", "use super::api::Stream;"),
    ("src/engine/turn/mod.rs", ""),
    ("src/engine/turn/send.rs", "use crate::engine::{Engine, Transport, core::Core};"),
];

#[track_caller]
fn refuses(file: &str, text: &str, lines: &[usize]) {
    refuses_among(ENGINE, file, text, lines);
}

#[track_caller]
fn allows(file: &str, text: &str) {
    refuses(file, text, &[]);
}

#[test]
fn a_complaint_says_which_floors() {
    let mut files = ENGINE.to_vec();
    files.push(("src/engine/coding.rs", "\nuse super::turn::send::Written;"));
    let found = complaints(super::LIB, &files);
    let expected = "src/engine/coding.rs:2: `engine::coding` (floor 1 of the engine) uses \
                    `engine::turn` (floor 5): imports only go down";
    assert_eq!(found, [expected]);
}

#[test]
fn the_engines_own_floors_pass() {
    assert_eq!(complaints(super::LIB, ENGINE), [""; 0]);
}

#[test]
fn every_spelling_of_a_use_that_goes_up_is_seen() {
    for code in [
        "use super::core::Core;",
        "use super::core;",
        "use crate::engine::core::Core as C;",
        "use crate::engine::{keys::ConnIndex, core::{self, Core}};",
        "use super::Stream;",
        "use crate::engine::Stream;",
        "use super::api::Stream;",
        "use crate::engine::Engine;",
        "use crate::engine;",
        "fn f(core: &mut crate::engine::core::Core) {}",
        "fn f() { super::turn::send::g() }",
        "fn f(_: super::Stream) {}",
        "mod inner { use super::super::pending::Pending; }",
    ] {
        refuses("src/engine/conns.rs", code, &[1]);
        refuses("src/engine/keys.rs", &format!("\n\n{code}"), &[3]);
    }
}

#[test]
fn siblings_in_the_engine_may_not_use_each_other_but_for_the_closures() {
    refuses("src/engine/conns.rs", "use super::links::Links;", &[1]);
    refuses("src/engine/conns.rs", "use super::admission::Crowd;", &[1]);
    refuses("src/engine/calls/routes.rs", "use crate::engine::conns::Conns;", &[1]);
    refuses("src/engine/calls/routes.rs", "use super::Closures;", &[1]);
    allows("src/engine/conns.rs", "#[cfg(test)] mod tests { use crate::engine::links::Links; }");
    allows(
        "src/engine/calls/mod.rs",
        "use crate::engine::{api::Stream, core::Core, pending::Birth};",
    );
    refuses(
        "src/engine/conns.rs",
        "#[cfg(test)] mod tests { use crate::engine::core::Core; }",
        &[1],
    );
}

#[test]
fn a_file_is_on_its_own_floor_before_it_is_on_its_folders() {
    allows("src/engine/links.rs", "use super::{Config, transport::Transport};");
    refuses("src/engine/api/config.rs", "use super::stream::Stream;", &[1]);
}

#[test]
fn parts_of_the_core_do_not_know_it() {
    refuses("src/engine/admission.rs", "use super::core::Core;", &[1]);
    refuses("src/engine/admission.rs", "use super::pending::Pending;", &[1]);
}

#[test]
fn a_file_of_the_engine_on_no_floor_is_refused() {
    refuses("src/engine/cache.rs", "", &[1]);
    refuses("src/engine/cache/mod.rs", "", &[1]);
    allows("src/engine/topics/cache.rs", "");
}

#[test]
fn the_api_of_the_engine_has_no_logic() {
    let method = |body: &str| format!("impl Stream<'_> {{\nfn f(&mut self) {{\n{body}\n}} }}");
    for (body, line) in [
        ("for x in y { self.core.send(x); }", 3),
        ("while self.core.send() {}", 3),
        ("loop { g() }", 3),
        ("1;\nfor x in y {}", 4),
        ("match self.core.now { _ => {} }", 3),
        ("\n\n\n\n\nself.core.send()\n", 2),
    ] {
        refuses("src/engine/api/stream.rs", &method(body), &[line]);
        allows("src/engine/topics/pass.rs", &method(body));
    }
    for body in [
        "self.core.send(self.id)",
        "match next { Next::Again => {} }",
        "if interval < SHORTEST {\nreturn Err(TooShort);\n}\nself.core.drive();\nOk(())",
        "let hook: Box<dyn for<'a> Fn(&'a u8)> = f;",
    ] {
        allows("src/engine/api/stream.rs", &method(body));
    }
}
