//! A second reader of requests, written from RFC 9112 for comparison alone: whole input, line by
//! line, slow, and without pity for anything that two parsers could take differently.

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names as sent, values without the white space around them.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// Why the reader stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The rest is nothing, or a request that is not whole.
    NeedsMore,
    /// The rest is no request, or one that two parsers may take differently.
    Doubtful,
    /// The connection ends after the last request.
    Close,
}

/// All requests at the front of `bytes`.
pub fn requests(mut bytes: &[u8]) -> (Vec<Seen>, Stop) {
    let mut all = Vec::new();
    loop {
        match request(&mut bytes) {
            Ok((seen, After::KeepAlive)) => all.push(seen),
            Ok((seen, After::Close)) => {
                all.push(seen);
                return (all, Stop::Close);
            }
            Err(stop) => return (all, stop),
        }
    }
}

/// A chunked body at the front of `bytes`, and what follows it.
pub fn chunked(mut bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Stop> {
    let mut body = Vec::new();
    loop {
        let size_line = line(&mut bytes)?;
        let digits = size_line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = size_line.split_at(digits);
        if digits.is_empty() || digits.len() > 16 || !are_extensions(extension) {
            return Err(Stop::Doubtful);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| Stop::Doubtful)?;
        let size = u64::from_str_radix(digits, 16).map_err(|_| Stop::Doubtful)?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|_| Stop::NeedsMore)?;
        if bytes.len() < size {
            return Err(Stop::NeedsMore);
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size..];
        if !b"\r\n".starts_with(&bytes[..bytes.len().min(2)]) {
            return Err(Stop::Doubtful);
        }
        if bytes.len() < 2 {
            return Err(Stop::NeedsMore);
        }
        bytes = &bytes[2..];
    }
    loop {
        let trailer = line(&mut bytes)?;
        if trailer.is_empty() {
            return Ok((body, bytes));
        }
        field(trailer)?;
    }
}

enum After {
    KeepAlive,
    Close,
}

fn request(bytes: &mut &[u8]) -> Result<(Seen, After), Stop> {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        *bytes = rest;
    }
    // Lines are judged when the head is whole, line ends at once.
    let mut lines = *bytes;
    while !line(&mut lines)?.is_empty() {}
    let request_line = line(bytes)?;
    let words: Vec<&[u8]> = request_line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Stop::Doubtful) };
    let is_http_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Stop::Doubtful),
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Stop::Doubtful);
    }
    let mut fields = Vec::new();
    loop {
        let field_line = line(bytes)?;
        if field_line.is_empty() {
            break;
        }
        fields.push(field(field_line)?);
    }
    let values = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    };
    let hosts = values("host").len();
    if hosts > 1 || (is_http_1_1 && hosts == 0) {
        return Err(Stop::Doubtful);
    }
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Vec::new(),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
            let length = length.unwrap_or(usize::MAX);
            if bytes.len() < length {
                return Err(Stop::NeedsMore);
            }
            let (body, rest) = bytes.split_at(length);
            *bytes = rest;
            body.to_vec()
        }
        ([], [coding]) if is_http_1_1 && coding.eq_ignore_ascii_case(b"chunked") => {
            let (body, rest) = chunked(bytes)?;
            *bytes = rest;
            body
        }
        _ => return Err(Stop::Doubtful),
    };
    let options = values("connection").join(&b","[..]).to_ascii_lowercase();
    let has = |option: &[u8]| options.split(|byte| *byte == b',').any(|it| trimmed(it) == option);
    let keeps = if is_http_1_1 { !has(b"close") } else { has(b"keep-alive") && !has(b"close") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let seen = Seen { method: text(method), target: text(target), fields, body };
    Ok((seen, if keeps { After::KeepAlive } else { After::Close }))
}

/// Takes a line and its CR LF. A CR or LF anywhere else is a doubt.
fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let end = end.ok_or(Stop::NeedsMore)?;
    match bytes[end..] {
        [b'\r'] => Err(Stop::NeedsMore),
        [b'\r', b'\n', ..] => {
            let line = &bytes[..end];
            *bytes = &bytes[end + 2..];
            Ok(line)
        }
        _ => Err(Stop::Doubtful),
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, RFC 9112 section 7.1.1.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = blank(rest).strip_prefix(b";") else { return false };
        let Some(after_name) = after_token(blank(after)) else { return false };
        rest = after_name;
        if let Some(value) = blank(rest).strip_prefix(b"=").map(blank) {
            let Some(after_value) = after_quoted(value).or_else(|| after_token(value)) else {
                return false;
            };
            rest = after_value;
        }
    }
    true
}

fn blank(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    &bytes[end.unwrap_or(bytes.len())..]
}

fn after_token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| !is_token(&[*byte])).unwrap_or(bytes.len());
    (end > 0).then(|| &bytes[end..])
}

fn after_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut bytes = bytes.strip_prefix(b"\"")?;
    loop {
        bytes = match bytes {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(&[*escaped]) => rest,
            [plain, rest @ ..] if *plain != b'\\' && is_text(&[*plain]) => rest,
            _ => return None,
        };
    }
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), Stop> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Stop::Doubtful)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) || !is_text(value) {
        return Err(Stop::Doubtful);
    }
    Ok((String::from_utf8_lossy(name).into_owned(), trimmed(value).to_vec()))
}

fn is_token(bytes: &[u8]) -> bool {
    let is_mark = |byte| b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}
