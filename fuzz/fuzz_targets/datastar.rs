//! Any text in the Datastar builders, taken apart as the Datastar client does: the arguments that
//! were given and no other, and scripts that stay inside their element.

#![no_main]

#[path = "../../tests/support/datastar_client.rs"]
mod datastar_client;
#[path = "../../tests/support/event_ids.rs"]
mod event_ids;

use std::collections::BTreeMap;

use datastar_client::{ALL_MODES, AtClient};
use event_ids::can_come_back;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use serde_json::{Value, json};
use starwheel::datastar::{EscapeHtml, ExecuteScript, PatchElements, PatchMode, PatchSignals};

#[derive(Debug, Arbitrary)]
enum Planned {
    Elements { html: String, selector: String, transition: String, mode: usize },
    Signals { name: String, value: String },
    Json(String),
    Script { code: String, attribute: String },
    Id(String),
}

fuzz_target!(|planned: Planned| match planned {
    Planned::Elements { html, selector, transition, mode } => {
        elements(&html, &selector, &transition, ALL_MODES[mode % ALL_MODES.len()]);
    }
    Planned::Signals { name, value } => signals(name, value),
    Planned::Json(text) => {
        let value = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        let patch = PatchSignals::json(&text).ok();
        assert_eq!(patch.is_some(), value.is_some());
        if let Some(patch) = patch {
            let sent = AtClient::of(&patch);
            assert_eq!(serde_json::from_str::<Value>(sent.argument("signals")).ok(), value);
        }
    }
    Planned::Script { code, attribute } => script(&code, &attribute),
    Planned::Id(id) => match PatchElements::new("x").id(&*id) {
        Ok(patch) => assert_eq!(AtClient::of(&patch).last_event_id, id),
        Err(_) => assert!(!can_come_back(&id)),
    },
});

fn elements(html: &str, selector: &str, transition: &str, mode: (PatchMode, &str)) {
    let patch = PatchElements::new(html)
        .selector(selector)
        .mode(mode.0)
        .view_transition_selector(transition);
    let folded = |text: &str| text.replace(['\r', '\n'], " ");
    let mut expected = BTreeMap::from([
        ("selector".to_owned(), folded(selector)),
        ("useViewTransition".to_owned(), "true".to_owned()),
        ("viewTransitionSelector".to_owned(), folded(transition)),
    ]);
    if mode.0 != PatchMode::Outer {
        expected.insert("mode".to_owned(), mode.1.to_owned());
    }
    if !html.is_empty() {
        expected.insert("elements".to_owned(), normalised(html));
    }
    let sent = AtClient::of(&patch);
    assert_eq!((sent.name.as_str(), &sent.arguments), ("datastar-patch-elements", &expected));
}

fn signals(name: String, value: String) {
    let signals = json!({ name: value });
    let sent = AtClient::of(&PatchSignals::new(&signals).expect("an object"));
    assert_eq!(sent.name, "datastar-patch-signals");
    assert_eq!(sent.arguments.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(sent.argument("signals")).ok(), Some(signals));
}

fn script(code: &str, attribute: &str) {
    let script = ExecuteScript::new(code).keep().attribute("title", attribute).expect("a name");
    let sent = AtClient::of(&script);
    let element = sent.argument("elements");
    let escaped = normalised(&EscapeHtml(attribute).to_string());
    let front = format!("<script title=\"{escaped}\">");
    let inside = element.strip_prefix(&front).and_then(|rest| rest.strip_suffix("</script>"));
    let inside = inside.expect("one script element");
    let is_dangerous = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["</script", "<!--"].iter().any(|danger| text.contains(danger))
    };
    assert!(!is_dangerous(inside), "{element}");
    let leaves = ["</body", "</head", "</html"];
    let is_changed = is_dangerous(code)
        || leaves.iter().any(|closing| code.to_ascii_lowercase().contains(closing));
    assert!(is_changed || inside == normalised(code));
    assert!(!escaped.contains(['"', '<', '>']));
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
