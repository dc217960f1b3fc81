//! Tests of the checker: every rule is broken on purpose and must be reported with file and line,
//! and allowed code must pass. This file has the layers of the crate; the other rules have their
//! own files.

#[path = "sabotage/circles.rs"]
mod circles;
#[path = "sabotage/engine.rs"]
mod engine;
#[path = "sabotage/owners.rs"]
mod owners;
#[path = "sabotage/sizes.rs"]
mod sizes;

use crate::{
    check,
    tokens::{Kind, tokens},
};

const LIB: &str = "//! fn in_a_comment() {}\nmod conn;\n\
                   pub use error::{BoxError, CloseReason as Reason};\npub use conn::Outbox;";

/// Problems of these files, as `file:line`, or in full.
fn complaints(lib: &str, files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = [("src/lib.rs", lib)]
        .iter()
        .chain(files)
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    check(&files).iter().map(ToString::to_string).collect()
}

/// Every complaint is for one of these lines of the file, and each of the lines has one.
#[track_caller]
fn refuses(file: &str, text: &str, lines: &[usize]) {
    refuses_among(&[], file, text, lines);
}

/// The same for a file among others.
#[track_caller]
fn refuses_among(others: &[(&str, &str)], file: &str, text: &str, lines: &[usize]) {
    let others = others.iter().filter(|(other, _)| *other != file);
    let files: Vec<_> = others.copied().chain([(file, text)]).collect();
    let found = complaints(LIB, &files);
    let named = |line: &usize, it: &String| it.starts_with(&format!("{file}:{line}: "));
    let all_named = lines.iter().all(|line| found.iter().any(|it| named(line, it)));
    let all_meant = found.iter().all(|it| lines.iter().any(|line| named(line, it)));
    assert!(all_named && all_meant, "{text}\nfound: {found:#?}");
}

#[track_caller]
fn allows(file: &str, text: &str) {
    refuses(file, text, &[]);
}

#[test]
fn a_complaint_says_where_what_and_why() {
    let found = complaints(LIB, &[("src/conn/mod.rs", "\nuse crate::engine::Core;")]);
    let expected =
        "src/conn/mod.rs:2: `conn` (floor 2) uses `engine` (floor 3): imports only go down";
    assert_eq!(found, [expected]);
}

#[test]
fn every_spelling_of_an_import_that_goes_up_is_seen() {
    for import in [
        "use crate::engine::Core;",
        "use crate::engine;",
        "use crate::engine::*;",
        "use crate::engine as ground;",
        "pub(crate) use crate::{sse::Event, engine::{self, Core}};",
        "use {std::fmt, crate::{engine::Core as C}};",
        "use super::engine::Core;",
        "use super::{engine, sse};",
        "use self::super::engine::Core;",
        "use crate::r#engine::Core;",
        "use super as root; use root::engine::Core;",
        "fn f() { crate::engine::run(); }",
        "fn f() -> Option<super::engine::Core> { None }",
        "fn f() { let run = &crate :: engine :: run; }",
        "macro_rules! m { () => { $crate::engine::run() } }",
        "impl crate::engine::Handler for X {}",
        "type X = Vec::<crate::engine::Core>;",
        "mod inner { use super::super::engine::Core; }",
        "mod inner { mod most { fn f() { super::super::super::engine::run() } } }",
        "mod inner { mod gone {} } use super::engine::Core;",
    ] {
        refuses("src/conn/mod.rs", import, &[1]);
        refuses("src/conn.rs", import, &[1]);
        refuses("src/conn/mod.rs", &format!("\n\n{import}\n"), &[3]);
    }
    refuses("src/conn/mod.rs", "use crate::{\n  sse,\n  engine,\n};", &[3]);
}

#[test]
fn super_counts_from_the_module_of_the_file() {
    refuses("src/conn/outbox.rs", "use super::super::engine::Core;", &[1]);
    refuses("src/conn/a/b.rs", "use super::super::super::engine::Core;", &[1]);
    allows("src/conn/outbox.rs", "use super::engine::Core;");
    allows("src/conn/mod.rs", "use self::engine::Core; mod a { use super::engine; }");
}

#[test]
fn siblings_may_not_use_each_other_but_their_tests_may() {
    for (file, import) in [
        ("src/http/mod.rs", "use crate::sse::Event;"),
        ("src/sse/zstd.rs", "use crate::http::Encoding;"),
        ("src/wheel.rs", "use crate::http::Head;"),
        ("src/conn/mod.rs", "use crate::topic::Cursor;"),
        ("src/topic.rs", "use super::conn::Outbox;"),
        ("src/limits.rs", "use crate::CloseReason as _; use crate::Reason;"),
        ("src/topic.rs", "use crate::Outbox;"),
    ] {
        refuses(file, import, &[1]);
    }
    allows("src/conn/mod.rs", "#[cfg(test)] mod tests { use crate::topic::Cursor; }");
    refuses("src/conn/mod.rs", "#[cfg(test)] mod tests { use crate::engine::Core; }", &[1]);
}

#[test]
fn imports_that_go_down_or_stay_inside_pass() {
    for (file, import) in [
        ("src/conn/mod.rs", "use crate::{error::BoxError, http::Head, limits, sse, wheel};"),
        ("src/conn/mod.rs", "use crate::conn::outbox; pub(in crate::conn) struct X;"),
        ("src/conn/outbox.rs", "use super::*; use crate::BoxError; use crate::Outbox;"),
        ("src/engine/mod.rs", "use crate::{conn, datastar, topic, wheel::Wheel};"),
        ("src/router/mod.rs", "use crate::{engine::Handler, reactor::Reactor, testing::Client};"),
        ("src/wheel.rs", "use std::mem; mod tests { use super::*; }"),
        ("src/conn/mod.rs", "fn f<T>(_: impl Fn() + use<T>) { my::engine::x(); }"),
    ] {
        allows(file, import);
    }
}

#[test]
fn imports_that_hide_their_floor_are_refused() {
    refuses("src/conn/mod.rs", "use crate::*;", &[1]);
    refuses("src/conn/mod.rs", "use super::*;", &[1]);
    refuses("src/conn/mod.rs", "use crate as root;", &[1]);
    refuses("src/conn/mod.rs", "use crate::Unheard;", &[1]);
}

#[test]
fn io_below_the_reactor_is_refused() {
    for code in [
        "fn f() { let t = Instant::now(); }",
        "fn f() { let t = std::time::Instant::now(); }",
        "use std::time::SystemTime; fn f() { SystemTime::now(); }",
        "use std::time::Instant as Clock; fn f() { Clock::now(); }",
        "use std::time; fn f() { time::Instant::now(); }",
        "fn f(now: fn() -> Instant) {} fn g() { f(Instant::now) }",
        "use std::net::TcpStream;",
        "use std::{fmt, net::{IpAddr, TcpListener}};",
        "use std::net::UdpSocket as Socket;",
        "use std::net::*;",
        "use std::net; fn f(_: net::TcpStream) {}",
        "fn f(_: ::std::net::TcpStream) {}",
        "use std::os::unix::net::UnixStream;",
        "use std::os::unix; fn f(_: unix::net::UnixStream) {}",
        "use std::thread;",
        "fn f() { std::thread::sleep(PAUSE) }",
        "use mio::Poll;",
        "use mio as io;",
        "fn f(_: mio::Token) {}",
        "fn f(_: Vec<::mio::Token>) {}",
        "use socket2::Socket;",
        "fn f() { rustix::time::timerfd_create(); }",
    ] {
        for file in ["src/engine/mod.rs", "src/wheel.rs", "src/http/head.rs", "src/limits.rs"] {
            refuses(file, code, &[1]);
        }
        allows("src/reactor/mod.rs", code);
        allows("src/router/mod.rs", code);
    }
}

#[test]
fn plain_values_are_no_io() {
    allows("src/conn/mod.rs", "use std::net::{IpAddr, SocketAddr}; use std::{io, time::Duration};");
    allows("src/conn/mod.rs", "use std::time::Instant; fn f(now: Instant) -> Instant { now }");
    allows("src/conn/mod.rs", "fn f(mio: u8, thread: u8) { self.thread.x(); clock.now(); }");
}

#[test]
fn tests_may_use_what_std_has_and_nothing_else() {
    let std = "use std::{thread, net::TcpStream}; fn f() { Instant::now(); catch_unwind(f); \
               let x: Rc<RefCell<u8>>; }";
    for test in [
        format!("#[cfg(test)] mod tests {{ {std} }}"),
        format!("#[cfg(test)]\n#[allow(dead_code)]\npub(crate) mod tests {{ {std} }}"),
        format!("#[cfg(all(test, unix))] mod tests {{ {std} }}"),
        format!("#![cfg(test)] {std}"),
        "#[cfg(test)] use std::thread;".to_owned(),
        "#[test] fn f<A, B>() { Instant::now(); }".to_owned(),
        "struct X { #[cfg(test)] started: std::thread::Thread, y: u8 }".to_owned(),
    ] {
        allows("src/conn/mod.rs", &test);
    }
    refuses("src/conn/mod.rs", "#[cfg(test)] mod tests { use mio::Poll; }", &[1]);
}

#[test]
fn test_code_ends_where_its_item_ends() {
    for product in [
        "#[cfg(test)] mod tests { fn f() { {} } }\nuse std::thread;",
        "#[cfg(test)] use a::b;\nuse std::thread;",
        "#[cfg(test)] use a::{b, c};\nuse std::thread;",
        "#[cfg(test)] mod tests;\nuse std::thread;",
        "struct X { #[cfg(test)] a: u8,\n t: std::thread::Thread }",
        "#[cfg(test)] const X: [u8; 2] = [0; 2];\nuse std::thread;",
        "#[cfg(not(test))]\nuse std::thread;",
        "#[cfg(any(test, unix))]\nuse std::thread;",
        "#[cfg_attr(test, allow(unused))]\nuse std::thread;",
        "#[cfg(test)] mod tests { use std::thread as t; }\nuse std::thread as t;",
    ] {
        refuses("src/conn/mod.rs", product, &[2]);
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_test_code() {
    let tests = ("src/conn/tests.rs", "use std::thread; mod deeper;");
    let deeper = ("src/conn/tests/deeper.rs", "fn f() { Instant::now(); }");
    let declared = ("src/conn/mod.rs", "#[cfg(test)] mod tests;");
    assert_eq!(complaints(LIB, &[declared, tests, deeper]), [""; 0]);
    let undeclared = ("src/conn/mod.rs", "mod tests;");
    assert_eq!(complaints(LIB, &[undeclared, tests, deeper]).len(), 2);
}

#[test]
fn a_file_on_no_floor_is_refused() {
    for file in
        ["src/cache.rs", "src/cache/mod.rs", "src/cache/a.rs", "src/main.rs", "src/bin/x.rs"]
    {
        refuses(file, "", &[1]);
    }
}

#[test]
fn shared_cells_are_refused_everywhere() {
    for cell in [
        "struct X(Rc<RefCell<u8>>);",
        "struct X(std::rc::Rc<std::cell::RefCell<u8>>);",
        "fn f() { let x = Rc::new(RefCell::new(0)); }",
        "fn f() { let x = Rc::<RefCell<u8>>::default(); }",
        "struct X(Rc<\n    RefCell<u8>>);",
    ] {
        for file in ["src/conn/mod.rs", "src/reactor/mod.rs", "src/router/mod.rs"] {
            refuses(file, cell, &[1]);
        }
    }
    allows("src/conn/mod.rs", "struct X(Rc<Cell<u8>>, RefCell<Rc<u8>>, Arc<RefCell<u8>>);");
}

#[test]
fn panics_are_caught_in_one_folder_alone() {
    for code in [
        "use std::panic::catch_unwind;",
        "use std::panic::{AssertUnwindSafe, catch_unwind as guard};",
        "fn f() { std::panic::catch_unwind(g); }",
        "fn f() { panic::catch_unwind(g); }",
    ] {
        for file in ["src/reactor/mod.rs", "src/router/mod.rs", "src/conn/mod.rs"] {
            refuses(file, code, &[1]);
        }
        refuses("src/engine/turn/send.rs", code, &[1]);
        allows("src/engine/calls/mod.rs", code);
    }
}

#[test]
fn lib_has_no_functions() {
    let found = complaints("//! fn a() {}\nmod x;\npub fn run() {}", &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("src/lib.rs:3: a function in lib.rs"));
}

#[test]
fn quoted_text_is_not_code_and_the_rest_is() {
    for quoted in [
        "// use crate::engine::Core; Rc<RefCell<u8>>",
        "/// use crate::engine::Core;",
        "/* /* nested */ use crate::engine::Core; */",
        r#"const A: &str = "use mio::Poll; \" crate::engine::x";"#,
        r##"const A: &str = r#"use mio::Poll; " \"#;"##,
        r#"const A: &[u8] = b"mio::Poll \\";"#,
        r##"const A: &[u8] = br#"mio::Poll"#;"##,
        r#"const A: &CStr = c"mio::Poll";"#,
        r"const A: [char; 4] = ['\'', '{', '\u{7b}', '/'];",
        r#"const A: (u8, char) = (b'"', '"');"#,
        "fn f<'a, 'static_>(x: &'a str) -> &'a str { 'x: loop { break 'x } }",
        "const A: f64 = 1.0e-5_f64; const B: Range<u8> = 0..0xff;",
    ] {
        allows("src/conn/mod.rs", quoted);
        refuses("src/conn/mod.rs", &format!("{quoted}\nuse mio::Poll;"), &[2]);
    }
    refuses("src/conn/mod.rs", "const A: &str = \"\n\n\\\n\";\nuse mio::Poll;", &[5]);
}

#[test]
fn text_that_is_no_rust_ends_the_reading_without_panic() {
    for text in [
        "\"",
        "'",
        "'\\",
        "/*",
        "r#\"",
        "r#",
        "b'",
        "use crate::{",
        "use",
        "mod",
        "#[cfg(test)]",
        "}}}",
        "::",
    ] {
        let _ = complaints(text, &[("src/conn/mod.rs", text)]);
    }
    let kinds: Vec<_> = tokens("a::b!").into_iter().map(|token| token.kind).collect();
    let name = |name: &str| Kind::Name(name.to_owned());
    assert_eq!(kinds, [name("a"), Kind::PathSep, name("b"), Kind::Punct('!')]);
}
