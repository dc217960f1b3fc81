//! Content codings of responses: which responses may be compressed, and what else changes then.

use std::{mem, sync::Arc};

use super::{Rare, Response, StatusCode};
use crate::http::{Method, Request, entity_tag::EntityTag, fields::list_members, forms::Forms};

/// How the client's `Accept-Encoding` affects a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codable {
    /// Not at all: it is sent unchanged.
    Never,
    /// Not this response, but perhaps the complete representation that it is a part of, or that the
    /// client has: 206 and 304.
    Whole,
    /// Its body may be compressed.
    Body,
}

impl Response {
    /// Text of a minimum length may be compressed. Exceptions: it is a part of a representation
    /// (RFC 9110 section 14.4: of its uncompressed bytes), the handler forbids it (`no-transform`)
    /// or has already compressed it, or a field describes the exact bytes.
    pub(crate) fn codable(&self, body_bytes_min: usize) -> Codable {
        let content_type = self.content_type.as_deref();
        let is_text = || {
            let starts = |start| content_type.is_some_and(|name| name.starts_with(start));
            TEXTUAL.into_iter().any(starts)
        };
        let (codable, is_due) = match self.status {
            StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
                let may_be_text = content_type.is_none_or(|name| name.starts_with(PARTS));
                (Codable::Whole, may_be_text || is_text())
            }
            _ => {
                let is_long = self.body().len() >= body_bytes_min.max(1);
                (Codable::Body, is_long && is_text() && !self.has_any(&["Content-Range"]))
            }
        };
        match is_due && !self.has_any(&OF_THE_BYTES) && !self.forbids_transforming() {
            true => codable,
            false => Codable::Never,
        }
    }

    /// Adds `Vary`, because the response depends on what the client accepts; also for responses
    /// without such a body (RFC 9110 sections 15.3.7 and 15.4.5).
    pub(crate) fn varies_by_coding(mut self) -> Self {
        let names_it = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"Accept-Encoding");
        let is_said = self.members("Vary").any(names_it);
        if !is_said {
            self.lines.push("Vary", "Accept-Encoding");
        }
        self
    }

    /// Replaces the body by its compressed form. A strong entity tag becomes weak, because it would
    /// name different bytes in each coding (RFC 9110 section 8.8.3.3).
    pub(crate) fn coded(mut self, coding: &str, body: Vec<u8>) -> Self {
        self.lines.push("Content-Encoding", coding);
        self.weaken_tag();
        self.body = body.into();
        self
    }

    /// The same for many clients: each form of the body is made once. No effect on an invalid one.
    pub(in crate::http) fn in_shared_forms(mut self) -> Self {
        if !self.is_broken() {
            let body = mem::take(&mut self.body);
            let forms = Forms::new(body);
            self.body = forms.plain().body.clone();
            self.rare = Some(Box::new(Rare::Forms(Arc::new(forms))));
        }
        self
    }

    /// Whether the body exists in several forms, one of which is to be selected.
    pub(crate) fn has_forms(&self) -> bool {
        matches!(self.rare.as_deref(), Some(Rare::Forms(_)))
    }

    /// Selects the form in a coding, which `compress` makes for the first client, or 304 if the
    /// client has it.
    pub(crate) fn in_form(
        mut self,
        coding: &str,
        compress: impl FnOnce(&[u8]) -> Vec<u8>,
        request: &Request,
    ) -> Self {
        let Some(Rare::Forms(forms)) = self.rare.take().map(|rare| *rare) else { return self };
        let (form, coding) = forms.coded(coding, compress);
        self.body = form.body.clone();
        let has_own_tag = self.lines.value("ETag").is_some();
        // With another status, it is not what the tag stands for.
        if self.status == StatusCode::OK && !has_own_tag {
            let tag = form.tag(self.content_type.as_deref());
            self.lines.push("ETag", &tag);
            let reads = matches!(request.method(), Method::Get | Method::Head);
            if reads && request.if_none_match(&tag) {
                self.status = StatusCode::NOT_MODIFIED;
                return self.with_the_tag_of(request);
            }
        }
        if let Some(coding) = coding {
            self.lines.push("Content-Encoding", coding);
            if has_own_tag {
                self.weaken_tag();
            }
        }
        self
    }

    /// A 304 to a client that has the compressed form must use its weak tag: a strong one that the
    /// client has never seen updates nothing (RFC 9111 section 4.3.4).
    pub(crate) fn with_the_tag_of(mut self, request: &Request) -> Self {
        let tag = self.lines.value("ETag").and_then(EntityTag::parse);
        if self.status == 304 && tag.is_some_and(|tag| request.names_exactly(tag.weakened())) {
            self.weaken_tag();
        }
        self
    }

    fn weaken_tag(&mut self) {
        self.lines.prefix_values("ETag", "W/", |tag| tag.starts_with('"'));
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.lines.value(name).is_some())
    }

    /// RFC 9111 section 5.2.2.6.
    fn forbids_transforming(&self) -> bool {
        self.members("Cache-Control").any(|directive| {
            let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
            name.eq_ignore_ascii_case(b"no-transform")
        })
    }

    /// The members of a list field, over all of its lines.
    fn members(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.lines.values(name).flat_map(|value| list_members(value.as_bytes()))
    }
}

/// Prefixes of media types that compress well; images and archives do not.
const TEXTUAL: [&str; 5] =
    ["text/", "application/json", "application/javascript", "application/xml", "image/svg+xml"];
/// Several parts of one page.
const PARTS: &str = "multipart/byteranges";
/// Fields that a coding would make wrong: digests (RFC 9530, RFC 3230, RFC 1864), and a coding that
/// is already applied.
const OF_THE_BYTES: [&str; 5] =
    ["Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5"];
