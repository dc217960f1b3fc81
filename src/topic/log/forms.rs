//! The compressed forms of a frame: made when the first subscriber needs them, shared by all others.

use std::cell::OnceCell;

use super::{Allowed, Frame, chunk};
use crate::{
    compress::{Compressor, Encoding, TextSum},
    sse::KEEP_ALIVE,
    topic::Pieces,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    keys: [OnceCell<Pieces>; 3],
    deltas: [OnceCell<Pieces>; 3],
    /// Deltas for streams that have had one, two or three keep-alives since the event before.
    quiet_deltas: OnceCell<Box<QuietDeltas>>,
    sum: OnceCell<TextSum>,
}

type QuietDeltas = [[OnceCell<Pieces>; 3]; KEEP_ALIVES_MAX];

impl Frame {
    /// The event so that a decoder understands it whatever it has seen before.
    pub(crate) fn key(&self, encoding: Encoding, compressor: &mut Compressor) -> Pieces {
        let make = || {
            let mut out = compressor.reset(encoding).to_vec();
            match self.compression {
                Allowed::Yes => compressor.key(encoding, &self.events(), &mut out),
                Allowed::No => compressor.raw(encoding, &self.events(), &mut out),
            }
            chunk(&out).0
        };
        let forms = self.forms.get_or_init(Box::default);
        match form_index(encoding).and_then(|index| forms.keys.get(index)) {
            Some(key) => key.get_or_init(make).clone(),
            None => self.bytes.clone(),
        }
    }

    /// The event as what has changed since the one before, for streams that have been sent
    /// `keep_alives` comments after that. With a `tail`, which the stream alone was sent in between,
    /// the delta is made for it alone.
    ///
    /// A comment moves what a delta refers to, so each number of them needs a delta of its own. From
    /// four on, streams share the key instead: a topic that is silent that long can afford it.
    pub(crate) fn delta(
        &self,
        encoding: Encoding,
        compressor: &mut Compressor,
        tail: &[u8],
        keep_alives: usize,
    ) -> Pieces {
        let (Some(previous), Allowed::Yes) = (&self.previous, self.compression) else {
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
        let with_tail = || [&previous.events(), tail, &KEEP_ALIVE.repeat(keep_alives)].concat();
        if !tail.is_empty() {
            return make(&with_tail());
        }
        let forms = self.forms.get_or_init(Box::default);
        match keep_alives.checked_sub(1) {
            None => forms.deltas[index].get_or_init(|| make(&previous.events())).clone(),
            Some(more) => {
                let quiet = &forms.quiet_deltas.get_or_init(Box::default)[more];
                quiet[index].get_or_init(|| make(&with_tail())).clone()
            }
        }
    }

    /// What the event adds to the checksum of a gzip stream, in whichever form it is sent.
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

/// How many keep-alives in a row a delta that streams share allows for.
const KEEP_ALIVES_MAX: usize = 3;
