//! The table in docs/datastar.md names tests; these tests exist.

use std::{fs, path::Path};

#[test]
fn every_test_in_the_table_is_there() {
    let read = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let table = read("docs/datastar.md");
    let browser = ["datastar", "examples"]
        .map(|name| read(&format!("tests/browser/{name}.test.mjs")))
        .concat();
    let here = ["events", "hostile", "signals", "http", "golden"]
        .map(|name| read(&format!("tests/datastar_{name}.rs")))
        .concat()
        + &read("src/datastar/signals.rs");
    let rows =
        table.lines().filter(|line| line.starts_with("| ") && !line.contains("| our name |"));
    let mut tests = 0;
    for row in rows {
        let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        // Every second piece between backticks is code.
        let pieces: Vec<&str> = cell.split('`').collect();
        assert!(pieces.len() > 2, "no test shows this: {row}");
        for pair in pieces.chunks_exact(2) {
            let name = pair[1];
            let is_there = if pair[0].ends_with("browser: ") {
                browser.contains(&format!("test('{name}', "))
            } else {
                here.contains(&format!("fn {name}("))
            };
            assert!(is_there, "docs/datastar.md names a test that is not there: {name}");
            tests += 1;
        }
    }
    assert!(tests > 40, "only {tests} tests were found in the table");
}
