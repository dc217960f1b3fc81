//! The compressed forms of a frame: made when the first subscriber needs them, then shared.

use std::cell::OnceCell;

use super::{Compressible, Frame, chunk};
use crate::{
    compress::{Compressor, Encoding, TextSum},
    sse::Heartbeat,
    topic::Pieces,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    keys: [OnceCell<Pieces>; 3],
    deltas: [OnceCell<Pieces>; 3],
    /// Deltas for streams with one, two or three keep-alives since the previous event, for each
    /// kind of them.
    quiet_deltas: [OnceCell<Box<QuietDeltas>>; 2],
    sum: OnceCell<TextSum>,
}

type QuietDeltas = [[OnceCell<Pieces>; 3]; KEEP_ALIVES_MAX];

impl Frame {
    /// The event in a form that a decoder understands without any earlier event.
    pub(crate) fn key(&self, encoding: Encoding, compressor: &mut Compressor) -> Pieces {
        let make = || {
            let mut out = compressor.reset(encoding).to_vec();
            match self.compression {
                Compressible::Yes => compressor.key(encoding, &self.events(), &mut out),
                Compressible::No => compressor.raw(encoding, &self.events(), &mut out),
            }
            chunk(&out).0
        };
        let forms = self.forms.get_or_init(Box::default);
        match form_index(encoding).and_then(|index| forms.keys.get(index)) {
            Some(key) => key.get_or_init(make).clone(),
            None => self.bytes.clone(),
        }
    }

    /// The event as a delta to the previous one, for streams that have been sent `keep_alives`
    /// keep-alives since. With a `tail`, bytes that only this stream was sent in between, the delta is
    /// made for this stream alone.
    ///
    /// A keep-alive moves what a delta refers to, so each number of them needs its own delta. From
    /// four on, streams share the key instead: a topic that is silent for so long can afford it.
    pub(crate) fn delta(
        &self,
        encoding: Encoding,
        compressor: &mut Compressor,
        tail: &[u8],
        heartbeat: Heartbeat,
        keep_alives: usize,
    ) -> Pieces {
        let (Some(previous), Compressible::Yes) = (&self.previous, self.compression) else {
            return self.key(encoding, compressor);
        };
        let Some(index) = form_index(encoding) else { return self.bytes.clone() };
        if keep_alives > KEEP_ALIVES_MAX {
            return self.key(encoding, compressor);
        }
        let mut make = |history: &[u8]| {
            let mut out = Vec::new();
            compressor.delta(encoding, history, &self.events(), &mut out);
            chunk(&out).0
        };
        let with_tail =
            || [&previous.events(), tail, &heartbeat.bytes().repeat(keep_alives)].concat();
        if !tail.is_empty() {
            return make(&with_tail());
        }
        let forms = self.forms.get_or_init(Box::default);
        match keep_alives.checked_sub(1) {
            None => forms.deltas[index].get_or_init(|| make(&previous.events())).clone(),
            Some(more) => {
                let quiet = &forms.quiet_deltas[heartbeat as usize].get_or_init(Box::default);
                let quiet = &quiet[more];
                quiet[index].get_or_init(|| make(&with_tail())).clone()
            }
        }
    }

    /// What the event adds to the checksum of a gzip stream, in any form.
    pub(crate) fn sum(&self) -> TextSum {
        let forms = self.forms.get_or_init(Box::default);
        *forms.sum.get_or_init(|| TextSum::of(&self.events()))
    }
}

fn form_index(encoding: Encoding) -> Option<usize> {
    match encoding {
        Encoding::Zstd => Some(0),
        Encoding::Brotli => Some(1),
        Encoding::Gzip => Some(2),
        Encoding::Identity => None,
    }
}

/// Largest number of consecutive keep-alives for which streams share a delta.
const KEEP_ALIVES_MAX: usize = 3;
