//! Files that use each other in a cycle.

use super::{LIB, complaints, refuses};

/// All complaints of files that break no other rule.
#[track_caller]
fn finds(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(complaints(LIB, files), expected);
}

#[test]
fn two_files_that_use_each_other_are_named_with_both_lines() {
    let a = ("src/http/a.rs", "\nuse super::b::B;");
    let b = ("src/http/b.rs", "\n\nuse super::a::A;");
    let expected = "src/http/a.rs:2: files use each other in a circle: src/http/b.rs:3, back to \
                    src/http/a.rs";
    finds(&[a, b], &[expected]);
    finds(&[a, ("src/http/b.rs", "")], &[]);
}

#[test]
fn a_long_circle_is_named_once() {
    let files = [
        ("src/http/a.rs", "use super::b::B;"),
        ("src/http/b.rs", "fn f() { crate::http::c::g() }"),
        ("src/http/c.rs", "use crate::http::d; fn f() -> d::D { d::g() }"),
        ("src/http/d.rs", "mod inner { use super::super::a::A; }"),
        ("src/http/e.rs", "use super::a::A;"),
    ];
    let expected = "src/http/a.rs:1: files use each other in a circle: src/http/b.rs:1, \
                    src/http/c.rs:1, src/http/d.rs:1, back to src/http/a.rs";
    finds(&files, &[expected]);
}

#[test]
fn a_name_is_followed_through_what_passes_it_on() {
    let a = ("src/http/a.rs", "use super::B;");
    let b = ("src/http/b.rs", "use crate::http::A;");
    for passed_on in [
        "pub(crate) use a::A; pub use b::B;",
        "pub(crate) use self::{a::A, b::B};",
        "use crate::http::{a::A, b::B};",
        "pub(in crate::http) use b::B; use a::A;",
    ] {
        let found = complaints(LIB, &[("src/http/mod.rs", passed_on), a, b]);
        assert!(
            found.iter().any(|it| it.starts_with("src/http/a.rs:1: ")),
            "{passed_on}: {found:?}"
        );
    }
    let renamed = ("src/http/mod.rs", "pub use b::C as B; pub use a::A;");
    assert_eq!(complaints(LIB, &[renamed, a, b]).len(), 1);
}

#[test]
fn to_pass_a_name_on_is_no_use_of_it() {
    let child = ("src/http/a.rs", "use super::Owner;");
    finds(&[("src/http/mod.rs", "pub use a::A;\npub struct Owner;"), child], &[]);
    let expected = "src/http/a.rs:1: files use each other in a circle: src/http/mod.rs:1, back to \
                    src/http/a.rs";
    finds(&[("src/http/mod.rs", "pub use a::A;\npub struct Owner(A);"), child], &[expected]);
    finds(&[("src/http/mod.rs", "use a::A;\npub struct Owner;"), child], &[expected]);
    finds(&[("src/http/mod.rs", "pub struct Owner(a::A);"), child], &[expected]);
}

#[test]
fn tests_and_scopes_are_no_use() {
    let b = ("src/http/b.rs", "use super::a::A;");
    finds(&[("src/http/a.rs", "#[cfg(test)] mod tests { use crate::http::b::B; }"), b], &[]);
    finds(&[("src/http/a.rs", "pub(in crate::http::b) struct A;"), b], &[]);
    finds(&[("src/http/a.rs", "// use super::b::B;\nfn f(b: u8) { b.b::<u8>() }"), b], &[]);
}

#[test]
fn a_listed_circle_may_have_no_further_file() {
    let buffer = ("src/sse/buffer.rs", "use super::encode::Encode;");
    let encode = ("src/sse/encode.rs", "use super::buffer::EventBuffer;");
    finds(&[buffer, encode], &[]);
    let encode = ("src/sse/encode.rs", "use super::{buffer::EventBuffer, event::Event};");
    let event = ("src/sse/event.rs", "use super::buffer::EventBuffer;");
    let expected = "src/sse/event.rs:1: files use each other in a circle: src/sse/buffer.rs:1, \
                    src/sse/encode.rs:1, back to src/sse/event.rs";
    finds(&[buffer, encode, event], &[expected]);
}

#[test]
fn a_file_that_uses_itself_is_no_circle() {
    refuses(
        "src/http/a.rs",
        "use crate::http::a::A; use self::A as B; pub use super::a::A as C;",
        &[],
    );
}
