//! Streams of a tag end on all machines.
//!
//! A request for it is an event on a topic of the namespace that no program can name. All reactors read
//! it, so it comes in order with other events, and one that was out of reach finds it in the history.

use super::Core;
use crate::{
    engine::{
        api::Ending,
        remote::{Outlet, TrySendError},
    },
    span::Publication,
    topic::{Compressible, Continues, Placed, Topic},
};

impl Core {
    pub(in crate::engine) fn close_tagged_on_machines(
        &mut self,
        tag: &str,
        ending: Ending,
    ) -> Result<(), TrySendError<()>> {
        self.close_tagged_on_all(tag, ending);
        self.mailbox.outlet().map_or(Ok(()), |outlet| close_elsewhere(&**outlet, tag, ending))
    }

    /// From here on, this reactor does what other machines ask for. Everything after this place is new.
    pub(super) fn obey_closings(&mut self, place: u64) {
        self.closings_up_to = place;
        if let Some(outlet) = self.mailbox.outlet() {
            outlet.begin_use(&Topic::closings());
        }
    }

    /// What was asked for on another machine, or on this one. True if it was that.
    pub(super) fn obey(&mut self, placed: &Placed) -> bool {
        if !placed.topic().is_closings() {
            return false;
        }
        if placed.sequence() > self.closings_up_to {
            self.closings_up_to = placed.sequence();
            if let Some((tag, ending)) = decode(&placed.frame().events()) {
                for id in self.tags.with(&tag).collect::<Vec<_>>() {
                    self.close(id, ending.into());
                }
            }
        }
        true
    }
}

/// Passes the request on to other processes, if there are any.
pub(in crate::engine) fn close_elsewhere(
    outlet: &dyn Outlet,
    tag: &str,
    ending: Ending,
) -> Result<(), TrySendError<()>> {
    if !outlet.reaches_others() {
        return Ok(());
    }
    let (topic, event) = (Topic::closings(), encode(tag, ending));
    let (compression, continues) = (Compressible::No, Continues::Yes);
    let (events, once) = (&[&*event], None);
    let publication = Publication { topic: &topic, events, compression, continues, once };
    outlet.publish(publication).map_err(Into::into)
}

/// The tag may have any characters, so its bytes are written in hexadecimal.
fn encode(tag: &str, ending: Ending) -> Vec<u8> {
    let name = match ending {
        Ending::Finish => FINISH,
        Ending::Drop => DROP,
    };
    let digits: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("event: {name}\ndata: {digits}\n\n").into_bytes()
}

/// `None` for what no release up to this one writes.
fn decode(event: &[u8]) -> Option<(String, Ending)> {
    let text = std::str::from_utf8(event).ok()?;
    let value = |field: &str| text.lines().find_map(|line| line.strip_prefix(field));
    let ending = match value("event: ")? {
        FINISH => Ending::Finish,
        DROP => Ending::Drop,
        _ => return None,
    };
    let digits: Option<Vec<_>> = value("data: ")?.chars().map(|it| it.to_digit(16)).collect();
    let (pairs, []) = digits.as_ref()?.as_chunks() else { return None };
    let tag = pairs.iter().map(|[high, low]| (high * 16 + low) as u8).collect();
    Some((String::from_utf8(tag).ok()?, ending))
}

const FINISH: &str = "finish";
const DROP: &str = "drop";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for tag in ["", "anna", "a\nb\r\n\n", "event: drop", "\u{0}\u{10ffff}é"] {
            for ending in [Ending::Finish, Ending::Drop] {
                let event = encode(tag, ending);
                assert_eq!(decode(&event), Some((tag.to_owned(), ending)), "{tag:?}");
                let with_id = [&event[..event.len() - 1], b"id: _a-1\n\n"].concat();
                assert_eq!(decode(&with_id), Some((tag.to_owned(), ending)), "{tag:?}");
            }
        }
    }

    #[test]
    fn anything_else_is_not_obeyed() {
        for event in ["", "data: 61\n\n", "event: drop\n\n", "event: later\ndata: 61\n\n"] {
            assert_eq!(decode(event.as_bytes()), None, "{event:?}");
        }
        for digits in ["6", "616", "zz", "ff", "+1", "é"] {
            let event = format!("event: drop\ndata: {digits}\n\n");
            assert_eq!(decode(event.as_bytes()), None, "{digits:?}");
        }
    }
}
