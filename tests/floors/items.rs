//! The items of one file: its functions, structs and `impl` blocks, and where fields are written.

use std::ops::Range;

use crate::{
    source::Source,
    tokens::{Kind, Token, Tokens},
};

pub(crate) struct Items {
    pub(crate) functions: Vec<Function>,
    pub(crate) structs: Vec<Struct>,
    pub(crate) writes: Vec<Write>,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of `fn`, and that of the closing brace.
    pub(crate) lines: Range<usize>,
    pub(crate) is_visible: bool,
    /// The tokens up to the opening brace.
    pub(crate) signature: Range<usize>,
    /// The line of the opening brace.
    pub(crate) opening: usize,
    /// The tokens between the braces.
    pub(crate) body: Range<usize>,
    pub(crate) is_test: bool,
}

pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    /// The number of a field without a name.
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) visibility: Visibility,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Private,
    /// `pub(super)`, `pub(crate)` or `pub(in ..)`.
    Restricted,
    Public,
}

/// A field that is assigned to, or whose value `mem::take` and its like move out.
pub(crate) struct Write {
    pub(crate) line: usize,
    pub(crate) field: String,
    /// For a field of `self` itself: the type whose method this is.
    pub(crate) method_of: Option<String>,
}

impl Items {
    /// Test code is left out, except for functions.
    pub(crate) fn of(source: &Source) -> Self {
        let tokens = &source.tokens;
        let mut items = Self { functions: Vec::new(), structs: Vec::new(), writes: Vec::new() };
        let mut impls = Vec::new();
        for at in 0..tokens.len() {
            match tokens.name(at) {
                Some("fn") => items.functions.extend(function(tokens, at, source.is_test[at])),
                _ if source.is_test[at] => {}
                Some("struct") => items.structs.extend(structure(tokens, at)),
                Some("impl") => impls.extend(implementation(tokens, at)),
                Some(field) if is_written(tokens, at) => {
                    items.writes.push(write(tokens, at, field, &impls));
                }
                _ => {}
            }
        }
        items
    }
}

fn function(tokens: &[Token], at: usize, is_test: bool) -> Option<Function> {
    // Without a name it is the type of a pointer.
    let name = tokens.name(at + 1)?.to_owned();
    let open = body(tokens, at)?;
    let close = tokens.closing(open);
    let lines = tokens[at].line..tokens[close].line;
    // Before `fn` there may be `const`, `async`, `unsafe` and `extern "C"`.
    let is_qualifier = |token: &Token| {
        matches!(token.kind, Kind::Name(_) | Kind::Literal | Kind::Punct('(' | ')') | Kind::PathSep)
    };
    let before = tokens[..at].iter().rposition(|token| !is_qualifier(token)).map_or(0, |it| it + 1);
    Some(Function {
        name,
        lines,
        is_visible: tokens.name(before) == Some("pub"),
        signature: at..open,
        opening: tokens[open].line,
        body: open + 1..close,
        is_test,
    })
}

/// The brace that opens the body of what begins here; `None` if a `;` comes first.
fn body(tokens: &[Token], mut at: usize) -> Option<usize> {
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Punct('{') => return Some(at),
            Kind::Punct(';') => return None,
            Kind::Punct('(' | '[') => at = tokens.closing(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn structure(tokens: &[Token], at: usize) -> Option<Struct> {
    let name = tokens.name(at + 1)?.to_owned();
    let mut open = after_generics(tokens, at + 2);
    while !['{', '(', ';'].iter().any(|&punct| tokens.punct(open, punct)) {
        open += 1;
        tokens.get(open)?;
    }
    let fields = match tokens[open].kind {
        Kind::Punct(';') => Vec::new(),
        _ => fields(tokens, open),
    };
    Some(Struct { name, fields })
}

fn fields(tokens: &[Token], open: usize) -> Vec<Field> {
    let is_named = tokens.punct(open, '{');
    let end = tokens.closing(open);
    let mut fields = Vec::new();
    let mut at = open + 1;
    while at < end {
        while tokens.punct(at, '#') {
            at = tokens.closing(at + 1) + 1;
        }
        let visibility = match tokens.name(at) {
            Some("pub") if tokens.punct(at + 1, '(') => Visibility::Restricted,
            Some("pub") => Visibility::Public,
            _ => Visibility::Private,
        };
        let line = tokens.get(at).map_or(0, |token| token.line);
        at = match visibility {
            Visibility::Private => at,
            Visibility::Public => at + 1,
            Visibility::Restricted => tokens.closing(at + 1) + 1,
        };
        let name = match tokens.name(at).filter(|_| is_named) {
            Some(name) => name.to_owned(),
            None => fields.len().to_string(),
        };
        fields.push(Field { name, line, visibility });
        at = after_type(tokens, at, end) + 1;
    }
    fields
}

/// The comma after a field's type, or the end of the struct.
fn after_type(tokens: &[Token], mut at: usize, end: usize) -> usize {
    while at < end && !tokens.punct(at, ',') {
        at = match tokens[at].kind {
            Kind::Punct('(' | '[' | '{') => tokens.closing(at) + 1,
            Kind::Punct('<') => after_generics(tokens, at),
            _ => at + 1,
        };
    }
    at
}

/// The end of `<..>` that starts here; `at` if there is none.
fn after_generics(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Punct('<')) => depth += 1,
            // Of an arrow.
            Some(Kind::Punct('>')) if tokens.punct(at - 1, '-') => {}
            Some(Kind::Punct('>')) => depth -= 1,
            Some(_) => {}
            None => return at,
        }
        if depth == 0 {
            return if tokens.punct(at, '>') { at + 1 } else { at };
        }
        at += 1;
    }
}

/// The type of an `impl` block, and its tokens.
fn implementation(tokens: &[Token], at: usize) -> Option<(String, Range<usize>)> {
    let open = body(tokens, at)?;
    let mut at = after_generics(tokens, at + 1);
    let mut name = None;
    while at < open && tokens.name(at) != Some("where") {
        at = match tokens.name(at) {
            // What came before was the trait.
            Some("for") => at + 1,
            Some(part) => {
                name = Some(part.to_owned());
                after_generics(tokens, at + 1)
            }
            None => at + 1,
        };
    }
    Some((name?, open..tokens.closing(open)))
}

fn is_written(tokens: &[Token], at: usize) -> bool {
    // Not the end of a range, `..field`.
    let is_field = at > 1 && tokens.punct(at - 1, '.') && !tokens.punct(at - 2, '.');
    is_field && (is_assigned(tokens, at + 1) || is_moved_out(tokens, at))
}

/// `=` or `+=` and similar, but not `==`, `=>` and `<=`.
fn is_assigned(tokens: &[Token], mut at: usize) -> bool {
    let is_any = |at, puncts: &[char]| puncts.iter().any(|&punct| tokens.punct(at, punct));
    if is_any(at, &['<', '>']) {
        // Only as `<<=` and `>>=`.
        at += 1;
        if !is_any(at, &['<', '>']) {
            return false;
        }
        at += 1;
    } else if is_any(at, &['+', '-', '*', '/', '%', '&', '|', '^']) {
        at += 1;
    }
    tokens.punct(at, '=') && !is_any(at + 1, &['=', '>'])
}

/// `mem::take(&mut a.b.field)`, `replace` and `swap`.
fn is_moved_out(tokens: &[Token], at: usize) -> bool {
    if !tokens.punct(at + 1, ')') && !tokens.punct(at + 1, ',') {
        return false;
    }
    let is_part = |token: &Token| {
        matches!(token.kind, Kind::Punct('.' | '[' | ']') | Kind::Literal)
            || matches!(&token.kind, Kind::Name(name) if name != "mut")
    };
    let start = tokens[..at].iter().rposition(|token| !is_part(token)).unwrap_or(0);
    tokens.name(start) == Some("mut")
        && start > 2
        && tokens.punct(start - 1, '&')
        && tokens.punct(start - 2, '(')
        && matches!(tokens.name(start - 3), Some("take" | "replace" | "swap"))
}

fn write(tokens: &[Token], at: usize, field: &str, impls: &[(String, Range<usize>)]) -> Write {
    let is_of_self = tokens.name(at - 2) == Some("self") && !tokens.punct(at.wrapping_sub(3), '.');
    let around = impls.iter().rev().find(|(_, range)| range.contains(&at));
    Write {
        line: tokens[at].line,
        field: field.to_owned(),
        method_of: around.filter(|_| is_of_self).map(|(name, _)| name.clone()),
    }
}
