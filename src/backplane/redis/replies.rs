//! Answers of the store, from RESP2.
//!
//! Everyone who can write to the server can put anything into the keys of a namespace, and what is
//! read goes to browsers. So everything is checked here: places grow, and events are whole.

use std::{str, sync::Arc};

use redis_protocol::resp2::types::OwnedFrame;

use super::{codec::ReplyError, commands::PLACE_MAX};
use crate::{
    span::protocol::{
        Content, Entry, Greeting, History, Recorded, Reply, Request, WATCHED_TOPICS_MAX,
    },
    sse,
    topic::{Compressible, Continues},
};

/// The reply to this request.
pub(crate) fn decode(request: &Request, frame: &OwnedFrame) -> Result<Reply, ReplyError> {
    if let OwnedFrame::Error(reason) = frame {
        return refusal(request, reason.clone());
    }
    match request {
        Request::Greet { floor } => decode_greeting(frame, *floor),
        Request::Append { batch, .. } => decode_append(frame, batch.number),
        Request::Recall(topics) => decode_histories(frame, topics),
        Request::Count { watch, .. } => decode_counts(frame, watch),
        Request::Read { after, .. } => decode_entries(frame, *after),
    }
}

/// A batch can be refused; every other error is one of the connection.
fn refusal(request: &Request, reason: String) -> Result<Reply, ReplyError> {
    let is_refusal = REFUSALS.iter().any(|code| reason.contains(code));
    match request {
        Request::Append { batch, .. } if is_refusal => {
            Ok(Reply::Refused { number: batch.number, reason })
        }
        _ => Err(ReplyError::Server(reason)),
    }
}

fn decode_greeting(frame: &OwnedFrame, floor: u64) -> Result<Reply, ReplyError> {
    const MALFORMED: ReplyError = ReplyError::Malformed("not a greeting");
    let [verb, position, names, watched] = array(frame).ok_or(MALFORMED)? else {
        return Err(MALFORMED);
    };
    let position = place(position).filter(|place| *place >= floor);
    let (Some(b"greeted"), Some(position)) = (bytes(verb), position) else {
        return Err(MALFORMED);
    };
    let names = array(names).filter(|names| !names.is_empty()).ok_or(MALFORMED)?;
    let generations = names.iter().map(|it| read_generation(bytes(it)?));
    let generations = generations.collect::<Option<_>>().ok_or(MALFORMED)?;
    let watched = array(watched).ok_or(MALFORMED)?.iter().take(WATCHED_TOPICS_MAX);
    let watched = watched.filter_map(|name| Some(str::from_utf8(bytes(name)?).ok()?.into()));
    Ok(Reply::Greeted(Greeting { generations, position, watched: watched.collect() }))
}

fn decode_append(frame: &OwnedFrame, number: u64) -> Result<Reply, ReplyError> {
    let reply = array(frame).unwrap_or_default();
    let verb = reply.first().and_then(bytes);
    let up_to = reply.get(1).and_then(place);
    match (verb, up_to) {
        (Some(b"appended"), Some(up_to)) => Ok(Reply::Appended { number, was_known: false, up_to }),
        (Some(b"known"), Some(up_to)) => Ok(Reply::Appended { number, was_known: true, up_to }),
        (Some(b"missing"), None) => Ok(Reply::Missing { number }),
        (Some(b"strange"), None) => Ok(Reply::Strange),
        _ => Err(ReplyError::Malformed("not the answer to a batch")),
    }
}

fn decode_histories(frame: &OwnedFrame, topics: &[Arc<str>]) -> Result<Reply, ReplyError> {
    const MALFORMED: ReplyError = ReplyError::Malformed("not the histories of these topics");
    let (up_to, histories) = match array(frame).ok_or(MALFORMED)? {
        [verb] if bytes(verb) == Some(b"strange") => return Ok(Reply::Strange),
        [verb, up_to, histories @ ..] if bytes(verb) == Some(b"recalled") => {
            (place(up_to).ok_or(MALFORMED)?, histories)
        }
        _ => return Err(MALFORMED),
    };
    if histories.is_empty() || histories.len() > topics.len() {
        return Err(MALFORMED);
    }
    let read = |(topic, history)| read_history(topic, history, up_to);
    let histories = topics.iter().zip(histories).map(read).collect::<Option<_>>();
    Ok(Reply::Recalled { up_to, histories: histories.ok_or(MALFORMED)? })
}

fn decode_counts(frame: &OwnedFrame, watch: &[Arc<str>]) -> Result<Reply, ReplyError> {
    const MALFORMED: ReplyError = ReplyError::Malformed("not the numbers of these topics");
    let [verb, numbers @ ..] = array(frame).ok_or(MALFORMED)? else { return Err(MALFORMED) };
    let is_whole = numbers.is_empty() || numbers.len() == watch.len();
    if bytes(verb) != Some(b"counted") || !is_whole {
        return Err(MALFORMED);
    }
    let counts = watch.iter().zip(numbers).map(|(topic, it)| Some((Arc::clone(topic), place(it)?)));
    Ok(Reply::Counted(counts.collect::<Option<_>>().ok_or(MALFORMED)?))
}

/// An event that cannot be read is lost, and so are those before it.
fn read_history(topic: &Arc<str>, frame: &OwnedFrame, up_to: u64) -> Option<History> {
    let [lost_up_to, elements] = array(frame)? else { return None };
    let mut lost_up_to = place(lost_up_to)?.min(up_to);
    let mut events: Vec<Recorded> = Vec::new();
    for element in array(elements)? {
        let last = events.last().map(|last| last.place);
        let is_in_order = |place| place <= up_to && last.is_none_or(|last| place > last);
        let read = bytes(element).and_then(|bytes| read_recorded(bytes, topic));
        let Some((before, recorded)) = read.filter(|(_, it)| is_in_order(it.place)) else {
            events.clear();
            lost_up_to = up_to;
            continue;
        };
        if last != Some(before) {
            events.clear();
            lost_up_to = before;
        }
        events.push(recorded);
    }
    Some(History { topic: Arc::clone(topic), lost_up_to, events })
}

/// An element of a history, and the place before it.
fn read_recorded(element: &[u8], topic: &str) -> Option<(u64, Recorded)> {
    let (line, entry) = split_line(element)?;
    let mut words = line.split(|byte| *byte == b' ');
    let (place, before) = (read_place(words.next()?)?, read_place(words.next()?)?);
    let event = Event::read(entry).filter(|event| event.topic == topic && before < place)?;
    let Event { compression, continues, events, .. } = event;
    Some((before, Recorded { place, compression, continues, events: events.into() }))
}

fn decode_entries(frame: &OwnedFrame, after: u64) -> Result<Reply, ReplyError> {
    const MALFORMED: ReplyError = ReplyError::Malformed("not entries of a log");
    if let OwnedFrame::Null = frame {
        return Ok(Reply::Entries(Vec::new()));
    }
    let [stream] = array(frame).ok_or(MALFORMED)? else { return Err(MALFORMED) };
    let [_name, rows] = array(stream).ok_or(MALFORMED)? else { return Err(MALFORMED) };
    let rows = array(rows).ok_or(MALFORMED)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
    let mut last = after;
    for row in rows {
        let [id, fields] = array(row).ok_or(MALFORMED)? else { return Err(MALFORMED) };
        let (place, is_ours) = bytes(id).and_then(read_id).ok_or(MALFORMED)?;
        // Foreign ones can share the place of one of ours.
        if place <= last {
            continue;
        }
        let fields = array(fields).unwrap_or_default();
        let content = is_ours.then(|| read_content(fields, place)).flatten();
        entries.push(Entry { place, content: content.unwrap_or(Content::Unreadable) });
        last = place;
    }
    Ok(Reply::Entries(entries))
}

/// What the fields of an entry say; fields that a later release has added are skipped.
fn read_content(fields: &[OwnedFrame], place: u64) -> Option<Content> {
    fields.chunks_exact(2).find_map(|pair| {
        let (name, content) = (bytes(&pair[0])?, bytes(&pair[1])?);
        match name {
            b"e1" => Some(Event::read(content)?.into_content()),
            b"g1" => {
                let (name, follows) = read_generation(content).filter(|it| it.1 < place)?;
                Some(Content::Generation { name, follows })
            }
            _ => None,
        }
    })
}

/// `NAME FOLLOWS`. Later words are skipped.
fn read_generation(text: &[u8]) -> Option<(String, u64)> {
    let mut words = str::from_utf8(text).ok()?.split(' ');
    let (name, follows) = (words.next()?, read_place(words.next()?.as_bytes())?);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| (name.to_owned(), follows))
}

/// What is stored of an event.
struct Event<'a> {
    topic: &'a str,
    compression: Compressible,
    continues: Continues,
    events: &'a [u8],
}

impl<'a> Event<'a> {
    fn read(entry: &'a [u8]) -> Option<Self> {
        let (line, rest) = split_line(entry)?;
        let mut words = line.split(|byte| *byte == b' ');
        let (topic, events) =
            rest.split_at_checked(read_number(words.next()?)?.try_into().ok()?)?;
        let (mut compression, mut continues) = (Compressible::Yes, Continues::Yes);
        for word in words {
            match word {
                b"u" => compression = Compressible::No,
                b"last" => continues = Continues::No,
                _ => {}
            }
        }
        let is_whole = sse::is_whole(events) && memchr::memchr(b'\r', events).is_none();
        let topic = str::from_utf8(topic).ok()?;
        is_whole.then_some(Self { topic, compression, continues, events })
    }

    fn into_content(self) -> Content {
        let Self { topic, compression, continues, events } = self;
        Content::Event { topic: topic.into(), compression, continues, events: events.into() }
    }
}

/// The place of an id of the log, and whether it is of the form that the script gives.
fn read_id(id: &[u8]) -> Option<(u64, bool)> {
    let dash = memchr::memchr(b'-', id)?;
    Some((read_place(&id[..dash])?, &id[dash..] == b"-0"))
}

fn read_place(digits: &[u8]) -> Option<u64> {
    read_number(digits).filter(|place| *place < PLACE_MAX)
}

fn read_number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn array(frame: &OwnedFrame) -> Option<&[OwnedFrame]> {
    match frame {
        OwnedFrame::Array(frames) => Some(frames),
        _ => None,
    }
}

fn bytes(frame: &OwnedFrame) -> Option<&[u8]> {
    match frame {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn place(frame: &OwnedFrame) -> Option<u64> {
    match frame {
        OwnedFrame::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
    .filter(|place| *place < PLACE_MAX)
}

/// Codes of errors after which a batch was not applied and can be sent again: no room, failing
/// snapshots, too few replicas. Redis 6.2 puts words before them.
const REFUSALS: [&str; 3] = ["OOM command not allowed", "MISCONF ", "NOREPLICAS "];

#[cfg(test)]
mod tests;
