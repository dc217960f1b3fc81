//! Datastar events byte by byte: every option, every default, in the order of the ADR.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};
use starwheel::{
    BoxError, Encode, Event, EventError,
    datastar::{
        AttributeNameError, ExecuteScript, Namespace, PatchElements, PatchMode, PatchSignals,
        PatchSignalsError, ScriptTag,
    },
};

#[path = "support/datastar_client.rs"]
mod datastar_client;

use datastar_client::{ALL_MODES, AtClient, bytes_of};

#[track_caller]
fn assert_patches_elements(event: impl Encode, lines: &[&str]) {
    assert_encodes(event, "datastar-patch-elements", lines);
}

#[track_caller]
fn assert_patches_signals(event: impl Encode, lines: &[&str]) {
    assert_encodes(event, "datastar-patch-signals", lines);
}

#[track_caller]
fn assert_encodes(event: impl Encode, name: &str, lines: &[&str]) {
    let expected = format!("event: {name}\n{}\n\n", lines.join("\n"));
    assert_eq!(String::from_utf8(bytes_of(&event)).unwrap(), expected);
}

#[test]
fn defaults_are_left_out() -> Result<(), BoxError> {
    assert_patches_elements(PatchElements::new("<p>"), &["data: elements <p>"]);
    assert_patches_elements(
        PatchElements::new("<p>").namespace(Namespace::Html).retry(Duration::from_secs(1)),
        &["data: elements <p>"],
    );
    assert_patches_elements(
        PatchElements::new("<p>").selector("p").mode(PatchMode::Outer),
        &["data: selector p", "data: elements <p>"],
    );
    assert_patches_signals(PatchSignals::new(&json!({"a": 1}))?, &[r#"data: signals {"a":1}"#]);
    Ok(())
}

#[test]
fn elements_with_every_option_in_the_order_of_the_adr() -> Result<(), BoxError> {
    let patch = PatchElements::new(String::from("<g>\n</g>"))
        .namespace(Namespace::Svg)
        .view_transition_selector("#main")
        .retry(Duration::from_secs(2))
        .id("event1")?
        .selector("svg > g")
        .mode(PatchMode::After);
    assert_patches_elements(
        &patch,
        &[
            "id: event1",
            "retry: 2000",
            "data: selector svg > g",
            "data: mode after",
            "data: useViewTransition true",
            "data: viewTransitionSelector #main",
            "data: namespace svg",
            "data: elements <g>",
            "data: elements </g>",
        ],
    );
    Ok(())
}

#[test]
fn every_mode_and_namespace_has_its_name() {
    for (mode, name) in ALL_MODES {
        let patch = PatchElements::new("x").selector("#a").mode(mode);
        let at_client = AtClient::of(&patch);
        let expected = (mode != PatchMode::Outer).then_some(name);
        assert_eq!(at_client.arguments.get("mode").map(String::as_str), expected);
    }
    assert_patches_elements(
        PatchElements::new("<mi>x</mi>").namespace(Namespace::MathMl),
        &["data: namespace mathml", "data: elements <mi>x</mi>"],
    );
}

#[test]
fn replacing_needs_no_selector() {
    assert_patches_elements(
        PatchElements::new("<p>").replace(),
        &["data: mode replace", "data: elements <p>"],
    );
    assert_patches_elements(
        PatchElements::new("<p>").replace().selector("p"),
        &["data: selector p", "data: mode replace", "data: elements <p>"],
    );
}

#[test]
fn removing_needs_no_elements() -> Result<(), BoxError> {
    assert_patches_elements(
        PatchElements::remove("#target"),
        &["data: selector #target", "data: mode remove"],
    );
    assert_patches_elements(
        PatchElements::remove("#target")
            .use_view_transition()
            .id("event1")?
            .retry(Duration::from_secs(2)),
        &[
            "id: event1",
            "retry: 2000",
            "data: selector #target",
            "data: mode remove",
            "data: useViewTransition true",
        ],
    );
    Ok(())
}

#[test]
fn view_transitions_of_the_document_and_of_an_element() {
    let patch = PatchElements::new("<p>");
    assert_patches_elements(
        patch.clone().use_view_transition(),
        &["data: useViewTransition true", "data: elements <p>"],
    );
    assert_patches_elements(
        patch.view_transition_selector("#a\r\n.b").use_view_transition(),
        &[
            "data: useViewTransition true",
            "data: viewTransitionSelector #a  .b",
            "data: elements <p>",
        ],
    );
}

#[test]
fn empty_lines_of_elements_keep_their_key_and_its_space() {
    assert_patches_elements(
        PatchElements::new("<pre>\n\r\n x \r</pre>\n"),
        &[
            "data: elements <pre>",
            "data: elements ",
            "data: elements  x ",
            "data: elements </pre>",
            "data: elements ",
        ],
    );
}

#[test]
fn empty_elements_are_left_out_where_the_event_has_other_data() {
    assert_patches_elements(PatchElements::new(""), &["data: elements "]);
    assert_patches_elements(
        PatchElements::new(format_args!("{}", "")).selector("#a").mode(PatchMode::Inner),
        &["data: selector #a", "data: mode inner"],
    );
}

#[test]
fn elements_are_formatted_straight_into_the_event() {
    struct Rows(u32);
    impl fmt::Display for Rows {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..self.0).try_for_each(|row| write!(f, "<li>{row}</li>\n\r"))
        }
    }
    assert_patches_elements(
        PatchElements::new(Rows(2)),
        &[
            "data: elements <li>0</li>",
            "data: elements ",
            "data: elements <li>1</li>",
            "data: elements ",
            "data: elements ",
        ],
    );
    assert_patches_elements(
        PatchElements::new(format_args!("<b>{}</b>", 7)),
        &["data: elements <b>7</b>"],
    );
}

#[test]
fn ids_that_clients_cannot_send_back_are_refused_by_every_builder() -> Result<(), BoxError> {
    for (id, error) in [
        ("a\nb", EventError::IdHasNewline),
        ("a\r", EventError::IdHasNewline),
        ("\0", EventError::IdHasNul),
        ("\u{1}", EventError::IdHasControl),
        ("a ", EventError::IdHasOuterSpace),
        ("7 €", EventError::IdIsNotAscii),
    ] {
        assert_eq!(PatchElements::new("").id(id).unwrap_err(), error);
        assert_eq!(PatchElements::remove("a").id(id).unwrap_err(), error);
        assert_eq!(PatchSignals::json("{}")?.id(id).unwrap_err(), error);
        assert_eq!(ExecuteScript::new("").id(id).unwrap_err(), error);
    }
    assert_patches_elements(
        PatchElements::remove("a").id("")?,
        &["id: ", "data: selector a", "data: mode remove"],
    );
    Ok(())
}

#[test]
fn a_retry_of_zero_is_a_millisecond_and_one_of_a_second_is_left_out() -> Result<(), BoxError> {
    let signals = PatchSignals::json("{}")?;
    for (delay, line) in [
        (Duration::ZERO, Some("retry: 1")),
        (Duration::from_millis(999), Some("retry: 999")),
        (Duration::from_millis(1000), None),
        (Duration::from_millis(1001), Some("retry: 1001")),
    ] {
        let lines: Vec<_> = line.into_iter().chain(["data: signals {}"]).collect();
        assert_patches_signals(signals.clone().retry(delay), &lines);
    }
    Ok(())
}

#[test]
fn signals_with_every_option_in_the_order_of_the_adr() -> Result<(), BoxError> {
    assert_patches_signals(
        PatchSignals::new(&json!({"one": 1, "two": 2}))?
            .only_if_missing()
            .retry(Duration::from_secs(2))
            .id("event1")?,
        &[
            "id: event1",
            "retry: 2000",
            "data: onlyIfMissing true",
            r#"data: signals {"one":1,"two":2}"#,
        ],
    );
    Ok(())
}

#[test]
fn signals_of_several_lines_and_with_newlines_in_values() -> Result<(), BoxError> {
    assert_patches_signals(
        PatchSignals::json("{\n\"one\": \"first signal\",\r\n\"two\":  \r\"second signal\"}")?,
        &[
            "data: signals {",
            r#"data: signals "one": "first signal","#,
            r#"data: signals "two":  "#,
            r#"data: signals "second signal"}"#,
        ],
    );
    assert_patches_signals(
        PatchSignals::new(&json!({"one": "first\n signal"}))?,
        &[r#"data: signals {"one":"first\n signal"}"#],
    );
    Ok(())
}

#[test]
fn signals_by_name_nest() -> Result<(), BoxError> {
    let nested = PatchSignals::from_pairs([
        ("user.name", "Ann".into()),
        ("user.address.city", "Ulm".into()),
        ("user.address.zip", Value::Null),
        ("count", 1.into()),
        ("count", 2.into()),
    ])?;
    let expected = r#"{"count":2,"user":{"address":{"city":"Ulm","zip":null},"name":"Ann"}}"#;
    assert_eq!(nested.as_json(), expected);
    assert_eq!(
        PatchSignals::from_pairs([("a", json!({"b": 1})), ("a.c", 2.into())])?.as_json(),
        r#"{"a":{"b":1,"c":2}}"#
    );
    assert_eq!(PatchSignals::from_pairs::<&str>([])?.as_json(), "{}");
    assert_patches_signals(
        PatchSignals::remove(["one", "two.alpha"])?,
        &[r#"data: signals {"one":null,"two":{"alpha":null}}"#],
    );
    Ok(())
}

#[test]
fn signals_that_make_no_patch_are_refused() {
    use PatchSignalsError as Error;
    for empty in ["", " \r\n\t"] {
        assert!(matches!(PatchSignals::json(empty), Err(Error::Empty)));
    }
    for other in ["[]", "1", "\"{}\"", "null", " [{}]"] {
        assert!(matches!(PatchSignals::json(other), Err(Error::NotAnObject)), "{other}");
    }
    for script in
        ["{a:1}", "{'a':1}", "{} {}", "{\"a\":1,}", "{\"a\":\"\n\"}", "alert(1)", "\u{feff}{}"]
    {
        assert!(matches!(PatchSignals::json(script), Err(Error::Json(_))), "{script}");
    }
    assert!(matches!(PatchSignals::new("text"), Err(Error::NotAnObject)));
    assert!(matches!(PatchSignals::new(&Some([1])), Err(Error::NotAnObject)));
    let keys_that_are_no_text = BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(PatchSignals::new(&keys_that_are_no_text), Err(Error::Json(_))));
    for name in ["", ".", "a.", ".a", "a..b"] {
        assert!(matches!(PatchSignals::remove([name]), Err(Error::Name(bad)) if bad == name));
    }
    for names in [["a", "a.b"], ["a.b", "a"], ["a.b.c", "a.b"]] {
        assert!(
            matches!(PatchSignals::remove(names), Err(Error::Conflict(bad)) if bad == names[1])
        );
    }
}

#[test]
fn a_script_by_default_and_with_every_option() -> Result<(), BoxError> {
    assert_patches_elements(
        ExecuteScript::new("console.log('hello');"),
        &[
            "data: selector body",
            "data: mode append",
            r#"data: elements <script data-effect="el.remove()">console.log('hello');</script>"#,
        ],
    );
    assert_patches_elements(
        ExecuteScript::new("if (true) {\n  go();\n}")
            .attribute("type", "text/javascript")?
            .attribute("blocking", "false")?
            .keep()
            .retry(Duration::from_secs(2))
            .id("event1")?,
        &[
            "id: event1",
            "retry: 2000",
            "data: selector body",
            "data: mode append",
            r#"data: elements <script type="text/javascript" blocking="false">if (true) {"#,
            "data: elements   go();",
            "data: elements }</script>",
        ],
    );
    Ok(())
}

#[test]
fn attributes_come_before_the_effect_and_one_of_your_own_replaces_it() -> Result<(), BoxError> {
    let element = |script| AtClient::of(&script).argument("elements").to_owned();
    assert_eq!(
        element(ExecuteScript::new("0").attribute("type", "module")?),
        r#"<script type="module" data-effect="el.remove()">0</script>"#,
    );
    assert_eq!(
        element(ExecuteScript::new("0").attribute("DATA-EFFECT", "x()")?),
        r#"<script DATA-EFFECT="x()">0</script>"#,
    );
    assert_eq!(
        element(
            ExecuteScript::new("0")
                .keep()
                .attribute("a", "1")?
                .attribute("b", "2")?
                .attribute("A", "3")?
        ),
        r#"<script a="3" b="2">0</script>"#,
    );
    assert_eq!(
        element(ExecuteScript::new("0").keep().attribute("a", "\"'<>&\r\n")?),
        r#"<script a="&quot;&#39;&lt;&gt;&amp;&#13;&#10;">0</script>"#,
    );
    Ok(())
}

#[test]
fn attribute_names_that_html_refuses_are_refused() {
    assert_eq!(ExecuteScript::new("").attribute("", "").unwrap_err(), AttributeNameError::Empty);
    for bad in [
        ' ',
        '\t',
        '\n',
        '\r',
        '\0',
        '"',
        '\'',
        '<',
        '>',
        '/',
        '=',
        '\u{7f}',
        '\u{85}',
        '\u{fdd0}',
        '\u{1ffff}',
    ] {
        assert_eq!(
            ExecuteScript::new("").attribute(format!("a{bad}b"), "").unwrap_err(),
            AttributeNameError::Character(bad),
        );
    }
    for good in ["data-on:click__debounce.500ms", "@x", "é", "nonce"] {
        assert!(ExecuteScript::new("").attribute(good, "").is_ok(), "{good}");
    }
}

#[test]
fn text_that_would_end_a_script_early_is_escaped() {
    for (script, safe) in [
        ("'</script>'", r"'<\/script>'"),
        ("'</SCRipt '", r"'<\/SCRipt '"),
        ("'<!-- <script> -->'", r"'<\u0021-- <script> -->'"),
        (r"'\</script>'", r"'\<\/script>'"),
        (r"'<\/script>'", r"'<\/script>'"),
        ("'</body></Head></html>'", r"'<\/body><\/Head><\/html>'"),
        ("'</div>' < 3 <!- x", "'</div>' < 3 <!- x"),
        ("</scrip", "</scrip"),
        ("<</script<!--", r"<<\/script<\u0021--"),
        ("<", "<"),
    ] {
        let at_client = AtClient::of(&ExecuteScript::new(script).keep());
        assert_eq!(at_client.argument("elements"), format!("<script>{safe}</script>"));
    }
}

#[test]
fn the_escaped_forms_mean_the_same_to_json() {
    let text = "</script><!--</BODY>";
    let at_client = AtClient::of(&ExecuteScript::new(json!(text).to_string()).keep());
    let element = at_client.argument("elements");
    let script = &element["<script>".len()..element.len() - "</script>".len()];
    assert_eq!(serde_json::from_str::<String>(script).unwrap(), text);
}

#[test]
fn a_plain_event_may_be_for_datastar_too() -> Result<(), BoxError> {
    assert_encodes(Event::new("a 1").name("datastar-mine")?, "datastar-mine", &["data: a 1"]);
    Ok(())
}

#[test]
fn the_script_tag_escapes_its_source() {
    let tag = ScriptTag::hosted("/a?b=1&c=\"><script>").to_string();
    assert_eq!(
        tag,
        r#"<script type="module" src="/a?b=1&amp;c=&quot;&gt;&lt;script&gt;"></script>"#
    );
    assert!(ScriptTag::CDN.to_string().contains("@v1.0.4/bundles/datastar.js\""));
}
