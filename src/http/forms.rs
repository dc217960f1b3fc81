//! The forms of a body: as it is, and in each content coding. Each is made once and shared.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use super::Body;

/// A body that is sent to many clients.
#[derive(Debug)]
pub(super) struct Forms {
    plain: Form,
    coded: [Coded; 3],
}

/// The bytes as they are sent.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) body: Body,
    hash: u64,
}

#[derive(Debug)]
struct Coded {
    coding: &'static str,
    /// Contains `None` if the coding saves nothing.
    form: OnceLock<Option<Form>>,
}

impl Forms {
    pub(super) fn new(body: Body) -> Self {
        let body = match body {
            Body::Owned(bytes) => Body::Shared(bytes.into()),
            body => body,
        };
        Self {
            plain: Form::new(body),
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
                saves.then(|| Form::new(Body::Shared(bytes.into())))
            });
            Some((form.as_ref()?, Some(it.coding)))
        });
        found.unwrap_or((&self.plain, None))
    }
}

impl Form {
    fn new(body: Body) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(body.as_slice());
        Self { hash: hasher.finish(), body }
    }

    /// A strong entity tag, with its quotes. It stands for the bytes, and for the media type, whose
    /// change matters to clients too (RFC 9110 section 8.8.1).
    pub(super) fn tag(&self, content_type: Option<&str>) -> String {
        let mut hasher = DefaultHasher::new();
        (content_type, self.hash).hash(&mut hasher);
        format!("\"{:x}-{:016x}\"", self.body.as_slice().len(), hasher.finish())
    }
}
