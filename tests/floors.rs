//! Checks the architecture: which module may use which, which file may change which state, which
//! layers know no clock and no socket, and how long a function and a file may be.
//!
//! Every file of `src` is read as tokens (without comments and literals), its `use` trees and
//! inline paths are resolved to modules of the crate, and violations are reported with file and
//! line. It is not a compiler: a name that a macro builds, or one that a glob import brings in, is
//! not followed (globs over the crate root are refused for that reason), and a field is identified
//! only by its name.
//! | rules | file |
//! |---|---|
//! | the floors of the crate; clocks, sockets and threads; `catch_unwind`; `Rc<RefCell>` | here |
//! | the floors of the engine, and its `api` without logic | `floors/engine.rs` |
//! | no circles between files | `floors/circles.rs` |
//! | transports and fields have owners | `floors/owners.rs` |
//! | no long functions and files | `floors/sizes.rs` |
//!
//! `floors/sabotage.rs` breaks each of them on purpose.

#[path = "floors/circles.rs"]
mod circles;
#[path = "floors/engine.rs"]
mod engine;
#[path = "floors/items.rs"]
mod items;
#[path = "floors/owners.rs"]
mod owners;
#[path = "floors/sabotage.rs"]
mod sabotage;
#[path = "floors/sizes.rs"]
mod sizes;
#[path = "floors/source.rs"]
mod source;
#[path = "floors/tokens.rs"]
mod tokens;

use std::{collections::BTreeMap, fmt, fs, path::Path};

use circles::Tree;
use items::Items;
use source::{Origin, Source, Use};

/// Every module of the crate and its layer. A module may use the layers below; a sibling in its own
/// layer only if it is listed. `lib.rs` is outside: it re-exports and has no logic.
const FLOORS: &[Module] = &[
    module("error", 0, &[]),
    module("limits", 0, &[]),
    module("time", 0, &[]),
    module("wheel", 1, &[]),
    module("http", 1, &[]),
    module("sse", 1, &[]),
    module("compress", 1, &[]),
    module("proxy_protocol", 1, &[]),
    module("tls", 1, &[]),
    module("datastar", 2, &[]),
    module("topic", 2, &[]),
    module("conn", 2, &[]),
    module("span", 2, &["topic"]),
    module("engine", 3, &[]),
    module("reactor", REACTOR_FLOOR, &[]),
    module("testing", 4, &[]),
    module("router", 5, &[]),
    module("cross_site", 5, &[]),
    module("hsts", 5, &[]),
    module("tokio", 5, &[]),
    module("dashboard", 5, &[]),
    module("backplane", 5, &[]),
    module("workers", 5, &["backplane"]),
    module("hyper", 5, &[]),
    module("axum", 6, &[]),
];

/// The lowest floor with clocks, sockets and threads.
const REACTOR_FLOOR: u8 = 4;

/// What the layers below the reactor must not use. `*` at the end of a name matches any ending.
/// Their tests may use what `std` has, but nothing else of this list.
const IO: &[&[&str]] = &[
    &["std", "net", "Tcp*"],
    &["std", "net", "Udp*"],
    &["std", "os", "unix", "net"],
    &["std", "thread"],
    &["mio"],
    &["socket2"],
    &["rustix"],
    &["tokio"],
];

struct Module {
    name: &'static str,
    floor: u8,
    siblings: &'static [&'static str],
}

/// Why a module may not use another.
struct Refused(&'static str);

impl Module {
    /// All layers below may be used; in the same layer what is listed, and in tests all.
    fn refuses(&self, used: &Self, in_test: bool) -> Option<Refused> {
        let is_sibling = used.floor == self.floor && used.name != self.name;
        if used.floor > self.floor {
            Some(Refused("imports only go down"))
        } else if is_sibling && !in_test && !self.siblings.contains(&used.name) {
            Some(Refused("siblings may not use each other"))
        } else {
            None
        }
    }
}

const fn module(name: &'static str, floor: u8, siblings: &'static [&'static str]) -> Module {
    Module { name, floor, siblings }
}

#[test]
fn the_floors_hold() {
    let files = files_of_the_crate();
    let complaints = check(&files);
    let listing: String = complaints.iter().map(|it| format!("\n  {it}")).collect();
    assert!(
        complaints.is_empty(),
        "{} breach(es) of the architecture (the tables are in tests/floors*):{listing}",
        complaints.len()
    );
}

/// A stale entry checks nothing: its target was renamed or fixed.
#[test]
fn the_tables_have_no_stale_entries() {
    let sources = read(&files_of_the_crate());
    let tree = Tree::of(&sources);
    let of_crate = FLOORS.iter().map(|module| ("", module.name));
    let of_engine = engine::FLOORS.iter().map(|module| ("engine::", module.name));
    let is_there = |(folder, name): (&str, &str)| {
        let module = format!("{folder}{}", name.strip_prefix("mod").unwrap_or(name));
        let module = module.trim_end_matches("::");
        sources.iter().any(|source| source.module.join("::") == module)
    };
    let mut needless: Vec<String> = of_crate
        .chain(of_engine)
        .filter(|module| !is_there(*module))
        .map(|(folder, name)| format!("no module `{folder}{name}`"))
        .collect();
    needless.extend(tree.needless(circles::CIRCLES));
    needless.extend(owners::missing(&with_items(&sources)));
    assert!(needless.is_empty(), "correct the tables in tests/floors*: {needless:#?}");
}

fn files_of_the_crate() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    read_rust_files(&root.join("src"), "src", &mut files);
    for expected in ["src/lib.rs", "src/error.rs", "src/wheel.rs"] {
        let found = files.iter().any(|(path, _)| path == expected);
        assert!(found, "{expected} was not read: the test looks elsewhere");
    }
    files
}

fn read_rust_files(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_rust_files(&path, &name, files);
        } else if name.ends_with(".rs") {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// One violation of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// All violations in these files, given as (path from the root of the crate, text).
fn check(files: &[(String, String)]) -> Vec<Complaint> {
    let sources = read(files);
    let tree = Tree::of(&sources);
    let root = sources.iter().find(|source| source.module.is_empty());
    let reexports = root.map(reexports).unwrap_or_default();
    let files = with_items(&sources);
    let mut complaints = tree.unlisted(circles::CIRCLES);
    complaints.extend(owners::check(&files));
    for (source, items) in &files {
        complaints.extend(Checker::of(source, &reexports).run());
        complaints.extend(engine::check(source, items, &tree));
        complaints.extend(sizes::check(source, items));
    }
    complaints.sort();
    complaints.dedup();
    complaints
}

fn read(files: &[(String, String)]) -> Vec<Source> {
    let mut sources: Vec<Source> =
        files.iter().map(|(path, text)| Source::read(path, text)).collect();
    let test_modules: Vec<Vec<String>> =
        sources.iter().flat_map(|source| source.test_modules.iter().cloned()).collect();
    for source in &mut sources {
        if test_modules.iter().any(|it| source.module.starts_with(it)) {
            source.mark_as_test();
        }
    }
    sources
}

fn with_items(sources: &[Source]) -> Vec<owners::Read<'_>> {
    sources.iter().map(|source| (source, Items::of(source))).collect()
}

/// The module that a name at the root of the crate comes from: `pub use limits::Limits` gives
/// `Limits -> limits`, so that `crate::Limits` is checked as `crate::limits::Limits`.
fn reexports(root: &Source) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for import in &root.uses {
        let module = import.path.iter().find(|name| *name != "crate");
        if let (Origin::Declared(Some(name)), Some(module)) = (&import.origin, module) {
            map.insert(name.clone(), module.clone());
        }
    }
    map
}

struct Checker<'a> {
    source: &'a Source,
    reexports: &'a BTreeMap<String, String>,
    complaints: Vec<Complaint>,
}

impl<'a> Checker<'a> {
    fn of(source: &'a Source, reexports: &'a BTreeMap<String, String>) -> Self {
        Self { source, reexports, complaints: Vec::new() }
    }

    fn run(mut self) -> Vec<Complaint> {
        self.check_everywhere();
        let Some(top) = self.source.module.first() else {
            self.check_lib();
            return self.complaints;
        };
        let Some(module) = FLOORS.iter().find(|module| module.name == top) else {
            let what = format!("`{top}` is on no floor: give it one in tests/floors.rs");
            self.complain(1, what);
            return self.complaints;
        };
        for import in &self.source.uses {
            self.check_floor(module, import);
            if module.floor < REACTOR_FLOOR {
                self.check_io(module, import);
            }
        }
        self.complaints
    }

    /// Rules for every layer and for `lib.rs`.
    fn check_everywhere(&mut self) {
        for line in &self.source.shared_cells {
            let what = "`Rc<RefCell<..>>` in the crate: own the data in one place and lend it out";
            self.complain(*line, what.into());
        }
        if self.source.file.starts_with("src/engine/calls/") {
            return;
        }
        for line in &self.source.catches {
            let what = "`catch_unwind` outside src/engine/calls: user code is guarded there alone";
            self.complain(*line, what.into());
        }
    }

    fn check_lib(&mut self) {
        for line in &self.source.functions {
            let what = "a function in lib.rs, which only re-exports: move it to its floor";
            self.complain(*line, what.into());
        }
    }

    fn check_floor(&mut self, module: &Module, import: &Use) {
        // Names used through an import were checked where they are imported.
        let path = match import.path.split_first() {
            Some((first, path)) if first == "crate" && import.origin != Origin::Imported => path,
            _ => return,
        };
        let Some(name) = path.first().filter(|name| *name != "*") else {
            let what = "imports the crate root, which hides the floor: name the module".into();
            return self.complain(import.line, what);
        };
        let target = self.reexports.get(name).unwrap_or(name);
        let Some(target) = FLOORS.iter().find(|module| module.name == target) else {
            let what = format!("`crate::{name}` is on no floor: name its module");
            return self.complain(import.line, what);
        };
        let Some(Refused(direction)) = module.refuses(target, import.is_test) else { return };
        let what = format!(
            "`{}` (floor {}) uses `{}` (floor {}): {direction}",
            module.name, module.floor, target.name, target.floor
        );
        self.complain(import.line, what);
    }

    fn check_io(&mut self, module: &Module, import: &Use) {
        let is_clock = import
            .path
            .windows(2)
            .any(|pair| matches!(pair[0].as_str(), "Instant" | "SystemTime") && pair[1] == "now");
        let io = IO.iter().find(|banned| begins_with(&import.path, banned));
        let is_std = is_clock || io.is_some_and(|banned| banned[0] == "std");
        let is_glob_over_sockets = import.path == ["std", "net", "*"] && !import.is_test;
        if (is_std && import.is_test) || !(is_clock || io.is_some() || is_glob_over_sockets) {
            return;
        }
        let what = format!(
            "`{}` (floor {}) touches `{}`: clocks, sockets and threads start at the reactor \
             (floor {REACTOR_FLOOR}); take the time or the bytes as an argument",
            module.name,
            module.floor,
            import.path.join("::")
        );
        self.complain(import.line, what);
    }

    fn complain(&mut self, line: usize, what: String) {
        self.complaints.push(Complaint { file: self.source.file.clone(), line, what });
    }
}

fn begins_with(path: &[String], banned: &[&str]) -> bool {
    let matches = |(name, banned): (&String, &&str)| match banned.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == banned,
    };
    path.len() >= banned.len() && path.iter().zip(banned).all(matches)
}
