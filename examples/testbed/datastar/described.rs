//! Events in the words of the official SDK tests, and the builders they become.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use starwheel::{
    EventError, Response, Sse,
    datastar::{BySelector, ExecuteScript, Namespace, PatchElements, PatchMode, PatchSignals},
};

use super::refused;

/// What the signals of `/test` say.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) events: Vec<Described>,
}

/// One event, in the words of the official tests.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Described {
    PatchElements {
        #[serde(default)]
        elements: String,
        selector: Option<String>,
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        use_view_transition: bool,
        view_transition_selector: Option<String>,
        #[serde(default)]
        namespace: Space,
        #[serde(flatten)]
        envelope: Envelope,
    },
    PatchSignals {
        signals: Option<Value>,
        #[serde(rename = "signals-raw")]
        signals_raw: Option<String>,
        #[serde(default)]
        only_if_missing: bool,
        #[serde(flatten)]
        envelope: Envelope,
    },
    ExecuteScript {
        script: String,
        #[serde(default = "yes")]
        auto_remove: bool,
        #[serde(default)]
        attributes: Map<String, Value>,
        #[serde(flatten)]
        envelope: Envelope,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    event_id: Option<String>,
    retry_duration: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Outer,
    Inner,
    Replace,
    Prepend,
    Append,
    Before,
    After,
    Remove,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum Space {
    #[default]
    Html,
    Svg,
    MathMl,
}

/// Gives a builder its id and retry; a macro, because each builder is a type of its own.
macro_rules! in_envelope {
    ($builder:expr, $envelope:expr) => {{
        let (mut builder, envelope): (_, Envelope) = ($builder, $envelope);
        if let Some(id) = envelope.event_id {
            builder = builder.id(id).map_err(|error: EventError| refused(error))?;
        }
        if let Some(retry_ms) = envelope.retry_duration {
            builder = builder.retry(Duration::from_millis(retry_ms));
        }
        builder
    }};
}

/// What a described event is once it is built.
enum Built {
    ById(PatchElements<'static, String>),
    BySelector(PatchElements<'static, String, BySelector<'static>>),
    Signals(PatchSignals<'static>),
    Script(ExecuteScript<'static>),
}

impl Described {
    pub(super) fn send_on(self, sse: Sse) -> Result<Sse, Response> {
        Ok(match self.build()? {
            Built::ById(patch) => sse.send(patch),
            Built::BySelector(patch) => sse.send(patch),
            Built::Signals(patch) => sse.send(patch),
            Built::Script(script) => sse.send(script),
        })
    }

    pub(super) fn into_response(self) -> Result<Response, Response> {
        Ok(match self.build()? {
            Built::ById(patch) => Response::elements(patch),
            Built::BySelector(patch) => Response::elements(patch),
            Built::Signals(patch) => Response::signals(patch),
            Built::Script(script) => Response::script(script),
        })
    }

    fn build(self) -> Result<Built, Response> {
        match self {
            Self::PatchElements {
                elements,
                selector,
                mode,
                use_view_transition,
                view_transition_selector,
                namespace,
                envelope,
            } => {
                let mut patch = PatchElements::new(elements).namespace(namespace.into());
                patch = match (use_view_transition, view_transition_selector) {
                    (false, _) => patch,
                    (true, None) => patch.use_view_transition(),
                    (true, Some(selector)) => patch.view_transition_selector(selector),
                };
                let patch = in_envelope!(patch, envelope);
                match (selector, PatchMode::from(mode)) {
                    (Some(selector), mode) => {
                        Ok(Built::BySelector(patch.selector(selector).mode(mode)))
                    }
                    (None, PatchMode::Outer) => Ok(Built::ById(patch)),
                    (None, PatchMode::Replace) => Ok(Built::ById(patch.replace())),
                    (None, mode) => Err(refused(format!("{} needs a selector", mode.as_str()))),
                }
            }
            Self::PatchSignals { signals, signals_raw, only_if_missing, envelope } => {
                let mut patch = match (signals, signals_raw) {
                    (Some(signals), None) => PatchSignals::new(&signals).map_err(refused)?,
                    (None, Some(raw)) => PatchSignals::json(raw).map_err(refused)?,
                    _ => return Err(refused("either signals or signals-raw")),
                };
                if only_if_missing {
                    patch = patch.only_if_missing();
                }
                Ok(Built::Signals(in_envelope!(patch, envelope)))
            }
            Self::ExecuteScript { script, auto_remove, attributes, envelope } => {
                let mut script = ExecuteScript::new(script);
                for (name, value) in attributes {
                    let value = match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    script = script.attribute(name, value).map_err(refused)?;
                }
                if !auto_remove {
                    script = script.keep();
                }
                Ok(Built::Script(in_envelope!(script, envelope)))
            }
        }
    }
}

impl From<Mode> for PatchMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Outer => Self::Outer,
            Mode::Inner => Self::Inner,
            Mode::Replace => Self::Replace,
            Mode::Prepend => Self::Prepend,
            Mode::Append => Self::Append,
            Mode::Before => Self::Before,
            Mode::After => Self::After,
            Mode::Remove => Self::Remove,
        }
    }
}

impl From<Space> for Namespace {
    fn from(space: Space) -> Self {
        match space {
            Space::Html => Self::Html,
            Space::Svg => Self::Svg,
            Space::MathMl => Self::MathMl,
        }
    }
}

const fn yes() -> bool {
    true
}
