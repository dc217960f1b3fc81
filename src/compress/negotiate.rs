use super::Encoding;

/// The coding of a response, from the request's `Accept-Encoding` (several fields joined with
/// commas) and our preference: RFC 9110, section 12.5.3.
///
/// The highest weight wins; among equals, our preference decides. A client that does not name
/// identity accepts it with the lowest weight. Entries after identity in `preference` count only if
/// the client refuses identity. Malformed members are ignored; of two members for one coding the
/// first counts. Without the field, and if nothing matches, the result is `Identity`: an unwanted
/// coding is better than no response.
///
/// Never returns a coding that is not built in. Allocates nothing.
pub(crate) fn negotiate(accept_encoding: Option<&str>, preference: &[Encoding]) -> Encoding {
    let Some(field) = accept_encoding else {
        return Encoding::Identity;
    };
    let is_identity_refused = weight(field, Encoding::Identity) == 0;
    let mut best = (0, Encoding::Identity);
    for &encoding in preference.iter().filter(|encoding| encoding.is_built_in()) {
        let weight = weight(field, encoding);
        if weight > best.0 {
            best = (weight, encoding);
        }
        if encoding == Encoding::Identity && !is_identity_refused {
            break;
        }
    }
    best.1
}

/// In units of this crate: twice the thousandths, so that identity without a weight fits between
/// refusal and the smallest weight.
fn weight(field: &str, encoding: Encoding) -> u16 {
    let members = || field.split(',').filter_map(member);
    let named = members().find(|(coding, _)| names(coding, encoding));
    let found = named.or_else(|| members().find(|(coding, _)| *coding == "*"));
    match found {
        Some((_, thousandths)) => thousandths * 2,
        None => u16::from(encoding == Encoding::Identity),
    }
}

fn names(coding: &str, encoding: Encoding) -> bool {
    coding.eq_ignore_ascii_case(encoding.as_str())
        || (encoding == Encoding::Gzip && coding.eq_ignore_ascii_case("x-gzip"))
}

/// `codings [ OWS ";" OWS "q=" qvalue ]` into the coding and thousandths.
fn member(text: &str) -> Option<(&str, u16)> {
    let Some((coding, weight)) = text.split_once(';') else {
        let coding = text.trim_matches(OWS);
        return is_token(coding).then_some((coding, 1000));
    };
    let (coding, weight) = (coding.trim_matches(OWS), weight.trim_matches(OWS));
    let (name, value) = weight.split_at_checked(2)?;
    if !is_token(coding) || !name.eq_ignore_ascii_case("q=") {
        return None;
    }
    Some((coding, thousandths(value)?))
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn thousandths(qvalue: &str) -> Option<u16> {
    let (whole, digits) = qvalue.split_once('.').unwrap_or((qvalue, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction(digits);
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// Up to three digits after the point as thousandths.
fn fraction(digits: &str) -> u16 {
    [100, 10, 1]
        .iter()
        .zip(digits.bytes())
        .map(|(unit, digit)| unit * u16::from(digit - b'0'))
        .sum()
}

fn is_token(coding: &str) -> bool {
    !coding.is_empty()
        && coding
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Optional white space (RFC 9110, section 5.6.3).
const OWS: [char; 2] = [' ', '\t'];
