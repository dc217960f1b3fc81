//! A stream that joins at any time, misses events and gets private ones in between decodes exactly
//! what was sent.

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{
    stories::{
        KEEP_ALIVE, Message, Piece, Splice, Story, Tab, Topic, message, messages, part, story,
    },
    *,
};

#[test]
fn every_join_of_zstd_decodes_to_what_was_sent() {
    every_join_decodes(Encoding::Zstd, cases(250));
}

#[cfg(feature = "gzip")]
#[test]
fn every_join_of_gzip_decodes_to_what_was_sent() {
    every_join_decodes(Encoding::Gzip, cases(150));
}

#[cfg(feature = "brotli")]
#[test]
fn every_join_of_brotli_decodes_to_what_was_sent() {
    every_join_decodes(Encoding::Brotli, cases(60));
}

fn every_join_decodes(encoding: Encoding, cases: u32) {
    let mut runner = TestRunner::new(config(cases));
    let told = runner
        .run(&story(), |story| story.tell(encoding, Splice::AsBuilt).map_err(TestCaseError::fail));
    told.unwrap_or_else(|error| panic!("{encoding}: {error}"));
}

/// The control: the same stories find the fault that the reset block repairs.
#[test]
fn without_the_reset_block_many_joins_go_wrong() {
    let mut runner = TestRunner::deterministic();
    let stories: Vec<Story> =
        (0..100).map(|_| story().new_tree(&mut runner).unwrap().current()).collect();
    let told_wrong =
        |splice| stories.iter().filter(|story| story.tell(Encoding::Zstd, splice).is_err()).count();
    assert_eq!(told_wrong(Splice::AsBuilt), 0);
    let wrong = told_wrong(Splice::WithoutReset);
    assert!(wrong >= 10, "only {wrong} of 100 stories noticed that there was no reset block");
}

#[test]
fn private_streams_decode_to_what_was_sent() {
    let events = vec((message(), prop::option::weighted(0.2, part())), 1..10);
    let history_bytes = prop_oneof![0_usize..60, 0_usize..40_000];
    let mut runner = TestRunner::new(config(cases(120)));
    let plan = (-3_i32..=19, history_bytes, events);
    let told = runner.run(&plan, |(level, history_bytes, events)| {
        for encoding in codings() {
            let (texts, privates): (Vec<Message>, Vec<_>) = events.iter().cloned().unzip();
            let mut stream = PrivateStream::open(level, encoding, history_bytes);
            for (text, private) in messages(&texts).iter().zip(privates) {
                stream.send(text).map_err(TestCaseError::fail)?;
                if let Some(part) = private {
                    stream.send_raw(&appended(|out| part.append_to(out, text)))?;
                }
            }
            stream.tab.close().map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}

/// Two streams that differ only in their secrets differ nowhere else on the wire.
#[test]
fn nothing_refers_to_a_secret() {
    let events = vec((message(), prop::option::weighted(0.4, part())), 1..10);
    let history_bytes = prop_oneof![0_usize..60, 0_usize..40_000];
    let mut runner = TestRunner::new(config(cases(120)));
    let plan = (-3_i32..=19, history_bytes, events);
    let told = runner.run(&plan, |(level, history_bytes, events)| {
        for encoding in codings() {
            let (texts, secrets): (Vec<Message>, Vec<_>) = events.iter().cloned().unzip();
            let open = || PrivateStream::open(level, encoding, history_bytes);
            let [mut one, mut other] = [open(), open()];
            for (message, secret) in messages(&texts).iter().zip(secrets) {
                let text = as_text(message);
                if let Some(part) = secret {
                    // It resembles the next event, so that there is something to refer to.
                    let mut secret = as_text(&appended(|out| part.append_to(out, &text)));
                    secret.extend_from_slice(b"\n\n");
                    one.send_secret(&secret).map_err(TestCaseError::fail)?;
                    let length = secret.len() - 2;
                    secret[..length].fill(b'?');
                    other.send_secret(&secret).map_err(TestCaseError::fail)?;
                }
                let sent = one.send(&text).map_err(TestCaseError::fail)?;
                prop_assert_eq!(sent, other.send(&text).map_err(TestCaseError::fail)?);
            }
            one.tab.close().map_err(TestCaseError::fail)?;
            other.tab.close().map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}

/// Events are UTF-8; noise is not.
fn as_text(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte & 0x7f).collect()
}

struct PrivateStream {
    topic: Topic,
    tab: Tab,
    history: Vec<u8>,
    history_bytes: usize,
    /// Everything decoded so far, as far as later events may refer to it.
    known: Vec<u8>,
    /// Keep-alives since the last event.
    keep_alives: usize,
}

impl PrivateStream {
    fn open(level: i32, encoding: Encoding, history_bytes: usize) -> Self {
        let settings = Compression { history_bytes, ..settings(level) };
        let mut topic = Topic::with(&settings, encoding);
        let tab = Tab::open(&mut topic, usize::MAX);
        let (history, known) = (Vec::new(), Vec::new());
        Self { topic, tab, history, history_bytes, known, keep_alives: 0 }
    }

    /// Returns the bytes on the wire.
    fn send(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.note_keep_alives();
        let piece = self.topic.delta_private(&mut self.history, message);
        self.known.extend_from_slice(&piece.decoded);
        self.tab.take(&piece)?;
        self.check_history()?;
        for _ in 0..message.len() % 4 {
            self.tab.take(&self.topic.raw(KEEP_ALIVE))?;
            self.keep_alives += 1;
        }
        Ok(piece.bytes)
    }

    fn note_keep_alives(&mut self) {
        let count = std::mem::take(&mut self.keep_alives);
        if !self.history.is_empty() {
            self.known.extend_from_slice(&KEEP_ALIVE.repeat(count));
        }
        self.topic.note_stored(&mut self.history, KEEP_ALIVE, count);
    }

    fn send_secret(&mut self, text: &[u8]) -> Result<(), String> {
        self.note_keep_alives();
        let piece = self.topic.secret_private(&mut self.history, text);
        self.known.extend_from_slice(&concealed(text));
        self.tab.take(&piece)?;
        self.check_history()
    }

    fn check_history(&self) -> Result<(), String> {
        let expected = tail(&self.known, self.history_bytes);
        if self.history != expected || self.history.capacity() > self.history_bytes.max(8) {
            return Err("the history is not the end of the output, or too large".into());
        }
        Ok(())
    }

    fn send_raw(&mut self, bytes: &[u8]) -> Result<(), TestCaseError> {
        self.note_keep_alives();
        let piece: Piece = self.topic.raw(bytes);
        self.known.extend_from_slice(bytes);
        self.history = tail(&self.known, self.history_bytes).to_vec();
        self.tab.take(&piece).map_err(TestCaseError::fail)
    }
}

/// Events and histories that do not fit a window together become keys that stay within it.
#[test]
fn events_that_exceed_the_window_become_keys() {
    let rows = |salt| vec![stories::Part::Rows { count: 3000, salt }];
    let large = messages(&[rows(1), rows(2), rows(3)]);
    assert!(large[0].len() > 128 * 1024);
    for encoding in codings() {
        let settings = Compression { window_bytes_max: 128 * 1024, ..settings(3) };
        let mut topic = Topic::with(&settings, encoding);
        let mut tab = Tab::open(&mut topic, usize::MAX);
        tab.take(&topic.key(&large[0])).unwrap();
        for pair in large.windows(2) {
            let delta = topic.delta(&pair[0], &pair[1]);
            tab.take(&delta).unwrap_or_else(|error| panic!("{encoding}: {error}"));
        }
        tab.close().unwrap_or_else(|error| panic!("{encoding}: {error}"));
    }
}

/// Two megabytes, eight-megabyte window: the history starts far before the default window of level
/// 1.
#[test]
fn a_large_page_is_a_delta_of_a_few_bytes() {
    let rows = |salt| vec![stories::Part::Noise { bytes: 290_000, seed: salt }];
    let page = messages(&[rows(1), rows(2), rows(3), rows(4), rows(5), rows(6)]).concat();
    let mut next = page.clone();
    next[1_000_000..1_000_004].copy_from_slice(b"news");
    let mut topic = Topic::new(1, Encoding::Zstd, Splice::AsBuilt);
    let mut tab = Tab::open(&mut topic, window_for(page.len(), next.len()));
    tab.take(&topic.key(&page)).unwrap();
    for (before, after) in [(&page, &next), (&next, &page)] {
        tab.take(&topic.delta(before, after)).unwrap();
    }
    tab.close().unwrap();
}

/// The brotli encoder cuts a match that starts at the last byte of its dictionary to one byte,
/// which the format does not have: it panicked here, and wrote invalid output in release builds.
#[cfg(feature = "brotli")]
#[test]
fn no_brotli_match_starts_at_the_end_of_the_dictionary() {
    for (history, message) in [
        (&b"bbccbabcaa"[..], &b"bbccbccaabbaccaba"[..]),
        (b"aacabbcaca", b"ccaaacaacacccbbbacca"),
        (b"caccbccaba", b"abaabbbaababccbccbcccbbbaabcbaabaaabaab"),
        (b"abcdefghabcdefgh", b"defgabcdefghabcdefgh"),
    ] {
        for quality in 2..=4 {
            let mut topic = Topic::new(quality, Encoding::Brotli, Splice::AsBuilt);
            let mut tab = Tab::open(&mut topic, usize::MAX);
            tab.take(&topic.key(history)).unwrap();
            tab.take(&topic.delta(history, message)).unwrap();
            tab.close().unwrap();
        }
    }
}

fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 2000, failure_persistence: None, ..Config::default() }
}
