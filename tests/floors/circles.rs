//! Which file uses which, and the cycles among them.
//!
//! A name is followed to the file that defines it, through re-exports and through imports of a
//! parent module. A re-export is a use only if its own file uses the name as well. Method calls are
//! not followed: a file with `impl Topics` uses the file that defines `Topics`, and a call of such
//! a method uses neither.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Complaint,
    source::{Origin, Source, Use},
};

/// Files that use each other in a cycle, and why they may.
pub(crate) struct Circle {
    files: &'static [&'static str],
    why: &'static str,
}

/// The allowed cycles.
pub(crate) const CIRCLES: &[Circle] = &[
    Circle {
        files: &[
            "src/engine/api/context.rs",
            "src/engine/api/feed.rs",
            "src/engine/api/handler.rs",
            "src/engine/api/sse.rs",
            "src/engine/api/stream.rs",
            "src/engine/calls/mod.rs",
            "src/engine/core/mod.rs",
            "src/engine/later/oneshot.rs",
            "src/engine/later/responder.rs",
            "src/engine/later/waiting.rs",
            "src/engine/pending.rs",
            "src/engine/remote/command.rs",
            "src/engine/remote/crew.rs",
            "src/engine/remote/handle.rs",
            "src/engine/remote/mailbox.rs",
        ],
        why: "closures take `&mut Stream` and `&mut Context`, which hold `&mut Core`, which holds \
              streams to be with their closures",
    },
    Circle {
        files: &[
            "src/engine/topics/driven.rs",
            "src/engine/topics/mod.rs",
            "src/engine/topics/namespace.rs",
            "src/engine/topics/pass.rs",
            "src/engine/topics/seen.rs",
            "src/engine/topics/state.rs",
        ],
        why: "a topic's state holds its pass and its updater, and `Topics` what was seen before; the \
              fields belong to the files with the methods of `Topics` that change them",
    },
    Circle {
        files: &["src/topic/log.rs", "src/topic/log/forms.rs"],
        why: "the compressed forms of a frame are kept in it and made of it",
    },
    Circle {
        files: &["src/conn/mod.rs", "src/conn/phase.rs", "src/conn/streaming.rs"],
        why: "one state: the deadline of a phase depends on where the output stands",
    },
    Circle {
        files: &["src/http/reader.rs", "src/http/request.rs"],
        why: "the reader fills requests, and `Request::parse` is a reader for one that is complete",
    },
    Circle {
        files: &["src/reactor/mod.rs", "src/reactor/signals.rs"],
        why: "the feature `signals` adds a method to `Reactor`, which keeps the pipe that it opens",
    },
    Circle {
        files: &["src/sse/buffer.rs", "src/sse/encode.rs"],
        why: "an event writes itself into a buffer, and a buffer takes events",
    },
];

/// All files, by what they define.
pub(crate) struct Tree<'a> {
    sources: &'a [Source],
    by_module: BTreeMap<&'a [String], usize>,
    /// These, and the folders around them.
    modules: BTreeSet<&'a [String]>,
    /// The target of an imported name, by the importing module and the name.
    imports: BTreeMap<(&'a [String], &'a str), &'a [String]>,
}

/// One use: its place, and the file that it leads to.
struct Edge {
    line: usize,
    to: usize,
}

impl<'a> Tree<'a> {
    pub(crate) fn of(sources: &'a [Source]) -> Self {
        let mut tree = Self {
            sources,
            by_module: BTreeMap::new(),
            modules: BTreeSet::new(),
            imports: BTreeMap::new(),
        };
        for (number, source) in sources.iter().enumerate() {
            tree.by_module.insert(&source.module, number);
            tree.modules.extend((0..=source.module.len()).map(|depth| &source.module[..depth]));
            for import in source.uses.iter().filter(|import| !import.is_test) {
                if let Origin::Declared(Some(name)) = &import.origin {
                    tree.imports.insert((&source.module, name), &import.path);
                }
            }
        }
        tree
    }

    /// The module of the file that defines `path` as seen from `from`; `None` outside the crate.
    pub(crate) fn module_of(&self, from: &Source, path: &[String]) -> Option<&'a [String]> {
        self.file_of(from, path).map(|number| self.sources[number].module.as_slice())
    }

    fn file_of(&self, from: &Source, path: &[String]) -> Option<usize> {
        let mut base: Vec<String> = from.module.clone();
        let mut path: Vec<String> = path.to_vec();
        // An import may refer to another import; only a mistake continues for long.
        for _ in 0..20 {
            if path.first().is_some_and(|name| name == "crate") {
                base.clear();
                path.remove(0);
            }
            let (module, rest) = self.descend(base.clone(), &path);
            let import = rest.first().and_then(|name| self.imports.get(&(&module, name.as_str())));
            let Some(import) = import.filter(|import| **import != rest) else {
                // Neither a module below nor an import: defined in this module, or another crate.
                let is_known = rest.len() < path.len() || base.is_empty();
                return is_known.then(|| self.by_module.get(module.as_slice()).copied())?;
            };
            path = import.iter().chain(&rest[1..]).cloned().collect();
            base = module;
        }
        None
    }

    /// Follows modules downwards as far as possible. A last name that is also imported counts as
    /// the import.
    fn descend<'p>(
        &self,
        mut module: Vec<String>,
        path: &'p [String],
    ) -> (Vec<String>, &'p [String]) {
        for (at, name) in path.iter().enumerate() {
            let is_last = at + 1 == path.len();
            if is_last && self.imports.contains_key(&(&module, name.as_str())) {
                return (module, &path[at..]);
            }
            module.push(name.clone());
            if !self.modules.contains(module.as_slice()) {
                module.pop();
                return (module, &path[at..]);
            }
        }
        (module, &[])
    }

    fn edges(&self, number: usize) -> Vec<Edge> {
        let source = &self.sources[number];
        let counts = |import: &&Use| match &import.origin {
            _ if import.is_test => false,
            Origin::Declared(Some(name)) if import.is_reexport => source.words.contains(name),
            _ => true,
        };
        let uses = source.uses.iter().filter(counts);
        let edges = uses.filter_map(|import| {
            let to = self.file_of(source, &import.path)?;
            (to != number).then_some(Edge { line: import.line, to })
        });
        edges.collect()
    }

    /// Cycles that are not listed, each reported once, at its first use.
    pub(crate) fn unlisted(&self, listed: &[Circle]) -> Vec<Complaint> {
        let graph: Vec<Vec<Edge>> = (0..self.sources.len()).map(|it| self.edges(it)).collect();
        let mut complaints = Vec::new();
        for ring in rings(&graph) {
            let is_listed = |number: &usize, circle: &Circle| {
                circle.files.contains(&self.sources[*number].file.as_str())
            };
            let covers = |circle: &&Circle| ring.iter().any(|number| is_listed(number, circle));
            let circle = listed.iter().find(covers);
            let strangers =
                ring.iter().filter(|it| circle.is_none_or(|circle| !is_listed(it, circle)));
            let first = strangers.min_by_key(|number| &self.sources[**number].file);
            if let Some(&start) = first {
                complaints.push(self.describe(&graph, start));
            }
        }
        complaints
    }

    /// Listed cycles that do not exist, or no longer with all of these files.
    pub(crate) fn needless(&self, listed: &[Circle]) -> Vec<String> {
        let graph: Vec<Vec<Edge>> = (0..self.sources.len()).map(|it| self.edges(it)).collect();
        let rings: Vec<BTreeSet<&str>> = rings(&graph)
            .iter()
            .map(|ring| ring.iter().map(|it| self.sources[*it].file.as_str()).collect())
            .collect();
        let is_there = |circle: &&Circle| {
            rings.iter().any(|ring| circle.files.iter().all(|file| ring.contains(file)))
        };
        let needless = listed.iter().filter(|circle| !is_there(circle));
        needless.map(|it| format!("no circle of all of {:?} ({})", it.files, it.why)).collect()
    }

    /// The shortest path from a file back to itself.
    fn describe(&self, graph: &[Vec<Edge>], start: usize) -> Complaint {
        let mut came_from: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front().filter(|_| !came_from.contains_key(&start)) {
            for edge in &graph[at] {
                came_from.entry(edge.to).or_insert_with(|| {
                    queue.push_back(edge.to);
                    (at, edge.line)
                });
            }
        }
        let mut way = format!("back to {}", self.sources[start].file);
        let mut at = start;
        loop {
            let (from, line) = came_from[&at];
            if from == start {
                let what = format!("files use each other in a circle: {way}");
                return Complaint { file: self.sources[start].file.clone(), line, what };
            }
            way = format!("{}:{line}, {way}", self.sources[from].file);
            at = from;
        }
    }
}

/// Sets of files each of which uses all others, directly or not.
fn rings(graph: &[Vec<Edge>]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..graph.len()).map(|from| reach(graph, from)).collect();
    let mut rings: Vec<Vec<usize>> = Vec::new();
    for from in 0..graph.len() {
        let is_known = rings.iter().any(|ring| ring.contains(&from));
        if reached[from].contains(&from) && !is_known {
            rings.push(
                reached[from].iter().copied().filter(|to| reached[*to].contains(&from)).collect(),
            );
        }
    }
    rings
}

fn reach(graph: &[Vec<Edge>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        open.extend(graph[at].iter().map(|edge| edge.to).filter(|to| reached.insert(*to)));
    }
    reached
}
