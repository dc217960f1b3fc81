//! Accept-Encoding in all its forms against RFC 9110, section 12.5.3, written down a second time.
//!
//! The first byte orders the server's preference, each further one is a piece of the field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use starwheel::{Config, Context, Encoding, Method, Request, Sse, testing::Simulation};

const PIECES: &[&str] = &[
    "gzip", "GZip", "x-gzip", "br", "zstd", "identity", "*", "deflate", ",", ", ", ",,", ";",
    ";q=", "; q=", " ;Q=", "q=", "0", "1", ".", "0.5", "0.001", "0.0", "1.000", "1.001", "0.1234",
    " ", "\t", "=", "\"", "-", "a",
];
/// So that the request stays within its limits.
const FIELDS_MAX: usize = 50;
const FIELD_BYTES_MAX: usize = 8 * 1024;
const ALL: [Encoding; 4] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip, Encoding::Identity];

fuzz_target!(|input: &[u8]| {
    let [order, pieces @ ..] = input else { return };
    let preference = ordered(usize::from(*order));
    // A piece beyond the list starts another field of the same name.
    let fields: Vec<String> = pieces
        .split(|piece| usize::from(*piece) % (PIECES.len() + 1) == PIECES.len())
        .map(|field| field.iter().map(|it| PIECES[usize::from(*it) % (PIECES.len() + 1)]).collect())
        .collect();
    if fields.len() > FIELDS_MAX || fields.concat().len() > FIELD_BYTES_MAX {
        return;
    }
    let headers: Vec<_> = fields.iter().map(|field| ("Accept-Encoding", field.as_str())).collect();

    let mut config = Config::default();
    config.compression.preference = preference.clone();
    let handler = |_: &Request, _: &mut Context<'_>| Sse::new().send("hello");
    let mut simulation = Simulation::with_config(config, 0, handler);
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &headers, b"");
    simulation.turn();
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200);
    let chosen = answer.header("content-encoding").unwrap_or("identity");
    let expected = expected(&fields.join(","), &preference);
    assert_eq!(chosen, expected.as_str(), "{fields:?} with {preference:?}");
});

/// One of the 65 ordered choices of codings, the empty one excepted.
fn ordered(number: usize) -> Vec<Encoding> {
    let (count, mut number, mut left) = (1 + number % 4, number / 4, ALL.to_vec());
    let mut preference = Vec::new();
    for _ in 0..count {
        preference.push(left.remove(number % left.len()));
        number /= 2;
    }
    preference
}

fn expected(field: &str, preference: &[Encoding]) -> Encoding {
    let members: Vec<(String, u32)> = field.split(',').filter_map(member).collect();
    let weight = |encoding: Encoding| {
        let is_named = |name: &str| {
            name == encoding.as_str() || (encoding == Encoding::Gzip && name == "x-gzip")
        };
        let named = members.iter().find(|(name, _)| is_named(name));
        match named.or_else(|| members.iter().find(|(name, _)| name == "*")) {
            // Thousandths and a digit below them, for identity that was not mentioned.
            Some((_, thousandths)) => thousandths * 10,
            None => u32::from(encoding == Encoding::Identity),
        }
    };
    let mut candidates = preference.to_vec();
    if weight(Encoding::Identity) > 0
        && let Some(identity) = preference.iter().position(|it| *it == Encoding::Identity)
    {
        candidates.truncate(identity + 1);
    }
    let best = candidates.iter().map(|it| weight(*it)).max().unwrap_or(0);
    let first = candidates.into_iter().find(|it| best > 0 && weight(*it) == best);
    first.unwrap_or(Encoding::Identity)
}

/// A coding in lower case and its weight in thousandths; `None` when it is malformed.
fn member(text: &str) -> Option<(String, u32)> {
    let mut parts = text.splitn(2, ';').map(|part| part.trim_matches([' ', '\t']));
    let coding = parts.next().filter(|coding| !coding.is_empty())?.to_ascii_lowercase();
    if coding.contains([' ', '\t', '=', '"']) {
        return None;
    }
    let Some(weight) = parts.next() else { return Some((coding, 1000)) };
    let value = weight.to_ascii_lowercase();
    let value = value.strip_prefix("q=")?;
    let is_form = match value.as_bytes() {
        [b'0' | b'1'] => true,
        [b'0' | b'1', b'.', digits @ ..] => {
            digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    let number: f64 = if is_form { value.parse().ok()? } else { return None };
    (number <= 1.0).then_some((coding, (number * 1000.0).round() as u32))
}
