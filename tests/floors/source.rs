//! Reads one Rust file just well enough to see what it uses: modules, `use` trees, inline paths,
//! and which part of it is test code.
//!
//! This knows Rust's syntax, not the rules of the architecture.

use std::collections::BTreeSet;

use crate::tokens::{Kind, Token, Tokens, tokens};

/// What the rules need of a file.
pub(crate) struct Source {
    /// As given, `src/conn/mod.rs`.
    pub(crate) file: String,
    /// `["conn"]`, `["conn", "outbox"]`; empty for `src/lib.rs`.
    pub(crate) module: Vec<String>,
    /// All imports, and every inline path of two or more names.
    pub(crate) uses: Vec<Use>,
    /// Modules declared here with `#[cfg(test)] mod name;`, as full paths.
    pub(crate) test_modules: Vec<Vec<String>>,
    /// Lines with `Rc<RefCell` or `Rc::new(RefCell` outside tests.
    pub(crate) shared_cells: Vec<usize>,
    /// Lines with `catch_unwind` outside tests.
    pub(crate) catches: Vec<usize>,
    /// Lines with `fn`.
    pub(crate) functions: Vec<usize>,
    /// Names that occur outside tests and `use` declarations.
    pub(crate) words: BTreeSet<String>,
    pub(crate) tokens: Vec<Token>,
    /// For every token: is it part of test code?
    pub(crate) is_test: Vec<bool>,
    /// Number of lines in the file.
    pub(crate) lines: usize,
}

/// One path that the file uses, resolved: it starts with `crate`, the name of another crate, or
/// (ignored by the rules) a name that the file itself defines.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) line: usize,
    /// A glob ends in `*`.
    pub(crate) path: Vec<String>,
    pub(crate) origin: Origin,
    /// A `pub use` or `pub(..) use`.
    pub(crate) is_reexport: bool,
    pub(crate) is_test: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A `use` declaration, and the name it binds (none for a glob).
    Declared(Option<String>),
    /// Written out in the code.
    Inline,
    /// Written in the code after a name that a `use` declaration binds.
    Imported,
}

impl Use {
    /// The path after this one, if `import` binds its first name.
    fn through(&self, import: &Self) -> Option<Self> {
        let Origin::Declared(Some(bound)) = &import.origin else {
            return None;
        };
        let (first, rest) = self.path.split_first()?;
        let is_visible = self.is_test || !import.is_test;
        if first != bound || import.path.first() == Some(bound) || !is_visible {
            return None;
        }
        Some(Self {
            line: self.line,
            path: import.path.iter().chain(rest).cloned().collect(),
            origin: Origin::Imported,
            is_reexport: false,
            is_test: self.is_test,
        })
    }
}

impl Source {
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let tokens = tokens(text);
        let is_test = test_code(&tokens);
        let module = module_path(file);
        let reader = Reader {
            tokens: &tokens,
            is_test: &is_test,
            module: module.clone(),
            inline_modules: Vec::new(),
            depth: 0,
            is_reexport: false,
            source: Self {
                file: file.to_owned(),
                module,
                uses: Vec::new(),
                test_modules: Vec::new(),
                shared_cells: Vec::new(),
                catches: Vec::new(),
                functions: Vec::new(),
                words: BTreeSet::new(),
                tokens: Vec::new(),
                is_test: Vec::new(),
                lines: text.lines().count(),
            },
        };
        let source = reader.read();
        Self { tokens, is_test, ..source }
    }

    /// For a file whose module is declared `#[cfg(test)]` elsewhere.
    pub(crate) fn mark_as_test(&mut self) {
        self.shared_cells.clear();
        self.catches.clear();
        self.words.clear();
        self.is_test.fill(true);
        self.uses.iter_mut().for_each(|it| it.is_test = true);
    }
}

/// `src/conn/outbox.rs` is `conn::outbox`, `src/conn/mod.rs` is `conn`, `src/lib.rs` is the root.
fn module_path(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut names: Vec<_> = path.split('/').map(str::to_owned).collect();
    if names == ["lib"] || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// For every token: is it part of an item (or statement, field, arm) under `#[cfg(test)]`?
fn test_code(tokens: &[Token]) -> Vec<bool> {
    let mut is_test = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        if attribute_is(&tokens[at..], &["#", "!", "[", "cfg", "(", "test", ")", "]"]) {
            is_test.fill(true);
        } else if TEST_ATTRIBUTES.iter().any(|attribute| attribute_is(&tokens[at..], attribute)) {
            let end = at + item_length(&tokens[at..]);
            is_test[at..end].fill(true);
        }
    }
    is_test
}

const TEST_ATTRIBUTES: &[&[&str]] = &[
    &["#", "[", "test", "]"],
    &["#", "[", "cfg", "(", "test", ")", "]"],
    &["#", "[", "cfg", "(", "all", "(", "test", ","],
];

fn attribute_is(tokens: &[Token], expected: &[&str]) -> bool {
    let matches = |(token, expected): (&Token, &&str)| match &token.kind {
        Kind::Name(name) => name == expected,
        Kind::Punct(punct) => expected.chars().eq([*punct]),
        Kind::PathSep | Kind::Literal => false,
    };
    tokens.len() >= expected.len() && tokens.iter().zip(expected).all(matches)
}

/// Up to the `;` or the closing brace of the item here; for a field or a match arm up to `,`.
fn item_length(tokens: &[Token]) -> usize {
    const ITEMS: [&str; 10] =
        ["fn", "impl", "mod", "use", "struct", "enum", "trait", "type", "const", "static"];
    let mut depth = 0_usize;
    let mut is_item = false;
    for (at, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Name(name) => is_item |= depth == 0 && ITEMS.contains(&name.as_str()),
            Kind::Punct('(' | '[' | '{') => depth += 1,
            Kind::Punct(')' | ']' | '}') if depth == 0 => return at,
            Kind::Punct(closing @ (')' | ']' | '}')) => {
                depth -= 1;
                if depth == 0 && *closing == '}' {
                    return at + 1;
                }
            }
            Kind::Punct(';') if depth == 0 => return at + 1,
            Kind::Punct(',') if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Reader<'a> {
    tokens: &'a [Token],
    is_test: &'a [bool],
    /// The module of the current token: the file's, and the inline ones around it.
    module: Vec<String>,
    /// The depth of braces at which each surrounding `mod name {` began.
    inline_modules: Vec<usize>,
    depth: usize,
    /// The `use` declaration that is being read is a re-export.
    is_reexport: bool,
    source: Source,
}

impl Reader<'_> {
    fn read(mut self) -> Source {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.step(at);
        }
        self.follow_imports();
        self.source
    }

    /// Reads the item at a token; returns where to continue.
    fn step(&mut self, at: usize) -> usize {
        match &self.tokens[at].kind {
            Kind::Punct('{') => self.depth += 1,
            Kind::Punct('}') => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline_modules.last() == Some(&self.depth) {
                    self.inline_modules.pop();
                    self.module.pop();
                }
            }
            Kind::Name(name) => match name.as_str() {
                "use" if !self.tokens.punct(at + 1, '<') => {
                    self.is_reexport = self.is_public(at);
                    return self.use_tree(at + 1, Vec::new());
                }
                // `pub(in crate::engine)` contains a module but uses nothing of it.
                "in" if self.tokens.punct(at.wrapping_sub(1), '(') => return self.path(at + 1).1,
                "mod" if self.tokens.name(at + 1).is_some() => return self.module_item(at),
                _ => {
                    self.note_words(at, name);
                    return self.inline_path(at);
                }
            },
            Kind::PathSep | Kind::Punct(_) | Kind::Literal => {}
        }
        at + 1
    }

    /// `pub` or `pub(..)` precedes this token.
    fn is_public(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).and_then(|at| self.tokens.name(at));
        let is_restricted = at > 0 && self.tokens.punct(at - 1, ')');
        // `pub(super)` has three tokens after `pub`; `pub(in crate::engine)` has six or more.
        before(1) == Some("pub")
            || (is_restricted && (4..=12).any(|back| before(back) == Some("pub")))
    }

    fn module_item(&mut self, at: usize) -> usize {
        let name = self.tokens.name(at + 1).unwrap_or_default().to_owned();
        if self.tokens.punct(at + 2, '{') {
            self.module.push(name);
            self.inline_modules.push(self.depth);
        } else if self.is_test[at] {
            let mut path = self.module.clone();
            path.push(name);
            self.source.test_modules.push(path);
        }
        at + 2
    }

    fn note_words(&mut self, at: usize, name: &str) {
        let line = self.tokens[at].line;
        if name == "fn" {
            self.source.functions.push(line);
        }
        if self.is_test[at] {
            return;
        }
        self.source.words.insert(name.to_owned());
        if name == "catch_unwind" {
            self.source.catches.push(line);
        }
        if name == "Rc" && self.wraps_ref_cell(at + 1) {
            self.source.shared_cells.push(line);
        }
    }

    /// `<RefCell`, `::<cell::RefCell`, `::new(RefCell` and the like.
    fn wraps_ref_cell(&self, mut at: usize) -> bool {
        if self.tokens.path_sep(at) {
            at += 1;
        }
        if self.tokens.name(at) == Some("new") {
            at += 1;
        }
        if !self.tokens.punct(at, '<') && !self.tokens.punct(at, '(') {
            return false;
        }
        self.path(at + 1).0.iter().any(|name| name == "RefCell")
    }

    /// `a::b::c` from here on, and its end.
    fn path(&self, mut at: usize) -> (Vec<String>, usize) {
        if self.tokens.path_sep(at) {
            at += 1;
        }
        let mut names = Vec::new();
        while let Some(name) = self.tokens.name(at) {
            names.push(name.to_owned());
            at += 1;
            if !self.tokens.path_sep(at) || self.tokens.name(at + 1).is_none() {
                break;
            }
            at += 1;
        }
        (names, at)
    }

    fn inline_path(&mut self, at: usize) -> usize {
        let (path, end) = self.path(at);
        // After `Type::<T>::` or `<T as Trait>::` follows a name of that type, not of a module.
        let is_start = at < 2 || !(self.tokens.path_sep(at - 1) && self.tokens.punct(at - 2, '>'));
        if is_start && path.len() > 1 {
            self.push_use(at, path, Origin::Inline);
        }
        // `std::panic::catch_unwind` and `rc::Rc<..>`: the later names count as words, too.
        for later in at + 1..end {
            if let Some(name) = self.tokens.name(later) {
                let name = name.to_owned();
                self.note_words(later, &name);
            }
        }
        end.max(at + 1)
    }

    /// One tree of a `use` declaration; returns where it ends.
    fn use_tree(&mut self, mut at: usize, mut prefix: Vec<String>) -> usize {
        if self.tokens.path_sep(at) {
            at += 1;
        }
        if self.tokens.punct(at, '{') {
            at += 1;
            while at < self.tokens.len() && !self.tokens.punct(at, '}') {
                at = self.use_tree(at, prefix.clone());
                if self.tokens.punct(at, ',') {
                    at += 1;
                }
            }
            return at + 1;
        }
        if self.tokens.punct(at, '*') {
            prefix.push("*".to_owned());
            self.push_use(at, prefix, Origin::Declared(None));
            return at + 1;
        }
        let Some(name) = self.tokens.name(at) else {
            return at + 1;
        };
        if name != "self" || prefix.is_empty() {
            prefix.push(name.to_owned());
        }
        if !self.is_test[at] && name == "catch_unwind" {
            self.source.catches.push(self.tokens[at].line);
        }
        if self.tokens.path_sep(at + 1) {
            return self.use_tree(at + 2, prefix);
        }
        let (bound, end) = match (self.tokens.name(at + 1), self.tokens.name(at + 2)) {
            (Some("as"), Some(alias)) => (Some(alias.to_owned()), at + 3),
            _ => (prefix.last().cloned(), at + 1),
        };
        self.push_use(at, prefix, Origin::Declared(bound));
        end
    }

    fn push_use(&mut self, at: usize, path: Vec<String>, origin: Origin) {
        self.source.uses.push(Use {
            line: self.tokens[at].line,
            path: self.resolve(path),
            is_reexport: self.is_reexport && matches!(origin, Origin::Declared(_)),
            origin,
            is_test: self.is_test[at],
        });
    }

    /// `self::` and `super::` to `crate::`.
    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        let mut names = path.iter().map(String::as_str).peekable();
        let mut module = self.module.clone();
        match names.peek() {
            Some(&"self") => _ = names.next(),
            Some(&"super") => {}
            _ => return path,
        }
        while names.next_if_eq(&"super").is_some() {
            module.pop();
        }
        let rest = names.map(str::to_owned);
        ["crate".to_owned()].into_iter().chain(module).chain(rest).collect()
    }

    /// `use std::net; .. net::TcpStream`: the path after the imported name is a use, too. Scopes
    /// are ignored, except that imports of tests count only in tests.
    fn follow_imports(&mut self) {
        let imports: Vec<Use> = self.source.uses.clone();
        // Twice, for an import that refers to an import.
        for _ in 0..2 {
            let users = self.source.uses.iter();
            let followed: Vec<Use> = users
                .flat_map(|user| imports.iter().filter_map(|import| user.through(import)))
                .collect();
            self.source.uses.extend(followed);
        }
    }
}
