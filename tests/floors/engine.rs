//! The layers inside `src/engine`, and what its `api` must not do.

use crate::{
    Complaint, Module, Refused,
    circles::Tree,
    items::{Function, Items},
    module,
    source::{Origin, Source},
    tokens::Tokens,
};

/// Every module of the engine and its floor. The files of a folder are on the folder's floor
/// unless they are listed themselves.
pub(crate) const FLOORS: &[Module] = &[
    module("keys", 0, &[]),
    module("client", 0, &[]),
    module("memory", 0, &[]),
    module("scratch", 0, &["memory"]),
    module("stats", 0, &[]),
    module("api::config", 0, &[]),
    module("api::next", 0, &[]),
    module("transport", 1, &[]),
    // The owner of all transports.
    module(
        "links",
        1,
        &["handshake_share", "ledger", "opening", "secured", "tls_clients", "transport"],
    ),
    // A transport itself.
    module("secured", 1, &["handshake_share", "ledger", "transport"]),
    module("tls_clients", 1, &[]),
    module("handshake_share", 1, &[]),
    module("ledger", 1, &[]),
    module("conns", 1, &[]),
    module("opening", 1, &[]),
    module("coding", 1, &[]),
    module("places", 1, &[]),
    module("tag_lists", 1, &[]),
    // What workers share: both of these, under locks.
    module("registry", 1, &["places", "tag_lists"]),
    module("tags", 1, &["registry", "tag_lists"]),
    module("admission", 1, &["places", "registry"]),
    module("calls::routes", 1, &[]),
    module("calls::watchdog", 1, &[]),
    module("topics", 2, &[]),
    module("api", 3, CLOSURES),
    module("calls", 3, CLOSURES),
    module("pending", 3, CLOSURES),
    module("core", 3, CLOSURES),
    // Handles, whose commands are closures too.
    module("remote", 3, CLOSURES),
    // Promised answers: closures that other threads send.
    module("later", 3, CLOSURES),
    // `Engine`, and the order of its turn.
    module("mod", 4, &[]),
    // The steps of a turn. They are methods of `Engine`, which names none of their files.
    module("turn", 5, &[]),
];

/// These use each other because the types of closures force it: users' closures take `&mut Stream`
/// and `&mut Context` (`api`), which hold `&mut Core` (`core`), which holds streams and timers that
/// have not started (`pending`) with their closures (`calls`).
const CLOSURES: &[&str] = &["api", "calls", "core", "later", "pending", "remote"];

pub(crate) fn check(source: &Source, items: &Items, tree: &Tree) -> Vec<Complaint> {
    if source.module.first().is_none_or(|top| top != "engine") {
        return Vec::new();
    }
    let mut complaints = uses(source, tree);
    if source.module.get(1).is_some_and(|folder| folder == "api") {
        let functions = items.functions.iter().filter(|function| !function.is_test);
        complaints.extend(functions.filter_map(|function| logic(source, function)));
    }
    complaints
}

/// `None` outside the engine and for a file in no layer.
fn floor_of(module: &[String]) -> Option<&'static Module> {
    let (_, names) = module.split_first().filter(|(top, _)| *top == "engine")?;
    let mut name = match names.is_empty() {
        true => "mod".to_owned(),
        false => names.join("::"),
    };
    loop {
        if let Some(floor) = FLOORS.iter().find(|floor| floor.name == name) {
            return Some(floor);
        }
        name.truncate(name.rfind("::")?);
    }
}

fn uses(source: &Source, tree: &Tree) -> Vec<Complaint> {
    let complaint = |line, what| Complaint { file: source.file.clone(), line, what };
    let Some(user) = floor_of(&source.module) else {
        let what = "is on no floor of the engine: give it one in tests/floors/engine.rs".into();
        return vec![complaint(1, what)];
    };
    let mut complaints = Vec::new();
    // Names used through an import were checked where they are imported.
    for import in source.uses.iter().filter(|import| import.origin != Origin::Imported) {
        let module = tree.module_of(source, &import.path);
        let Some(used) = module.and_then(floor_of) else { continue };
        let refused = user.refuses(used, import.is_test);
        if let Some(Refused(direction)) = refused {
            let what = format!(
                "`engine::{}` (floor {} of the engine) uses `engine::{}` (floor {}): {direction}",
                user.name, user.floor, used.name, used.floor
            );
            complaints.push(complaint(import.line, what));
        }
    }
    complaints
}

/// The API passes calls on and decides nothing: no function has a loop, and one that uses the core
/// is a few lines long and has no `match`.
fn logic(source: &Source, function: &Function) -> Option<Complaint> {
    let tokens = &source.tokens;
    let word = |words: &[&str]| {
        let mut body = function.body.clone();
        body.find(|&at| {
            let is_bound = tokens.name(at) == Some("for") && tokens.punct(at + 1, '<');
            tokens.name(at).is_some_and(|name| words.contains(&name)) && !is_bound
        })
    };
    let reaches_core = word(&["core"]).is_some();
    let lines = (function.lines.end - function.opening).saturating_sub(1);
    let line = |at: usize| tokens[at].line;
    let (line, what) = if let Some(at) = word(&["for", "while", "loop"]) {
        (line(at), "has a loop".to_owned())
    } else if let Some(at) = word(&["match"]).filter(|_| reaches_core) {
        (line(at), "reaches the core and decides what to do".to_owned())
    } else if reaches_core && lines > VIEW_LINES_MAX {
        (function.lines.start, format!("reaches the core and has {lines} lines"))
    } else {
        return None;
    };
    let what = format!("`{}` {what}: no logic in src/engine/api; move it to core/", function.name);
    Some(Complaint { file: source.file.clone(), line, what })
}

/// Lines between the braces of a function that uses the core.
const VIEW_LINES_MAX: usize = 6;
