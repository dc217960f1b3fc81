//! Rust text to tokens. Comments (including nested ones and doc comments) and lifetimes are
//! omitted, and literals keep only their place, so that quoted text is never treated as code.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword; `r#name` is `name`.
    Name(String),
    /// `::`
    PathSep,
    Punct(char),
    Literal,
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1 };
    std::iter::from_fn(|| lexer.token()).collect()
}

/// Safe lookups in tokens; past their end there is nothing.
pub(crate) trait Tokens {
    fn name(&self, at: usize) -> Option<&str>;
    fn punct(&self, at: usize, punct: char) -> bool;
    fn path_sep(&self, at: usize) -> bool;
    /// The end of the bracket that opens here; the last token if it is not closed.
    fn closing(&self, at: usize) -> usize;
}

impl Tokens for [Token] {
    fn name(&self, at: usize) -> Option<&str> {
        match &self.get(at)?.kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    fn punct(&self, at: usize, punct: char) -> bool {
        self.get(at).is_some_and(|token| token.kind == Kind::Punct(punct))
    }

    fn path_sep(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| token.kind == Kind::PathSep)
    }

    fn closing(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (place, token) in self.iter().enumerate().skip(at) {
            match token.kind {
                Kind::Punct('(' | '[' | '{') => depth += 1,
                Kind::Punct(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return place;
            }
        }
        self.len().saturating_sub(1)
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn token(&mut self) -> Option<Token> {
        loop {
            let line = self.line;
            let kind = match (self.peek(0)?, self.peek(1)) {
                ('/', Some('/')) => {
                    self.skip_while(|c| c != '\n');
                    continue;
                }
                ('/', Some('*')) => {
                    self.skip_block_comment();
                    continue;
                }
                ('"', _) => self.string(),
                ('\'', _) => match self.char_or_lifetime() {
                    Some(kind) => kind,
                    None => continue,
                },
                (':', Some(':')) => {
                    self.skip(2);
                    Kind::PathSep
                }
                (c, _) if c.is_whitespace() => {
                    self.skip(1);
                    continue;
                }
                (c, _) if c.is_ascii_digit() => {
                    self.skip_while(is_name_char);
                    Kind::Literal
                }
                (c, _) if is_name_char(c) => self.name_or_prefixed_literal(),
                (c, _) => {
                    self.skip(1);
                    Kind::Punct(c)
                }
            };
            return Some(Token { line, kind });
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        let end = (self.at + count).min(self.chars.len());
        self.line += self.chars[self.at..end].iter().filter(|c| **c == '\n').count();
        self.at = end;
    }

    fn skip_while(&mut self, keep_on: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep_on) {
            self.skip(1);
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.skip(1),
            }
        }
    }

    fn string(&mut self) -> Kind {
        self.skip(1);
        self.skip_escaped_until('"');
        Kind::Literal
    }

    fn skip_escaped_until(&mut self, end: char) {
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == end {
                return;
            }
        }
    }

    /// `None` for a lifetime or label.
    fn char_or_lifetime(&mut self) -> Option<Kind> {
        self.skip(1);
        if self.peek(0) == Some('\\') || self.peek(1) == Some('\'') {
            self.skip_escaped_until('\'');
            return Some(Kind::Literal);
        }
        self.skip_while(is_name_char);
        None
    }

    fn name_or_prefixed_literal(&mut self) -> Kind {
        let start = self.at;
        self.skip_while(is_name_char);
        let name: String = self.chars[start..self.at].iter().collect();
        let hashes = (0..).take_while(|&n| self.peek(n) == Some('#')).count();
        let is_raw = matches!(name.as_str(), "r" | "br" | "cr");
        match name.as_str() {
            _ if is_raw && self.peek(hashes) == Some('"') => self.raw_string(hashes),
            "b" | "c" if self.peek(0) == Some('"') => self.string(),
            "b" if self.peek(0) == Some('\'') => {
                self.skip(1);
                self.skip_escaped_until('\'');
                Kind::Literal
            }
            "r" if hashes == 1 && self.peek(1).is_some_and(is_name_char) => {
                self.skip(1);
                self.name_or_prefixed_literal()
            }
            _ => Kind::Name(name),
        }
    }

    fn raw_string(&mut self, hashes: usize) -> Kind {
        self.skip(hashes + 1);
        while let Some(c) = self.peek(0) {
            self.skip(1);
            if c == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                self.skip(hashes);
                break;
            }
        }
        Kind::Literal
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
