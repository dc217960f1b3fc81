//! Checks what a user of the crate compiles: few packages, no proc-macro, no async runtime. Also
//! checks that the manifest lists every test.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Including the crate itself. It was 15 when this was written; an increase needs a reason.
const PACKAGES_MAX: usize = 20;
/// Packages that `cargo run --example clock` compiles, including build scripts and
/// dev-dependencies.
const PACKAGES_OF_AN_EXAMPLE_MAX: usize = 32;

/// `*` matches any start or end of a name.
const BANNED: &[(&str, &str)] = &[
    ("syn", "a part of proc-macros"),
    ("quote", "a part of proc-macros"),
    ("proc-macro*", "a part of proc-macros"),
    ("*_derive", "a proc-macro"),
    ("*-derive", "a proc-macro"),
    ("tokio*", "an async runtime"),
    ("async-*", "an async runtime"),
    ("smol", "an async runtime"),
    ("futures*", "of the async world"),
];

#[test]
fn the_default_tree_is_small_and_plain() {
    let tree = tree_of("normal");
    let complaints = check(&tree, PACKAGES_MAX);
    assert!(complaints.is_empty(), "{}\n{tree}", complaints.join("\n"));
}

#[test]
fn an_example_builds_what_its_page_needs() {
    let tree = tree_of("normal,build,dev");
    let complaints = check(&tree, PACKAGES_OF_AN_EXAMPLE_MAX);
    assert!(complaints.is_empty(), "{}\n{tree}", complaints.join("\n"));
}

#[test]
fn the_types_of_the_crate_http_bring_nothing_async() {
    let tree = tree_of("normal");
    assert!(!tree.contains("\nhttp v"), "they are opt-in");
    let tree = tree_with(&["--features", "http"], "normal");
    assert!(tree.contains("\nhttp v"), "{tree}");
    let complaints = check(&tree, PACKAGES_MAX + 2);
    assert!(complaints.is_empty(), "{}\n{tree}", complaints.join("\n"));
}

#[test]
fn the_runtime_is_opt_in_and_comes_without_macros() {
    let tree = tree_with(&["--features", "tokio"], "normal");
    assert!(tree.contains("\ntokio v"), "{tree}");
    let complaints = check(&tree, PACKAGES_MAX + 2);
    assert_eq!(complaints, ["tokio is an async runtime"], "{tree}");
}

#[test]
fn redis_brings_a_parser_and_encryption_its_own_packages() {
    let redis = tree_with(&["--features", "redis"], "normal");
    assert!(redis.contains("\nredis-protocol v") && !redis.contains("\nrustls v"), "{redis}");
    let complaints = check(&redis, PACKAGES_MAX + 7);
    assert!(complaints.is_empty(), "{}\n{redis}", complaints.join("\n"));
    let tls = tree_with(&["--features", "redis-tls"], "normal");
    assert!(tls.contains("\nrustls v") && !tls.contains("\naws-lc"), "{tls}");
    let complaints = check(&tls, PACKAGES_MAX + 18);
    assert!(complaints.is_empty(), "{}\n{tls}", complaints.join("\n"));
}

#[test]
fn the_dashboard_brings_nothing() {
    assert_eq!(tree_with(&["--features", "dashboard"], "normal"), tree_of("normal"));
}

/// ring compiles C, as zstd does.
#[test]
fn tls_comes_without_a_runtime_and_with_one_provider() {
    assert!(!tree_of("normal").contains("\nrustls v"), "it is opt-in");
    let tree = tree_with(&["--features", "tls"], "normal");
    assert!(tree.contains("\nrustls v") && !tree.contains("\naws-lc"), "{tree}");
    // Ten more, as measured by `cargo tree`.
    let complaints = check(&tree, PACKAGES_MAX + 10);
    assert!(complaints.is_empty(), "{}\n{tree}", complaints.join("\n"));
}

/// What axum needs is what axum's users have already.
#[test]
fn the_server_features_add_what_their_servers_bring() {
    let hyper = tree_with(&["--features", "hyper"], "normal");
    let complaints = check(&hyper, PACKAGES_MAX + 7);
    assert_eq!(complaints, ["tokio is an async runtime"], "{hyper}");
    let axum = tree_with(&["--features", "axum"], "normal");
    assert!(axum.contains("\naxum v") && axum.contains("\nhyper v"), "{axum}");
    let complaints = check(&axum, PACKAGES_MAX + 28);
    assert!(!complaints.iter().any(|it| it.contains("packages")), "{complaints:?}\n{axum}");
}

/// The manifest names each test, because cargo does not look for them here.
#[test]
fn the_manifest_names_every_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder of tests") {
        let file_name = entry.expect("an entry").file_name();
        let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".rs")) else {
            continue;
        };
        files += 1;
        let line = format!("{{ name = \"{name}\", path = \"{name}.rs\" }},");
        assert!(manifest.contains(&line), "tests/Cargo.toml lacks the line `{line}`");
    }
    assert!(files > 30, "only {files} files were found");
}

/// The packages that the library or its examples need, as `cargo tree` prints them.
fn tree_of(edges: &str) -> String {
    tree_with(&[], edges)
}

fn tree_with(features: &[&str], edges: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-e", edges, "--prefix", "none"])
        .args(features)
        .args(["--offline", "--locked", "--package", "starwheel"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let tree = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    assert!(tree.starts_with("starwheel v"), "not our tree: {tree}");
    assert!(tree.contains("\nmio v"), "a tree without its roots: {tree}");
    tree
}

/// Problems of a tree as `cargo tree --prefix none` prints it: `name v1.2.3 (marks)`.
fn check(tree: &str, packages_max: usize) -> Vec<String> {
    let mut packages = BTreeSet::new();
    let mut complaints = BTreeSet::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        packages.insert((name, version));
        let banned = BANNED.iter().find(|(pattern, _)| matches(name, pattern));
        if let Some((_, why)) = banned {
            complaints.insert(format!("{name} is {why}"));
        } else if line.contains("(proc-macro)") {
            complaints.insert(format!("{name} is a proc-macro"));
        }
    }
    if packages.len() > packages_max {
        let count = packages.len();
        complaints.insert(format!("{count} packages, at most {packages_max} are promised"));
    }
    complaints.into_iter().collect()
}

fn matches(name: &str, pattern: &str) -> bool {
    if let Some(start) = pattern.strip_suffix('*') {
        name.starts_with(start)
    } else if let Some(end) = pattern.strip_prefix('*') {
        name.ends_with(end)
    } else {
        name == pattern
    }
}

#[test]
fn banned_dependencies_are_reported() {
    for name in [
        "syn",
        "quote",
        "proc-macro2",
        "serde_derive",
        "zerocopy-derive",
        "tokio",
        "tokio-util",
        "async-std",
        "smol",
        "futures",
        "futures-core",
    ] {
        let tree = format!("starwheel v0.1.0 (/somewhere)\nlog v0.4.29\n{name} v1.0.0");
        let found = check(&tree, 20);
        assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
    }
    assert_eq!(check("pin v1.0.0 (proc-macro)", 20), ["pin is a proc-macro"]);
}

#[test]
fn a_tree_is_counted_by_packages_not_by_lines() {
    let tree =
        |packages: usize| -> String { (0..packages).map(|n| format!("p{n} v1.0.0\n")).collect() };
    assert_eq!(check(&(tree(20) + "p3 v1.0.0 (*)\n\n"), 20), [""; 0]);
    assert_eq!(check(&(tree(20) + "p3 v2.0.0\n"), 20).len(), 1, "a second version is a package");
    assert_eq!(check(&tree(21), 20), ["21 packages, at most 20 are promised"]);
}

#[test]
fn innocent_names_pass() {
    assert_eq!(check("derive_more_or_less v1.0.0\nsynth v1.0.0\nsmoltcp v0.1.0", 20), [""; 0]);
}
