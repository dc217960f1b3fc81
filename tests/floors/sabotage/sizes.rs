//! Functions and files that are too long.

use super::{allows, refuses};

fn function(lines: usize) -> String {
    format!("\nfn f() {{{}}}\n", "\n".repeat(lines - 1))
}

#[test]
fn a_function_has_at_most_60_lines() {
    allows("src/http/a.rs", &function(60));
    refuses("src/http/a.rs", &function(61), &[2]);
    for text in [
        format!("impl A {{ pub(crate) const {} }}", function(61).trim()),
        format!("impl<T> A for B<T> {{ async {} }}", function(61).trim()),
        format!("fn f() {{ {} }}", function(61).trim()),
        format!("fn f(a: [u8; 2]) -> impl Fn(&str) -> u8 where {} {{ {{}} }}", "\n".repeat(60)),
        format!("macro_rules! m {{ () => {{ {} }} }}", function(61).trim()),
    ] {
        refuses("src/http/a.rs", &text, &[1]);
    }
    allows("src/http/a.rs", &format!("fn f();\ntype F = fn(u8);{}", "\n".repeat(100)));
    allows("src/http/a.rs", &format!("#[cfg(test)] mod tests {{ {} }}", function(61)));
}

#[test]
fn a_file_has_at_most_500_lines() {
    allows("src/http/a.rs", &"\n".repeat(500));
    refuses("src/http/a.rs", &"\n".repeat(501), &[501]);
    refuses("src/http/a.rs", &"// comment\n".repeat(600), &[501]);
}
