//! The forms of a body: as it is, and in each content coding. Each is made once and shared.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use super::Body;

/// A body that is sent to many clients.
#[derive(Debug)]
pub(super) struct Forms {
    content_type: Option<String>,
    plain: Form,
    coded: [Coded; 3],
}

/// The bytes as they are sent.
#[derive(Debug)]
pub(super) struct Form {
    /// A strong entity tag, with its quotes.
    pub(super) tag: String,
    pub(super) body: Body,
}

#[derive(Debug)]
struct Coded {
    coding: &'static str,
    /// Contains `None` if the coding saves nothing.
    form: OnceLock<Option<Form>>,
}

impl Forms {
    pub(super) fn new(content_type: Option<&str>, body: Body) -> Self {
        let body = match body {
            Body::Owned(bytes) => Body::Shared(bytes.into()),
            body => body,
        };
        Self {
            content_type: content_type.map(str::to_owned),
            plain: Form::new(content_type, body),
            coded: ["zstd", "br", "gzip"].map(|coding| Coded { coding, form: OnceLock::new() }),
        }
    }

    pub(super) fn plain(&self) -> &Form {
        &self.plain
    }

    /// The body in a coding, which `compress` makes for the first client, and the coding; without
    /// one if it saves nothing.
    pub(super) fn coded(
        &self,
        coding: &str,
        compress: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> (&Form, Option<&'static str>) {
        let plain = self.plain.body.as_slice();
        let found = self.coded.iter().find(|it| it.coding == coding).and_then(|it| {
            let form = it.form.get_or_init(|| {
                let bytes = compress(plain);
                let saves = bytes.len() < plain.len();
                saves.then(|| Form::new(self.content_type.as_deref(), Body::Shared(bytes.into())))
            });
            Some((form.as_ref()?, Some(it.coding)))
        });
        found.unwrap_or((&self.plain, None))
    }
}

impl Form {
    /// The tag stands for the bytes, and for the media type, whose change matters to clients too
    /// (RFC 9110 section 8.8.1).
    fn new(content_type: Option<&str>, body: Body) -> Self {
        let mut hasher = DefaultHasher::new();
        content_type.hash(&mut hasher);
        hasher.write(body.as_slice());
        let tag = format!("\"{:x}-{:016x}\"", body.as_slice().len(), hasher.finish());
        Self { tag, body }
    }
}
