//! HTML: escaping text, and the script tag that loads the client.

use std::{borrow::Cow, fmt};

/// The version of the Datastar client that [`ScriptTag::CDN`] loads.
///
/// ```
/// use starwheel::datastar::{DATASTAR_VERSION, ScriptTag};
/// assert!(ScriptTag::CDN.to_string().contains(DATASTAR_VERSION));
/// ```
///
/// The browser tests ran with clients 1.0.1 and 1.0.2, not yet with this one; `docs/datastar.md` says
/// which client ran when.
pub const DATASTAR_VERSION: &str = "1.0.4";

/// Text, escaped for HTML: for use between tags and inside quoted attribute values.
///
/// ```
/// use starwheel::datastar::{EscapeHtml, PatchElements};
/// let name = "<script>alert('x')</script>";
/// let patch = PatchElements::new(format!("<b id=\"name\">{}</b>", EscapeHtml(name)));
/// assert_eq!(EscapeHtml("a<b & \"c\"").to_string(), "a&lt;b &amp; &quot;c&quot;");
/// ```
///
/// Escapes `&`, `<`, `>`, `"` and `'`, and also CR and LF, so that the text passes line-based
/// formats unchanged. It is not enough inside `<script>`, `<style>`, unquoted attributes, URLs, or
/// attributes whose value is code, such as `onclick` and `data-on:click`.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "it is built as `EscapeHtml(text)`")]
pub struct EscapeHtml<'a>(pub &'a str);

impl fmt::Display for EscapeHtml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plain_from = 0;
        for (at, special) in self.0.match_indices(['&', '<', '>', '"', '\'', '\r', '\n']) {
            f.write_str(&self.0[plain_from..at])?;
            f.write_str(match special {
                "&" => "&amp;",
                "<" => "&lt;",
                ">" => "&gt;",
                "\"" => "&quot;",
                "'" => "&#39;",
                "\r" => "&#13;",
                _ => "&#10;",
            })?;
            plain_from = at + special.len();
        }
        f.write_str(&self.0[plain_from..])
    }
}

/// The `<script>` tag that loads the Datastar client. Put it in the `<head>` of a page.
///
/// ```
/// use starwheel::datastar::ScriptTag;
/// let page = format!("<!doctype html><head>{}</head>", ScriptTag::CDN);
/// assert_eq!(
///     ScriptTag::CDN.to_string(),
///     "<script type=\"module\" src=\"https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.4/bundles/datastar.js\"></script>",
/// );
/// assert_eq!(
///     ScriptTag::hosted("/js/datastar.js?v=1&x").to_string(),
///     "<script type=\"module\" src=\"/js/datastar.js?v=1&amp;x\"></script>",
/// );
/// ```
#[derive(Debug, Clone)]
pub struct ScriptTag<'a>(Source<'a>);

impl<'a> ScriptTag<'a> {
    /// Loads version [`DATASTAR_VERSION`] from the public CDN jsDelivr.
    pub const CDN: Self = Self(Source::Cdn);

    /// Loads the client from your own server. `src` is any URL or path; it is escaped.
    ///
    /// Use the standard bundle. The aliased one uses `data-star-*` attributes: it does not see
    /// yours, and does not remove the scripts of [`ExecuteScript`](crate::datastar::ExecuteScript).
    #[must_use]
    pub fn hosted(src: impl Into<Cow<'a, str>>) -> Self {
        Self(Source::Hosted(src.into()))
    }
}

impl fmt::Display for ScriptTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<script type=\"module\" src=\"")?;
        match &self.0 {
            Source::Cdn => write!(f, "{CDN_PROJECT}@v{DATASTAR_VERSION}/bundles/datastar.js")?,
            Source::Hosted(src) => EscapeHtml(src).fmt(f)?,
        }
        f.write_str("\"></script>")
    }
}

#[derive(Debug, Clone)]
enum Source<'a> {
    Cdn,
    Hosted(Cow<'a, str>),
}

/// Writes ` name="value"`. The caller must provide a valid name.
pub(super) fn write_attribute(out: &mut impl fmt::Write, name: &str, value: &str) -> fmt::Result {
    write!(out, " {name}=\"{}\"", EscapeHtml(value))
}

const CDN_PROJECT: &str = "https://cdn.jsdelivr.net/gh/starfederation/datastar";
