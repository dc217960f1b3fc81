//! JavaScript to run: a patch that appends a `<script>` to the body.

use std::{borrow::Cow, error::Error, fmt};

use memchr::memchr;

use super::{
    Envelope, PATCH_ELEMENTS, envelope_setters, header_values::json_object_value,
    html::write_attribute,
};
use crate::{
    http::Response,
    sse::{DataWriter, Encode, EventBuffer},
};

/// Runs JavaScript in the page.
///
/// The client appends a `<script>` with this text to the body; it runs once, and then removes
/// itself from the page unless [`keep`](Self::keep) is called.
///
/// ```
/// use starwheel::{datastar::ExecuteScript, EventBuffer};
/// let mut out = EventBuffer::new();
/// out.push(&ExecuteScript::new("console.log('hello')"));
/// assert_eq!(
///     out.as_bytes(),
///     b"event: datastar-patch-elements\n\
///       data: selector body\n\
///       data: mode append\n\
///       data: elements <script data-effect=\"el.remove()\">console.log('hello')</script>\n\n",
/// );
/// ```
///
/// # Escaping
///
/// The text may have any number of lines. Sequences that would end the script early, or that HTML
/// or the client would treat as markup, are rewritten such that JavaScript and JSON read the same
/// text from a string, a template or a regular expression: `</script`, `</body`, `</head` and
/// `</html` in any case as `<\/script` and so on, and `<!--` as `<\u0021--`. In operators (`a
/// </script/`), HTML-like comments and `String.raw` this changes the program; avoid them there.
///
/// Nothing else is escaped: insert untrusted values as JSON (`serde_json::to_string`), never
/// directly.
#[derive(Debug, Clone)]
#[must_use = "a script does nothing until it is sent or published"]
pub struct ExecuteScript<'a> {
    script: Cow<'a, str>,
    attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    after_run: AfterRun,
    envelope: Envelope<'a>,
}

impl<'a> ExecuteScript<'a> {
    /// Runs this text.
    pub fn new(script: impl Into<Cow<'a, str>>) -> Self {
        Self {
            script: script.into(),
            attributes: Vec::new(),
            after_run: AfterRun::Remove,
            envelope: Envelope::default(),
        }
    }

    /// Keeps the `<script>` in the page after it ran (`autoRemove: false` in the ADR).
    pub fn keep(mut self) -> Self {
        self.after_run = AfterRun::Keep;
        self
    }

    /// Adds an attribute to the `<script>`, such as `type` or `nonce`. Attributes keep their order;
    /// if one is set again (in any case), its last value counts. The value is escaped; an empty one
    /// turns on a boolean attribute such as `async`.
    ///
    /// Your own `data-effect` replaces the one that removes the script.
    ///
    /// ```
    /// # fn main() -> Result<(), starwheel::datastar::AttributeNameError> {
    /// use starwheel::datastar::ExecuteScript;
    /// let script = ExecuteScript::new("await 0").attribute("type", "module")?;
    /// assert!(ExecuteScript::new("0").attribute("a b", "").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AttributeNameError`] if the name is empty or contains characters that HTML does not allow:
    /// white space, control characters, noncharacters, `"`, `'`, `<`, `>`, `/`, `=`.
    pub fn attribute(
        mut self,
        name: impl Into<Cow<'a, str>>,
        value: impl Into<Cow<'a, str>>,
    ) -> Result<Self, AttributeNameError> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return Err(AttributeNameError::Empty);
        }
        if let Some(character) = name.chars().find(|&character| !is_name_character(character)) {
            return Err(AttributeNameError::Character(character));
        }
        match self.attributes.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((_, known_value)) => *known_value = value,
            None => self.attributes.push((name, value)),
        }
        Ok(self)
    }

    envelope_setters!('a);

    /// The script as a response that is not a stream: its text unchanged, its attributes in a
    /// header field.
    pub(super) fn into_response(self) -> Response {
        let attributes = self.attributes.iter().map(|(name, value)| (&**name, &**value));
        let effect = self.removes_itself().then_some(REMOVAL);
        let attributes = json_object_value(attributes.chain(effect));
        let response = Response::bytes("text/javascript; charset=utf-8", self.script.into_owned());
        match attributes.as_str() {
            "{}" => response,
            _ => response.with_header("datastar-script-attributes", attributes),
        }
    }

    fn removes_itself(&self) -> bool {
        let has_own_effect =
            || self.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("data-effect"));
        self.after_run == AfterRun::Remove && !has_own_effect()
    }

    fn write_element(&self, data: &mut DataWriter<'_>) -> fmt::Result {
        data.push_str("<script");
        for (name, value) in &self.attributes {
            write_attribute(data, name, value)?;
        }
        if self.removes_itself() {
            let (name, value) = REMOVAL;
            write_attribute(data, name, value)?;
        }
        data.push_str(">");
        write_script_text(data, &self.script);
        data.push_str("</script>");
        Ok(())
    }
}

impl Encode for ExecuteScript<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        self.envelope.encode(&PATCH_ELEMENTS, out);
        out.data_with_key("selector", "body");
        out.data_with_key("mode", "append");
        out.data_with(Some("elements"), |data| {
            // Writing to memory does not fail.
            let _ = self.write_element(data);
        });
    }
}

/// Why a text is not a valid attribute name.
///
/// ```
/// use starwheel::datastar::{AttributeNameError, ExecuteScript};
/// let error = ExecuteScript::new("0").attribute("", "module").unwrap_err();
/// assert!(matches!(error, AttributeNameError::Empty));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeNameError {
    /// The name is empty.
    Empty,
    /// The name contains this character.
    Character(char),
}

impl fmt::Display for AttributeNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an attribute needs a name"),
            Self::Character(character) => {
                write!(f, "an attribute name must not contain {character:?}")
            }
        }
    }
}

impl Error for AttributeNameError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterRun {
    Remove,
    Keep,
}

/// WHATWG HTML 13.1.2.3, without `<`, which is a parse error.
fn is_name_character(character: char) -> bool {
    let code = u32::from(character);
    let is_noncharacter = (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe;
    !character.is_control()
        && !is_noncharacter
        && !matches!(character, ' ' | '"' | '\'' | '<' | '>' | '/' | '=')
}

/// Writes a script so that no part of it ends the element or changes how HTML reads the rest.
///
/// The backslash goes after the `<`, not before it, because the `<` may follow a backslash of the
/// script. `<script` is harmless: it is special in HTML only after a `<!--`.
fn write_script_text(data: &mut DataWriter<'_>, script: &str) {
    let mut rest = script;
    while let Some(at) = memchr(b'<', rest.as_bytes()) {
        let (before, after) = rest.split_at(at + 1);
        data.push_str(before);
        rest = after;
        if rest.starts_with("!--") {
            data.push_str("\\u0021");
            rest = &rest[1..];
        } else if starts_end_tag(rest) {
            data.push_str("\\");
        }
    }
    data.push_str(rest);
}

/// `</script` ends the element. The other tags make the client parse the elements as a complete
/// document, wherever they occur.
fn starts_end_tag(after_less_than: &str) -> bool {
    let bytes = after_less_than.as_bytes();
    bytes.first() == Some(&b'/')
        && ["script", "body", "head", "html"].iter().any(|tag| {
            bytes.get(1..=tag.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag.as_bytes()))
        })
}

/// The attribute that makes the client remove the script from the page.
const REMOVAL: (&str, &str) = ("data-effect", "el.remove()");
