//! RFC 9110, section 12.5.3, by its own examples and by what browsers send.

use super::{Encoding::*, *};

const ALL: [Encoding; 4] = [Zstd, Brotli, Gzip, Identity];

/// Expectations are of a build with all codings; see `available`.
fn chosen(field: &str) -> Encoding {
    negotiate(Some(field), &ALL)
}

#[cfg(all(feature = "gzip", feature = "brotli"))]
#[test]
fn browsers_and_tools_get_the_best_they_offer() {
    assert_eq!(chosen("gzip, deflate, br, zstd"), Zstd, "Chromium, Firefox on https");
    assert_eq!(chosen("gzip, deflate"), Gzip, "Chromium, Firefox on plain http");
    assert_eq!(chosen("gzip, deflate, br"), Brotli, "Safari");
    assert_eq!(chosen("deflate, gzip, br, zstd"), Zstd, "curl --compressed");
    assert_eq!(chosen("gzip;q=1.0,deflate;q=0.6,identity;q=0.3"), Gzip, "Ruby");
}

#[cfg(feature = "gzip")]
#[test]
fn the_examples_of_the_rfc() {
    assert_eq!(chosen("compress, gzip"), Gzip);
    assert_eq!(chosen(""), Identity);
    assert_eq!(chosen("*"), Zstd);
    assert_eq!(chosen("compress;q=0.5, gzip;q=1.0"), Gzip);
    assert_eq!(chosen("gzip;q=1.0, identity; q=0.5, *;q=0"), Gzip);
}

#[test]
fn no_field_is_no_compression() {
    assert_eq!(negotiate(None, &ALL), Identity);
}

#[cfg(feature = "gzip")]
#[test]
fn the_highest_weight_wins_and_then_our_preference() {
    assert_eq!(chosen("zstd;q=0.5, gzip"), Gzip);
    assert_eq!(chosen("zstd;q=0.999, gzip;q=1.000"), Gzip);
    assert_eq!(chosen("gzip;q=0.5, zstd;q=0.5"), Zstd);
    assert_eq!(chosen("zstd;q=0, gzip;q=0.001"), Gzip);
    assert_eq!(negotiate(Some("zstd, gzip"), &[Gzip, Zstd, Identity]), Gzip);
}

#[test]
fn identity_has_the_lowest_weight_unless_the_client_gives_one() {
    assert_eq!(chosen("zstd;q=0.001"), Zstd);
    assert_eq!(chosen("zstd;q=0.5, identity"), Identity);
    assert_eq!(chosen("zstd;q=0.5, identity;q=0.5"), Zstd);
    assert_eq!(
        chosen("zstd;q=0.5, *"),
        if Encoding::BUILT_IN.len() > 2 { ALL[1] } else { Identity }
    );
}

#[test]
fn nothing_that_fits_is_identity() {
    assert_eq!(chosen("compress, x-unheard-of"), Identity);
    assert_eq!(chosen("zstd;q=0, br;q=0, gzip;q=0"), Identity);
    assert_eq!(chosen("identity;q=0"), Identity);
    assert_eq!(chosen("*;q=0"), Identity);
    assert_eq!(chosen("identity;q=0, zstd"), Zstd);
    assert_eq!(negotiate(Some("zstd"), &[]), Identity);
    assert_eq!(negotiate(Some("zstd"), &Compression::off().preference), Identity);
}

#[test]
fn codings_after_identity_are_for_clients_that_refuse_it() {
    let preference = [Identity, Zstd];
    assert_eq!(negotiate(Some("zstd"), &preference), Identity);
    assert_eq!(negotiate(Some("zstd, identity;q=0"), &preference), Zstd);
    assert_eq!(negotiate(Some("zstd, *;q=0"), &preference), Zstd);
}

#[test]
fn the_grammar_is_case_insensitive_and_bears_white_space() {
    assert_eq!(chosen("ZSTD"), Zstd);
    assert_eq!(chosen(" ,\t zstd \t;\tQ=0.5 ,, "), Zstd);
}

#[cfg(feature = "gzip")]
#[test]
fn x_gzip_is_gzip() {
    assert_eq!(chosen("x-gzip"), Gzip);
    assert_eq!(chosen("X-GZip;q=0, gzip"), Identity, "the first of two members counts");
}

#[test]
fn malformed_members_are_ignored() {
    for member in [
        "zstd;q",
        "zstd;q=",
        "zstd;q=2",
        "zstd;q=1.001",
        "zstd;q=-1",
        "zstd;q=+1",
        "zstd;q=.5",
        "zstd;q=0.1234",
        "zstd;q=0.5;q=1",
        "zstd; q = 1",
        "zstd;level=3",
        "zs td",
        "zstd/1",
        "z\u{e4}std",
        ";q=1",
        "zstd;\u{e4}",
        "zstd;q=\u{e4}",
    ] {
        assert_eq!(chosen(member), Identity, "{member}");
        assert_eq!(chosen(&format!("{member}, zstd;q=0.1")), Zstd, "{member}");
    }
    assert_eq!(chosen("zstd;q=0."), Identity, "a point without digits is well-formed");
    assert_eq!(chosen("zstd;q=1."), Zstd);
}

#[test]
fn a_coding_that_is_not_built_in_is_never_chosen() {
    for encoding in ALL {
        let chosen = negotiate(Some(encoding.as_str()), &[encoding, Identity]);
        assert_eq!(chosen == encoding, encoding.is_built_in());
    }
}
