//! Parses the head of a request: its request line, its fields, and the framing of its body.
//!
//! It knows no body bytes. httparse checks the syntax. The rules that keep two parsers on one
//! connection from disagreeing (RFC 9112 section 11.2, request smuggling) are here.

use std::mem::MaybeUninit;

use httparse::Status;

#[cfg(feature = "http")]
use super::target::is_authority;
use super::{
    Method, Refusal, Version,
    fields::{is_token, list_members, trim},
    target::{Path, Target, is_host},
};

/// One complete head: its bytes, and positions in them.
#[derive(Debug, Clone)]
pub(super) struct Head {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    pub(super) method: Method,
    pub(super) version: Version,
    target: Span,
    query: Option<Span>,
    host: Span,
}

/// A request line that another server has parsed.
#[cfg(feature = "http")]
pub(super) struct Line<'a> {
    pub(super) method: Method,
    pub(super) version: Version,
    /// In origin-form or asterisk-form.
    pub(super) target: &'a str,
    /// The one that takes precedence over the Host field, as in `Target`.
    pub(super) authority: Option<&'a str>,
}

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Exactly this many bytes, often none.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

/// Whether the client waits for `100 Continue` before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expectation {
    None,
    Continue,
}

impl Head {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            fields: Vec::new(),
            method: Method::Get,
            version: Version::Http11,
            target: Span::EMPTY,
            query: None,
            host: Span::EMPTY,
        }
    }

    pub(super) fn clear(&mut self, capacity_bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(capacity_bytes_max);
        self.fields.clear();
        self.fields.shrink_to(capacity_bytes_max / size_of::<Field>());
        self.method = Method::Get;
        self.version = Version::Http11;
        (self.target, self.query, self.host) = (Span::EMPTY, None, Span::EMPTY);
    }

    /// Bytes allocated for the text.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Copies `bytes`, one complete head with `field_count` fields, and parses it.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        field_count: usize,
        path: &mut Path,
    ) -> Result<(Framing, Expectation), Refusal> {
        self.bytes.clear();
        self.fields.clear();
        self.bytes.extend_from_slice(bytes);
        let bytes = &self.bytes[..];

        // Left uninitialized: filling it would write 4 KB for each request.
        let mut few = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        let mut many = Vec::new();
        let room = if let Some(few) = few.get_mut(..field_count) {
            few
        } else {
            many.resize(field_count, MaybeUninit::uninit());
            &mut many[..]
        };
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, room) {
            Ok(Status::Complete(end)) if end == bytes.len() => {}
            Ok(_) => return Err(Refusal::REQUEST_LINE),
            Err(error) => return Err(why(error, bytes)),
        }
        self.version = match parsed.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        self.method = parsed.method.and_then(Method::from_name).ok_or(Refusal::METHOD)?;
        let text = parsed.path.ok_or(Refusal::REQUEST_LINE)?;
        let target = Target::split(text, self.method)?;
        path.decode(target.path)?;
        self.target = Span::of(text.as_bytes(), bytes);
        self.query = target.query.map(|query| Span::of(query.as_bytes(), bytes));
        self.fields.extend(parsed.headers.iter().map(|field| Field {
            name: Span::of(field.name.as_bytes(), bytes),
            value: Span::of(field.value, bytes),
        }));

        let mut rules = Rules::default();
        for field in parsed.headers.iter() {
            rules.note(field.name, field.value)?;
        }
        let host = rules.host(self.version)?;
        // The authority of an absolute-form target takes precedence over Host (RFC 9112 section
        // 3.2.2), which must still be present and valid.
        let host = target.authority.map_or(host, str::as_bytes);
        self.host = Span::of(host, bytes);
        Ok((rules.framing(self.version)?, rules.expectation(self.version)))
    }

    /// A head that another server has parsed. What its parser has validated is not checked again:
    /// names are tokens, and values contain no control characters.
    #[cfg(feature = "http")]
    pub(super) fn assemble<'a>(
        line: Line<'_>,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        path: &mut Path,
    ) -> Result<Self, Refusal> {
        let target = Target::split(line.target, line.method)?;
        path.decode(target.path)?;
        let mut head = Self { method: line.method, version: line.version, ..Self::new() };
        head.target = head.append(line.target.as_bytes())?;
        let end = head.target.end;
        head.query = target.query.map(|query| Span { start: end - query.len() as u32, end });
        for (name, value) in fields {
            head.append_field(name, value)?;
        }
        head.host = head.append(&head.sent_host()?)?;
        if let Some(authority) = line.authority {
            if !is_authority(authority) {
                return Err(Refusal::HOST_INVALID);
            }
            // HTTP/2 sends no Host field, but handlers look for one.
            if head.values("host").next().is_none() {
                head.append_field("host", authority.as_bytes())?;
            }
            head.host = head.append(authority.as_bytes())?;
        }
        Ok(head)
    }

    /// The value of the Host field, or nothing.
    #[cfg(feature = "http")]
    fn sent_host(&self) -> Result<Vec<u8>, Refusal> {
        let mut hosts = self.values("host");
        let host = hosts.next().unwrap_or_default();
        if hosts.next().is_some() {
            return Err(Refusal::HOST_REPEATED);
        }
        if is_host(host) { Ok(host.to_vec()) } else { Err(Refusal::HOST_INVALID) }
    }

    #[cfg(feature = "hyper")]
    pub(super) fn restore(&mut self, method: Method, version: Version) {
        self.method = method;
        self.version = version;
    }

    #[cfg(feature = "http")]
    fn append_field(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        let field = Field { name: self.append(name.as_bytes())?, value: self.append(value)? };
        self.fields.push(field);
        Ok(())
    }

    #[cfg(feature = "http")]
    fn append(&mut self, text: &[u8]) -> Result<Span, Refusal> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span::between(start, self.bytes.len())
    }

    pub(super) fn target(&self) -> &str {
        self.text(self.target)
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.query.map(|span| self.text(span))
    }

    pub(super) fn host(&self) -> &str {
        self.text(self.host)
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (self.text(field.name), self.slice(field.value)))
    }

    /// All values of one field; names are case-insensitive.
    pub(super) fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        let is_named =
            move |field: &&Field| self.slice(field.name).eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_named).map(|field| self.slice(field.value))
    }

    /// Whether the Connection field, a list of tokens, contains `option`.
    pub(super) fn has_connection_option(&self, option: &str) -> bool {
        let mut members = self.values("connection").flat_map(list_members);
        members.any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Names, targets and hosts have been checked to be ASCII, so nothing is lost here.
    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
}

/// A range of the head's bytes; the scan has limited them to 32 bits.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const EMPTY: Self = Self { start: 0, end: 0 };

    #[cfg(feature = "http")]
    fn between(start: usize, end: usize) -> Result<Self, Refusal> {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Ok(Self { start, end }),
            _ => Err(Refusal::HEAD_LENGTH),
        }
    }

    /// The position of `part` in `whole`; the empty span if it is not inside.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let end = start.wrapping_add(part.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) if end as usize <= whole.len() => Self { start, end },
            _ => Self::EMPTY,
        }
    }
}

/// The fields that affect framing, collected in one pass.
#[derive(Default)]
struct Rules<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    has_two_codings: bool,
}

impl<'a> Rules<'a> {
    fn note(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case("host") {
            if self.host.replace(value).is_some() {
                return Err(Refusal::HOST_REPEATED);
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            // Two equal ones may be treated as one (RFC 9112 section 6.3), but a sender that
            // repeats itself there is still suspicious.
            if self.length.replace(value).is_some() {
                return Err(Refusal::LENGTH_REPEATED);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.has_two_codings |= self.coding.replace(value).is_some();
        } else if name.eq_ignore_ascii_case("expect") {
            let is_known = value.eq_ignore_ascii_case(b"100-continue") && self.expect.is_none();
            if !is_known {
                return Err(Refusal::EXPECTATION);
            }
            self.expect = Some(value);
        } else if name.eq_ignore_ascii_case("content-encoding") {
            let mut codings = list_members(value);
            if !codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
                return Err(Refusal::CONTENT_CODING);
            }
        }
        Ok(())
    }

    fn host(&self, version: Version) -> Result<&'a [u8], Refusal> {
        match self.host {
            Some(host) if is_host(host) => Ok(host),
            Some(_) => Err(Refusal::HOST_INVALID),
            None if version == Version::Http10 => Ok(b""),
            None => Err(Refusal::HOST_MISSING),
        }
    }

    /// RFC 9112 section 6.3, with every doubt refused.
    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(Refusal::LENGTH_AND_CODING),
            (None, None) => Ok(Framing::Length(0)),
            (Some(length), None) => content_length(length),
            (None, Some(_)) if version == Version::Http10 => Err(Refusal::CODING_HTTP10),
            (None, Some(_)) if self.has_two_codings => Err(Refusal::CODING_INVALID),
            (None, Some(coding)) => transfer_coding(coding),
        }
    }

    fn expectation(&self, version: Version) -> Expectation {
        // An HTTP/1.0 client does not understand 100 Continue (RFC 9110 section 10.1.1).
        match (self.expect, version) {
            (Some(_), Version::Http11) => Expectation::Continue,
            _ => Expectation::None,
        }
    }
}

fn content_length(value: &[u8]) -> Result<Framing, Refusal> {
    if memchr::memchr(b',', value).is_some() {
        return Err(Refusal::LENGTH_REPEATED);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::LENGTH_INVALID);
    }
    // A number above 64 bits is above every limit; its digits have already been checked.
    let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    Ok(Framing::Length(length.unwrap_or(u64::MAX)))
}

fn transfer_coding(value: &[u8]) -> Result<Framing, Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let mut knows_all = true;
    for member in value.split(|&byte| byte == b',').map(trim) {
        let name_end = memchr::memchr(b';', member).unwrap_or(member.len());
        let name = trim(&member[..name_end]);
        if !is_token(name) {
            return Err(Refusal::CODING_INVALID);
        }
        knows_all &= name.eq_ignore_ascii_case(b"chunked");
    }
    Err(if knows_all { Refusal::CODING_INVALID } else { Refusal::CODING_UNKNOWN })
}

/// The refusal for a syntax error. The scan has already checked line ends and the number of fields.
fn why(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::FIELD_NAME,
        httparse::Error::HeaderValue => Refusal::FIELD_VALUE,
        httparse::Error::TooManyHeaders => Refusal::FIELD_COUNT,
        httparse::Error::Version if names_a_version(head) => Refusal::VERSION,
        _ => Refusal::REQUEST_LINE,
    }
}

/// Whether the request line is three words, the last of which is `HTTP/digit.digit`; anything else
/// is not HTTP.
fn names_a_version(head: &[u8]) -> bool {
    let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let mut words = head[..line_end].split(|&byte| byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some(&[b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// A head with more fields than this costs one allocation; 32 bytes each.
const FIELDS_ON_STACK: usize = 128;
