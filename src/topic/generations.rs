//! The generations of a namespace, and what an id of one of them is worth now.
//!
//! A generation is one life of a sequencer. Its ids are `_GENERATION-17`; local ids never begin
//! with an underscore. A sequencer that has lost the end of its log begins a generation that
//! follows an earlier place: what the ids after that place stand for does not exist anymore.
//!
//! ```text
//! a   1 .. 90 | 91 .. 100      a was lost after 90
//! b           | 101 ..         b follows 90: no number is given twice
//!
//! _a-90 and _b-101 are exact, _a-95 is unknown, and so is any id of a generation not listed
//! ```

use super::Position;

/// The generations that are still known, oldest first, and never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generations(Vec<Generation>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Generation {
    /// What its ids begin with.
    prefix: String,
    /// The last place before it that still exists.
    follows: u64,
}

impl Generations {
    /// A namespace with one generation. Names consist of letters and digits, and no two sequencers
    /// use the same one.
    pub(crate) fn new(name: &str) -> Self {
        let mut generations = Self(Vec::new());
        generations.begin(name, 0);
        generations
    }

    /// A generation begins after this place; what was placed later is lost. Only the last ones are
    /// remembered.
    pub(crate) fn begin(&mut self, name: &str, follows: u64) {
        if self.0.len() == GENERATIONS_MAX {
            self.0.remove(0);
        }
        self.0.push(Generation { prefix: format!("_{name}"), follows });
    }

    /// The same from names with the places that they follow, oldest first.
    pub(crate) fn from_list(list: &[(String, u64)]) -> Self {
        let mut generations = Self(Vec::new());
        list.iter().for_each(|(name, follows)| generations.begin(name, *follows));
        generations
    }

    /// Like [`begin`](Self::begin), unless it is known already; false then.
    pub(crate) fn begin_if_new(&mut self, name: &str, follows: u64) -> bool {
        let is_new = !self.knows(name);
        if is_new {
            self.begin(name, follows);
        }
        is_new
    }

    /// True for an id that looks like those of a namespace, but is of no generation known here.
    pub(crate) fn is_strange(&self, id: &str) -> bool {
        let is_of = |generation: &Generation| Position::parse(id, &generation.prefix).is_some();
        id.starts_with('_') && id.contains('-') && !self.0.iter().any(is_of)
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|generation| generation.prefix.strip_prefix('_') == Some(name))
    }

    /// Up to where what the current generation of `former` has seen still exists: nothing of it, if that
    /// generation is unknown here.
    pub(crate) fn end_of(&self, former: &Self) -> u64 {
        let mut exists_up_to = u64::MAX;
        for generation in self.0.iter().rev() {
            if generation.prefix == former.current() {
                return exists_up_to;
            }
            exists_up_to = exists_up_to.min(generation.follows);
        }
        0
    }

    /// What the ids of this generation begin with, and those that are made for single streams.
    pub(crate) fn current(&self) -> &str {
        self.0.last().map_or("_", |generation| &generation.prefix)
    }

    /// The position of a client with this id; `None` if the id is of no generation known here, or
    /// if events that it speaks of are lost. A client may be ahead of this reactor: it was
    /// connected to a faster one.
    pub(crate) fn position(&self, id: &str) -> Option<Position> {
        let mut lost_after = u64::MAX;
        for generation in self.0.iter().rev() {
            if let Some(position) = Position::parse(id, &generation.prefix) {
                return Some(position).filter(|position| position.up_to.sequence <= lost_after);
            }
            lost_after = lost_after.min(generation.follows);
        }
        None
    }
}

/// Generations that are remembered. A client that was away for more of them gets a gap event.
const GENERATIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(generations: &Generations, id: &str) -> Option<u64> {
        generations.position(id).map(|position| position.up_to.sequence)
    }

    #[test]
    fn an_id_is_exact_until_the_end_of_its_generation() {
        let mut generations = Generations::new("a");
        assert_eq!(up_to(&generations, "_a-100"), Some(100), "ahead of everything seen here");
        generations.begin("b", 90);
        assert_eq!(generations.current(), "_b");
        assert_eq!(up_to(&generations, "_a-90"), Some(90));
        assert_eq!(up_to(&generations, "_a-91"), None);
        assert_eq!(up_to(&generations, "_b-101"), Some(101));
        assert_eq!(up_to(&generations, "_b-90~0123456789abcdef:7"), Some(90));
        for unknown in ["_c-1", "a-1", "_-1", "_a", "_a-", "_ab-1"] {
            assert_eq!(up_to(&generations, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_later_generation_may_follow_an_early_place() {
        let mut generations = Generations::new("a");
        generations.begin("b", 90);
        generations.begin("c", 50);
        assert_eq!(up_to(&generations, "_a-50"), Some(50));
        assert_eq!(up_to(&generations, "_a-51"), None, "it was lost with b");
        assert_eq!(up_to(&generations, "_b-91"), None);
    }

    #[test]
    fn only_the_last_generations_are_known() {
        let mut generations = Generations::new("first");
        for number in 1..=GENERATIONS_MAX {
            assert!(up_to(&generations, "_first-7").is_some());
            generations.begin(&number.to_string(), 1_000);
        }
        assert_eq!(up_to(&generations, "_first-7"), None);
        assert_eq!(up_to(&generations, "_1-7"), Some(7));
    }
}
