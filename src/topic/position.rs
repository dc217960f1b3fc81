//! Positions: how far a stream has come in all its topics, as an event id.
//!
//! ```text
//! EPOCH-17                     everything up to sequence 17, whatever the topic
//! EPOCH-17.1                   everything before 17, and of the events of frame 17 the first
//! EPOCH-17~a1b2c3d4e5f60718:4  up to 17, but only up to 4 of the topic with this key
//! ```
//!
//! Nearly all ids have the first form and are in frames that all subscribers share. The others are
//! made for one stream, while one of its topics delivers events older than those it has seen.
//! Topics are identified by a hash of their names, so an id means the same everywhere.

use std::fmt;

/// A position in the series of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) sequence: u64,
    /// Number of events seen of the frame with this sequence; zero for all of them.
    pub(crate) events: u32,
}

/// Identifies a topic by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicKey(u64);

/// The positions of a client in all topics of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) up_to: Point,
    /// The topics that lag, and their positions.
    lagging: Vec<(TopicKey, Point)>,
}

/// A position as the text of an id.
pub(crate) struct IdOf<'a> {
    pub(crate) position: &'a Position,
    pub(crate) epoch: &'a str,
}

impl Point {
    /// The end of the frame with this sequence.
    pub(crate) const fn whole(sequence: u64) -> Self {
        Self { sequence, events: 0 }
    }

    /// The last sequence of which everything has been seen.
    pub(crate) fn cursor(self) -> u64 {
        match self.events {
            0 => self.sequence,
            _ => self.sequence.saturating_sub(1),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (sequence, events) = match text.split_once('.') {
            None => (text, None),
            Some((sequence, events)) => (sequence, Some(events)),
        };
        let events = events.map(|events| number(events)?.try_into().ok().filter(|n| *n > 0));
        Some(Self { sequence: number(sequence)?, events: events.unwrap_or(Some(0))? })
    }
}

/// A hash that is the same in every process.
pub(crate) fn fnv_1a(text: &str) -> u64 {
    let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl TopicKey {
    /// Two topics of one stream differ.
    pub(crate) fn of(name: &str) -> Self {
        Self(fnv_1a(name))
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == KEY_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl Position {
    /// The same for all topics.
    pub(crate) const fn at(up_to: Point) -> Self {
        Self { up_to, lagging: Vec::new() }
    }

    /// Adds a topic that lags at this point.
    pub(crate) fn lags(&mut self, topic: TopicKey, point: Point) {
        self.lagging.push((topic, point));
    }

    /// The topic has caught up with the others.
    pub(crate) fn has_caught_up(&mut self, topic: TopicKey) {
        self.lagging.retain(|(lagging, _)| *lagging != topic);
    }

    /// The position in one topic.
    pub(crate) fn of(&self, topic: TopicKey) -> Point {
        let lagging = self.lagging.iter().find(|(lagging, _)| *lagging == topic);
        lagging.map_or(self.up_to, |(_, point)| *point)
    }

    /// True if the ids of shared frames give the stream's position.
    pub(crate) fn is_even(&self) -> bool {
        self.lagging.is_empty() && self.up_to.events == 0
    }

    /// Parses an id of this epoch.
    pub(crate) fn parse(id: &str, epoch: &str) -> Option<Self> {
        let mut pieces = id.strip_prefix(epoch)?.strip_prefix('-')?.split('~');
        let mut position = Self::at(Point::parse(pieces.next()?)?);
        for piece in pieces {
            let (topic, point) = piece.split_once(':')?;
            let (topic, point) = (TopicKey::parse(topic)?, Point::parse(point)?);
            let is_sound = point.sequence <= position.up_to.sequence;
            if !is_sound || position.lagging.len() == LAGGING_MAX {
                return None;
            }
            position.lags(topic, point);
        }
        Some(position)
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.events {
            0 => write!(f, "{}", self.sequence),
            events => write!(f, "{}.{events}", self.sequence),
        }
    }
}

impl fmt::Display for IdOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position.up_to)?;
        if self.position.lagging.len() > LAGGING_MAX {
            // Never parsed again, so a client that sends it gets gap events.
            return f.write_str("~");
        }
        for (TopicKey(key), point) in &self.position.lagging {
            write!(f, "~{key:0KEY_DIGITS$x}:{point}")?;
        }
        Ok(())
    }
}

const KEY_DIGITS: usize = 16;
/// Maximum number of lagging topics in an id. The id is sent in the head of a request, and is
/// written once per event until they have caught up.
const LAGGING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(position: &Position) -> String {
        IdOf { position, epoch: "e" }.to_string()
    }

    #[test]
    fn a_position_survives_its_text() {
        let mut position = Position::at(Point::whole(17));
        assert_eq!(text(&position), "e-17");
        assert_eq!(Position::parse("e-17", "e"), Some(position.clone()));
        position.up_to.events = 3;
        let [chat, news] = ["chat", "news"].map(TopicKey::of);
        position.lags(chat, Point::whole(4));
        position.lags(news, Point { sequence: 9, events: 1 });
        assert_eq!(Position::parse(&text(&position), "e"), Some(position.clone()));
        assert_eq!(position.of(chat), Point::whole(4));
        assert_eq!(position.of(news).cursor(), 8);
        assert_eq!(position.of(TopicKey::of("other")), Point { sequence: 17, events: 3 });
        position.has_caught_up(chat);
        assert!(text(&position).starts_with("e-17.3~"));
        assert_eq!(position.of(chat).cursor(), 16);
    }

    #[test]
    fn only_what_we_have_written_is_a_position() {
        let key = "0123456789abcdef";
        for absurd in [
            "",
            "e",
            "e-",
            "e-+4",
            "e-4.",
            "e-4.0",
            "e-.4",
            "e-4.+1",
            "e-4.4294967296",
            "e-99999999999999999999",
            "other-4",
            "4",
            "e-4~",
            "e-4~:1",
            "e-4~1:1",
            &format!("e-4~{key}"),
            &format!("e-4~{key}:"),
            &format!("e-4~{key}:5"),
            &format!("e-4~+{}:1", &key[1..]),
            &format!("e-4~{key}:1~"),
            &format!("e-4{}", format!("~{key}:1").repeat(17)),
        ] {
            assert_eq!(Position::parse(absurd, "e"), None, "{absurd}");
        }
        assert!(Position::parse(&format!("e-4~{key}:4"), "e").is_some());
    }

    #[test]
    fn a_position_too_long_for_an_id_is_unknown_on_reconnect() {
        let mut position = Position::at(Point::whole(u64::MAX));
        for n in 0..LAGGING_MAX {
            position.lags(TopicKey(n as u64), Point { sequence: u64::MAX, events: u32::MAX });
        }
        assert!(text(&position).len() < 1024);
        assert!(Position::parse(&text(&position), "e").is_some());
        position.lags(TopicKey(77), Point::whole(0));
        assert_eq!(Position::parse(&text(&position), "e"), None);
    }
}
