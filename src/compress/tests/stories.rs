//! Generated topics and readers: hostile messages, and readers that join, miss messages and
//! continue.

use proptest::{collection::vec, prelude::*};

use super::{
    decoders::{Decoder, decoders},
    *,
};
use crate::compress::zstd::{RESET_BLOCK, RESET_OUTPUT};

/// The life of a topic: what it publishes, and what its readers do.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) level: i32,
    pub(super) messages: Vec<Message>,
    pub(super) readers: Vec<Reader>,
}

/// Joins with the key of one message and then makes one move per message.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) joins_at: prop::sample::Index,
    pub(super) moves: Vec<Move>,
}

#[derive(Debug, Clone)]
pub(super) enum Move {
    Follow,
    /// Does not get this message; catches up with the key of a later one.
    Miss,
    /// Gets this many keep-alives and the message.
    Quiet(usize),
    /// Gets a private event and the message.
    Private(Part),
}

pub(super) type Message = Vec<Part>;

/// Parts of messages. Repeats with the periods that a frame starts with are dangerous.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Run {
        period: usize,
        first: u8,
        bytes: usize,
    },
    /// The end of the previous message.
    Tail {
        bytes: usize,
    },
    /// The previous message, sometimes with a byte changed.
    Again {
        every: usize,
    },
    Rows {
        count: usize,
        salt: u32,
    },
    Noise {
        bytes: usize,
        seed: u64,
    },
    Text(String),
}

/// How deltas are made: correctly, or without the reset blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Splice {
    AsBuilt,
    WithoutReset,
}

pub(super) fn story() -> impl Strategy<Value = Story> {
    (-3_i32..=19, vec(message(), 1..8), vec(reader(), 1..4))
        .prop_map(|(level, messages, readers)| Story { level, messages, readers })
}

fn reader() -> impl Strategy<Value = Reader> {
    let a_move = prop_oneof![
        6 => Just(Move::Follow),
        1 => Just(Move::Miss),
        1 => (1_usize..6).prop_map(Move::Quiet),
        2 => part().prop_map(Move::Private),
    ];
    (any::<prop::sample::Index>(), vec(a_move, 8))
        .prop_map(|(joins_at, moves)| Reader { joins_at, moves })
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        12 => vec(part(), 0..6),
        1 => large().prop_map(|part| vec![part]),
        1 => (part(), large()).prop_map(|(part, large)| vec![part, large]),
    ]
}

pub(super) fn part() -> impl Strategy<Value = Part> {
    let period = prop_oneof![
        6 => prop::sample::select(vec![1_usize, 4, 8]),
        1 => 2_usize..14,
    ];
    let run = (period, b'a'..=b'd', 1_usize..90).prop_map(|(period, first, bytes)| Part::Run {
        period,
        first,
        bytes,
    });
    prop_oneof![
        6 => run,
        2 => (1_usize..40).prop_map(|bytes| Part::Tail { bytes }),
        2 => (3_usize..400).prop_map(|every| Part::Again { every }),
        1 => (0_usize..40, 0_u32..4).prop_map(|(count, salt)| Part::Rows { count, salt }),
        1 => (0_usize..2000, any::<u64>()).prop_map(|(bytes, seed)| Part::Noise { bytes, seed }),
        2 => "(data: [a-c ]{0,40}\n){0,4}".prop_map(Part::Text),
    ]
}

fn large() -> impl Strategy<Value = Part> {
    prop_oneof![
        (1_usize..9, b'a'..=b'd', 1_usize..300_000).prop_map(|(period, first, bytes)| Part::Run {
            period,
            first,
            bytes
        }),
        (0_usize..3000, 0_u32..4).prop_map(|(count, salt)| Part::Rows { count, salt }),
        (0_usize..300_000, any::<u64>()).prop_map(|(bytes, seed)| Part::Noise { bytes, seed }),
        (3_usize..400).prop_map(|every| Part::Again { every }),
    ]
}

impl Part {
    pub(super) fn append_to(&self, message: &mut Vec<u8>, before: &[u8]) {
        match self {
            Self::Run { period, first, bytes } => {
                let letters = (0..*bytes).map(|at| first + (at % period) as u8);
                message.extend(letters);
            }
            Self::Tail { bytes } => message.extend_from_slice(tail(before, *bytes)),
            Self::Again { every } => {
                let changed = |(at, byte): (usize, &u8)| byte ^ u8::from(at % every == every - 1);
                message.extend(before.iter().enumerate().map(changed));
            }
            Self::Rows { count, salt } => {
                for row in 0..*count {
                    let value = (row as u32).wrapping_mul(2_654_435_761).wrapping_add(*salt) >> 12;
                    let row = format!("data: <tr id=r{row}><td>{value}</td><td>up</td></tr>\n");
                    message.extend_from_slice(row.as_bytes());
                }
            }
            Self::Noise { bytes, seed } => {
                let mut state = *seed | 1;
                message.extend((0..*bytes).map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                }));
            }
            Self::Text(text) => message.extend_from_slice(text.as_bytes()),
        }
        // Repeating `Again` of a large message doubles it each time.
        message.truncate(MESSAGE_BYTES_MAX);
    }
}

pub(super) fn messages(parts: &[Message]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for parts in parts {
        let mut message = Vec::new();
        for part in parts {
            part.append_to(&mut message, messages.last().map_or(&[], Vec::as_slice));
        }
        messages.push(message);
    }
    messages
}

impl Story {
    /// Plays it and compares the output of both decoders of each reader with what was sent.
    pub(super) fn tell(&self, encoding: Encoding, splice: Splice) -> Result<(), String> {
        let messages = messages(&self.messages);
        let mut topic = Topic::new(self.level, encoding, splice);
        let deltas: Vec<Piece> =
            messages.windows(2).map(|pair| topic.delta(&pair[0], &pair[1])).collect();
        for (number, reader) in self.readers.iter().enumerate() {
            let seen = reader.follow(&mut topic, &messages, &deltas);
            seen.map_err(|error| format!("reader {number}: {error}"))?;
        }
        Ok(())
    }
}

impl Reader {
    fn follow(
        &self,
        topic: &mut Topic,
        messages: &[Vec<u8>],
        deltas: &[Piece],
    ) -> Result<(), String> {
        let joins_at = self.joins_at.index(messages.len());
        let mut tab = Tab::open(topic, window_needed(messages));
        tab.take(&topic.key(&messages[joins_at]))?;
        let mut private = Vec::new();
        let mut is_behind = false;
        for (at, a_move) in (joins_at + 1..messages.len()).zip(&self.moves) {
            match a_move {
                Move::Follow => {}
                Move::Miss => {
                    is_behind = true;
                    continue;
                }
                Move::Quiet(keep_alives) => {
                    for _ in 0..*keep_alives {
                        tab.take(&topic.raw(KEEP_ALIVE))?;
                        private.extend_from_slice(KEEP_ALIVE);
                    }
                }
                Move::Private(part) => {
                    let start = private.len();
                    part.append_to(&mut private, &messages[at - 1]);
                    tab.take(&topic.raw(&private[start..]))?;
                }
            }
            if is_behind {
                tab.take(&topic.reset())?;
                tab.take(&topic.key(&messages[at]))?;
            } else if private.is_empty() {
                tab.take(&deltas[at - 1])?;
            } else {
                let history = [messages[at - 1].as_slice(), &private].concat();
                tab.take(&topic.delta(&history, &messages[at]))?;
            }
            is_behind = false;
            private.clear();
        }
        tab.close()
    }
}

/// The window for any two messages and the private events between them.
fn window_needed(messages: &[Vec<u8>]) -> usize {
    let largest = messages.iter().map(Vec::len).max().unwrap_or_default();
    window_for(2 * largest, largest)
}

/// Bytes for readers and what they decode to.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) decoded: Vec<u8>,
}

/// Makes the pieces.
pub(super) struct Topic {
    encoding: Encoding,
    splice: Splice,
    compressor: Compressor,
    naive: zstd::Zstd,
}

impl Topic {
    pub(super) fn new(level: i32, encoding: Encoding, splice: Splice) -> Self {
        Self { splice, ..Self::with(&settings(level), encoding) }
    }

    pub(super) fn with(settings: &Compression, encoding: Encoding) -> Self {
        let compressor = Compressor::new(settings);
        let naive = zstd::Zstd::new(settings.zstd_level, WINDOW_LOG_MAX);
        Self { encoding, splice: Splice::AsBuilt, compressor, naive }
    }

    pub(super) fn open(&mut self, window_bytes: usize) -> Piece {
        let bytes = appended(|out| self.compressor.open(self.encoding, window_bytes, out));
        Piece { bytes, decoded: Vec::new() }
    }

    pub(super) fn key(&mut self, message: &[u8]) -> Piece {
        let bytes = appended(|out| self.compressor.key(self.encoding, message, out));
        Piece { bytes, decoded: message.to_vec() }
    }

    pub(super) fn delta(&mut self, history: &[u8], message: &[u8]) -> Piece {
        let bytes = appended(|out| match self.splice {
            Splice::AsBuilt => self.compressor.delta(self.encoding, history, message, out),
            Splice::WithoutReset if message.is_empty() => {}
            Splice::WithoutReset => self.naive.blocks(history, message, out),
        });
        let comment = self.comment_of(&bytes);
        Piece { bytes, decoded: [comment, message].concat() }
    }

    pub(super) fn delta_private(&mut self, history: &mut Vec<u8>, message: &[u8]) -> Piece {
        let bytes =
            appended(|out| self.compressor.delta_private(self.encoding, history, message, out));
        let comment = self.comment_of(&bytes);
        Piece { bytes, decoded: [comment, message].concat() }
    }

    pub(super) fn secret_private(&mut self, history: &mut Vec<u8>, text: &[u8]) -> Piece {
        let bytes = appended(|out| {
            self.compressor.secret_private(self.encoding, history, text, out);
        });
        Piece { bytes, decoded: text.to_vec() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Piece {
        let decoded = bytes.to_vec();
        Piece { bytes: appended(|out| self.compressor.raw(self.encoding, bytes, out)), decoded }
    }

    pub(super) fn reset(&self) -> Piece {
        let bytes: &[u8] = match self.splice {
            Splice::AsBuilt => self.compressor.reset(self.encoding),
            Splice::WithoutReset => &[],
        };
        Piece { bytes: bytes.to_vec(), decoded: self.comment_of(bytes).to_vec() }
    }

    pub(super) fn note_stored(&self, history: &mut Vec<u8>, text: &[u8], count: usize) {
        self.compressor.note_stored(history, text, count);
    }

    fn comment_of(&self, bytes: &[u8]) -> &'static [u8] {
        let has_reset = self.encoding == Encoding::Zstd && bytes.starts_with(&RESET_BLOCK);
        if has_reset { RESET_OUTPUT } else { &[] }
    }
}

/// Where one response is decoded, by two decoders, and compared piece by piece.
pub(super) struct Tab {
    decoders: [(Box<dyn Decoder>, Vec<u8>); 2],
    expected: Vec<u8>,
}

impl Tab {
    pub(super) fn open(topic: &mut Topic, window_bytes: usize) -> Self {
        let decoders = decoders(topic.encoding).map(|decoder| (decoder, Vec::new()));
        let mut tab = Self { decoders, expected: Vec::new() };
        tab.take(&topic.open(window_bytes)).expect("a header is well-formed");
        tab
    }

    /// All of a piece must be decoded as soon as it has arrived.
    pub(super) fn take(&mut self, piece: &Piece) -> Result<(), String> {
        let start = self.expected.len();
        self.expected.extend_from_slice(&piece.decoded);
        for (decoder, output) in &mut self.decoders {
            let name = decoder.name();
            decoder.feed(&piece.bytes, output).map_err(|error| format!("{name}: {error}"))?;
            if decoder.is_prompt() && output.get(start..) != Some(&self.expected[start..]) {
                return Err(format!("{name}: wrong output behind {start} bytes"));
            }
        }
        Ok(())
    }

    pub(super) fn close(mut self) -> Result<(), String> {
        for (decoder, output) in &mut self.decoders {
            let name = decoder.name();
            decoder.finish(output).map_err(|error| format!("{name}: {error}"))?;
            if *output != self.expected {
                return Err(format!("{name}: wrong output"));
            }
        }
        Ok(())
    }
}

/// The keep-alive comment.
pub(super) const KEEP_ALIVE: &[u8] = b":\n";
const MESSAGE_BYTES_MAX: usize = 300_000;
