//! The page: one document, without a request to anywhere else.

use crate::http::Asset;

/// The page with its policy: nothing is loaded, and no script runs but its own.
pub(super) fn asset() -> Asset {
    let policy = format!(
        "default-src 'none'; style-src '{STYLE_HASH}'; script-src '{SCRIPT_HASH}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Asset::html(PAGE)
        .header("Content-Security-Policy", policy)
        .header("Referrer-Policy", "no-referrer")
        .header("X-Content-Type-Options", "nosniff")
        // The same address is the stream.
        .header("Vary", "Accept")
}

const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/style.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">",
    include_str!("page/figures.js"),
    include_str!("page/charts.js"),
    include_str!("page/page.js"),
    "</script>\n</html>\n",
);

/// Of the style sheet and the script; the tests say what they have to be.
const STYLE_HASH: &str = "sha256-hIIzwO9+yo/s5qI3Mh+y2jZUkrebCA33CrJzhj+fsqo=";
const SCRIPT_HASH: &str = "sha256-F/z8VrCrVJt+1TilYknk6QpCams8hn3svgZsWcABoag=";

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    /// The policy names them, so a wrong one leaves the page blank.
    #[test]
    fn hashes_are_those_of_the_page() {
        for (element, hash) in [("style", STYLE_HASH), ("script", SCRIPT_HASH)] {
            let begin = PAGE.find(&format!("<{element}")).unwrap();
            let begin = begin + PAGE[begin..].find('>').unwrap() + 1;
            let end = begin + PAGE[begin..].find(&format!("</{element}>")).unwrap();
            let digest = ring::digest::digest(&ring::digest::SHA256, &PAGE.as_bytes()[begin..end]);
            assert_eq!(hash, format!("sha256-{}", base64(digest.as_ref())), "of the {element}");
        }
        assert_eq!(PAGE.matches("<script").count() + PAGE.matches("<style").count(), 2);
    }

    fn base64(bytes: &[u8]) -> String {
        let digit = |bits: u32| {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            char::from(digits[bits as usize & 63])
        };
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let [a, b, c] = [0, 1, 2].map(|at| u32::from(three.get(at).copied().unwrap_or(0)));
            let bits = a << 16 | b << 8 | c;
            text.extend([18, 12, 6, 0].map(|shift| digit(bits >> shift)));
            text.truncate(text.len() - (3 - three.len()));
            text.extend(std::iter::repeat_n('=', 3 - three.len()));
        }
        text
    }
}
