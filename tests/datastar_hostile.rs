//! Hostile text in every field of every Datastar event: the client reads exactly that text, and no
//! additional line, element or attribute.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use starwheel::datastar::{EscapeHtml, ExecuteScript, PatchElements, PatchMode, PatchSignals};

#[path = "support/datastar_client.rs"]
mod datastar_client;
#[path = "support/event_ids.rs"]
mod event_ids;
#[path = "support/hostile.rs"]
mod hostile;

use datastar_client::{ALL_MODES, AtClient};
use hostile::normalised;

fn unescaped(html: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#13;", "\r"),
        ("&#10;", "\n"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(html.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[test]
fn a_megabyte_on_one_line_and_every_plane_arrive() {
    let planes = (0..=0x10).filter_map(|plane| char::from_u32((plane << 16) + 0xfedc));
    let long: String = "x".repeat(1 << 20).chars().chain(planes).collect();
    let elements = PatchElements::new(&long).selector(&long).view_transition_selector(&long);
    let at_client = AtClient::of(&elements);
    for field in ["elements", "selector", "viewTransitionSelector"] {
        assert_eq!(at_client.argument(field), long);
    }
    let signals = json!({ long.clone(): long });
    let at_client = AtClient::of(&PatchSignals::new(&signals).unwrap());
    assert_eq!(serde_json::from_str::<Value>(at_client.argument("signals")).unwrap(), signals);
    let at_client = AtClient::of(&ExecuteScript::new(&long).keep());
    assert_eq!(at_client.argument("elements"), format!("<script>{long}</script>"));
}

proptest! {
    #[test]
    fn hostile_elements_arrive_as_they_are(
        elements in hostile::text(),
        selector in hostile::text(),
        transition in hostile::text(),
        mode in proptest::sample::select(&ALL_MODES),
    ) {
        let by_id = AtClient::of(&PatchElements::new(&elements));
        let expected = BTreeMap::from([("elements".to_owned(), normalised(&elements))]);
        prop_assert_eq!(by_id.arguments, expected);

        let folded = |text: &str| text.replace(['\r', '\n'], " ");
        let mut expected = BTreeMap::from([
            ("selector".to_owned(), folded(&selector)),
            ("useViewTransition".to_owned(), "true".to_owned()),
            ("viewTransitionSelector".to_owned(), folded(&transition)),
        ]);
        if mode.0 != PatchMode::Outer {
            expected.insert("mode".to_owned(), mode.1.to_owned());
        }
        if !elements.is_empty() {
            expected.insert("elements".to_owned(), normalised(&elements));
        }
        let by_selector = AtClient::of(
            &PatchElements::new(&elements)
                .selector(&selector)
                .mode(mode.0)
                .view_transition_selector(&transition),
        );
        prop_assert_eq!(by_selector.name, "datastar-patch-elements");
        prop_assert_eq!(by_selector.arguments, expected);
    }

    #[test]
    fn hostile_ids_are_refused_or_arrive(id in hostile::text()) {
        match PatchElements::new("x").id(&id) {
            Ok(patch) => prop_assert_eq!(AtClient::of(&patch).last_event_id, id),
            Err(_) => prop_assert!(!event_ids::can_come_back(&id)),
        }
    }

    #[test]
    fn hostile_signals_arrive_as_they_are(name in hostile::text(), value in hostile::text()) {
        let signals = json!({ name: value });
        let patch = PatchSignals::new(&signals).unwrap();
        let at_client = AtClient::of(&patch);
        prop_assert_eq!(at_client.name, "datastar-patch-signals");
        prop_assert_eq!(&serde_json::from_str::<Value>(&at_client.arguments["signals"]).unwrap(), &signals);

        let pretty = serde_json::to_string_pretty(&signals).unwrap().replace('\n', "\r");
        let at_client = AtClient::of(&PatchSignals::json(pretty).unwrap().only_if_missing());
        prop_assert_eq!(serde_json::from_str::<Value>(&at_client.arguments["signals"]).unwrap(), signals);
    }

    #[test]
    fn only_json_objects_pass_for_signals(text in hostile::text()) {
        let is_object = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object());
        prop_assert_eq!(PatchSignals::json(&text).is_ok(), is_object);
    }

    #[test]
    fn hostile_names_of_signals_arrive_or_are_refused(name in hostile::text()) {
        match PatchSignals::from_pairs([(&name, 1.into())]) {
            Ok(patch) => {
                let pointer = name.replace('~', "~0").replace('/', "~1").replace('.', "/");
                let value: Value = serde_json::from_str(patch.as_json()).unwrap();
                prop_assert_eq!(value.pointer(&format!("/{pointer}")), Some(&json!(1)));
            }
            Err(_) => prop_assert!(name.split('.').any(str::is_empty)),
        }
    }

    #[test]
    fn hostile_scripts_stay_inside_their_element(script in hostile::text()) {
        let at_client = AtClient::of(&ExecuteScript::new(&script).keep());
        prop_assert_eq!(at_client.argument("mode"), "append");
        prop_assert_eq!(at_client.argument("selector"), "body");
        let element = at_client.argument("elements");
        let inside = element.strip_prefix("<script>").unwrap().strip_suffix("</script>").unwrap();
        let dangers = ["</script", "</body", "</head", "</html", "<!--"];
        let is_dangerous = |text: &str| {
            let text = text.to_ascii_lowercase();
            dangers.iter().any(|danger| text.contains(danger))
        };
        prop_assert!(!is_dangerous(inside));
        if !is_dangerous(&script) {
            prop_assert_eq!(inside, normalised(&script));
        }
    }

    #[test]
    fn hostile_strings_in_scripts_keep_their_value(value in hostile::text()) {
        let at_client = AtClient::of(&ExecuteScript::new(json!(value).to_string()).keep());
        let element = at_client.argument("elements");
        let inside = element.strip_prefix("<script>").unwrap().strip_suffix("</script>").unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(inside).unwrap(), value);
    }

    #[test]
    fn hostile_attributes_stay_inside_their_quotes(name in hostile::text(), value in hostile::text()) {
        let with_value = ExecuteScript::new("0").keep().attribute("title", &value).unwrap();
        let at_client = AtClient::of(&with_value);
        let inside = at_client.argument("elements").strip_prefix("<script title=\"").unwrap();
        let inside = inside.strip_suffix("\">0</script>").unwrap();
        prop_assert!(!inside.contains(['"', '<', '>', '\'']));
        prop_assert_eq!(unescaped(inside), value);

        if let Ok(with_name) = ExecuteScript::new("0").keep().attribute(&name, "") {
            let expected = format!("<script {name}=\"\">0</script>");
            let at_client = AtClient::of(&with_name);
            prop_assert_eq!(at_client.argument("elements"), expected);
        }
    }

    #[test]
    fn escaped_text_is_the_same_text(text in hostile::text()) {
        let escaped = EscapeHtml(&text).to_string();
        prop_assert!(!escaped.contains(['"', '<', '>', '\'', '\r', '\n']));
        prop_assert_eq!(unescaped(&escaped), text);
    }
}
