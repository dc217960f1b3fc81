//! Single pieces: headers, stored bytes, complete bodies, memory.

use super::{
    decoders::decode,
    stories::{KEEP_ALIVE, Splice, Tab, Topic},
    *,
};

fn compressor() -> Compressor {
    Compressor::new(&Compression::default())
}

#[test]
fn identity_is_the_bytes_as_they_are() {
    let (mut compressor, mut history) = (compressor(), Vec::new());
    let bytes = appended(|out| {
        compressor.open(Encoding::Identity, 0, out);
        out.extend_from_slice(compressor.reset(Encoding::Identity));
        compressor.key(Encoding::Identity, b"1", out);
        compressor.delta(Encoding::Identity, b"1", b"2", out);
        compressor.raw(Encoding::Identity, b"3", out);
        compressor.note_stored(&mut history, b":", 1);
        compressor.delta_private(Encoding::Identity, &mut history, b"4", out);
        compressor.whole(Encoding::Identity, b"5", out);
    });
    assert_eq!(bytes, b"12345");
    assert_eq!(history.capacity(), 0);
    assert_eq!(compressor.stats(), CompressionCounts::default());
}

#[test]
fn zstd_declares_a_window_between_128_kib_and_8_mib() {
    let window = |bytes| {
        let header = appended(|out| compressor().open(Encoding::Zstd, bytes, out));
        assert_eq!(header[..5], [0x28, 0xb5, 0x2f, 0xfd, 0], "no content size, no checksum");
        assert_eq!(header.len(), 6);
        1_usize << (10 + (header[5] >> 3))
    };
    assert_eq!(window(0), 128 * 1024);
    assert_eq!(window(128 * 1024), 128 * 1024);
    assert_eq!(window(128 * 1024 + 1), 256 * 1024);
    assert_eq!(window(8 * 1024 * 1024 + 1), 8 * 1024 * 1024);
    assert_eq!(window(usize::MAX), 8 * 1024 * 1024);
}

#[test]
fn every_window_is_understood_by_both_decoders() {
    for encoding in codings() {
        for log in 0..26 {
            let mut topic = Topic::new(1, encoding, Splice::AsBuilt);
            let mut tab = Tab::open(&mut topic, 1 << log);
            tab.take(&topic.raw(KEEP_ALIVE)).unwrap();
            tab.take(&topic.key(b"data: hello hello hello\n\n")).unwrap();
            tab.close().unwrap_or_else(|error| panic!("{encoding}, 1 << {log}: {error}"));
        }
    }
}

#[test]
fn stored_bytes_of_any_length() {
    let noise: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
    for encoding in codings() {
        let mut topic = Topic::new(1, encoding, Splice::AsBuilt);
        let mut tab = Tab::open(&mut topic, usize::MAX);
        for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000] {
            let taken = tab.take(&topic.raw(&noise[..length]));
            taken.unwrap_or_else(|error| panic!("{encoding}, {length}: {error}"));
        }
        tab.close().unwrap_or_else(|error| panic!("{encoding}: {error}"));
    }
}

/// However long a stream was quiet, its history is the end of what it was sent, within its limit.
#[test]
fn repeatedly_stored_text_is_part_of_a_history() {
    let settings = Compression { history_bytes: 20, ..Compression::default() };
    let compressor = Compressor::new(&settings);
    for (count, expected) in [
        (0, &b"data: hello\n\n"[..]),
        (2, b"data: hello\n\n:\n:\n"),
        (5, b"ta: hello\n\n:\n:\n:\n:\n:\n"),
        (usize::MAX, b":\n:\n:\n:\n:\n:\n:\n:\n:\n:\n"),
    ] {
        let mut history = b"data: hello\n\n".to_vec();
        compressor.note_stored(&mut history, KEEP_ALIVE, count);
        assert_eq!(history, tail(expected, 20), "{count}");
    }
    let mut history = Vec::new();
    compressor.note_stored(&mut history, KEEP_ALIVE, 7);
    assert_eq!(history.capacity(), 0, "a stream that was sent nothing else owns no memory");
}

#[test]
fn an_empty_message_is_no_bytes() {
    for encoding in codings() {
        let mut compressor = compressor();
        let mut history = b"before".to_vec();
        let bytes = appended(|out| {
            compressor.key(encoding, b"", out);
            compressor.delta(encoding, b"before", b"", out);
            compressor.delta_private(encoding, &mut history, b"", out);
            compressor.raw(encoding, b"", out);
        });
        assert_eq!((bytes.as_slice(), history.as_slice()), (&b""[..], &b"before"[..]));
        assert_eq!(compressor.stats(), CompressionCounts::default());
    }
}

#[test]
fn complete_bodies_are_ordinary_bodies() {
    let text = "All work and no play makes Jack a dull boy.\n".repeat(20_000).into_bytes();
    for encoding in codings() {
        for length in [0, 1, 50, 1024, 200_000, text.len()] {
            let body = &text[..length];
            let bytes = appended(|out| compressor().whole(encoding, body, out));
            assert!(decode(encoding, &bytes).as_deref() == Ok(body), "{encoding}, {length}");
            assert!(
                length < 1024 || bytes.len() < length / 10,
                "{encoding}: {} bytes",
                bytes.len()
            );
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn a_whole_gzip_body_ends_with_its_checksum() {
    use std::io::Read;
    let mut compressor = compressor();
    // Used before, so that no state may remain.
    compressor.key(Encoding::Gzip, b"something else", &mut Vec::new());
    let bytes = appended(|out| compressor.whole(Encoding::Gzip, b"hello hello hello", out));
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello hello hello");
}

/// One delta serves all streams with its history, so it must not depend on anything else.
#[test]
fn the_same_calls_give_the_same_bytes_whatever_came_before() {
    let text = "data: <li>one</li>\ndata: <li>two</li>\n\n".repeat(40);
    let (before, after) = (text.as_bytes(), text.replace("two", "three"));
    for encoding in codings() {
        let delta = |compressor: &mut Compressor| {
            appended(|out| compressor.delta(encoding, before, after.as_bytes(), out))
        };
        let first = delta(&mut compressor());
        let mut used = compressor();
        used.key(encoding, &vec![b'x'; 100_000], &mut Vec::new());
        used.delta(encoding, b"aaaa", b"aaaabbbb", &mut Vec::new());
        used.whole(encoding, before, &mut Vec::new());
        assert!(delta(&mut used) == first && delta(&mut used) == first, "{encoding}");
    }
}

#[test]
fn a_history_that_looks_like_a_dictionary_is_none() {
    let magic = [0x37, 0xa4, 0x30, 0xec];
    for message in [&b"data: 1\n\n"[..], &[b'7'; 2000]] {
        for filler in [0, 4, 10, 200] {
            let history = [&magic[..], &vec![b'7'; filler], b"data: 2\n\n"].concat();
            let mut topic = Topic::new(1, Encoding::Zstd, Splice::AsBuilt);
            let mut tab = Tab::open(&mut topic, usize::MAX);
            tab.take(&topic.key(&history)).unwrap();
            tab.take(&topic.delta(&history, message)).unwrap();
            tab.close().unwrap();
        }
    }
}

#[test]
fn settings_out_of_range_are_brought_into_it() {
    for extreme in [i32::MIN, i32::MAX] {
        let number = extreme.max(0) as usize;
        let settings = Compression {
            zstd_level: extreme,
            gzip_level: number as u32,
            brotli_quality: number as u32,
            history_bytes: number * 4,
            window_bytes_max: number * 4,
            ..Compression::default()
        };
        for encoding in codings() {
            let mut topic = Topic::with(&settings, encoding);
            let mut tab = Tab::open(&mut topic, usize::MAX);
            let mut history = Vec::new();
            for message in ["data: hello\n\n", "data: hello\n\n", "data: jello\n\n"] {
                tab.take(&topic.delta_private(&mut history, message.as_bytes())).unwrap();
            }
            tab.close().unwrap();
        }
    }
}

#[test]
fn small_events_make_small_deltas() {
    let event =
        |load| format!("event: datastar-patch-signals\ndata: signals {{\"load\":{load}}}\n\n");
    let (before, after) = (event("0.52"), event("0.61"));
    for encoding in codings() {
        let delta = appended(|out| {
            compressor().delta(encoding, before.as_bytes(), after.as_bytes(), out);
        });
        assert!(delta.len() <= 40, "{encoding}: {} bytes", delta.len());
    }
}

#[test]
fn compression_is_counted() {
    let mut compressor = compressor();
    let mut out = Vec::new();
    compressor.key(Encoding::Zstd, b"data: 1\n\n", &mut out);
    compressor.delta(Encoding::Zstd, b"data: 1\n\n", b"data: 2\n\n", &mut out);
    compressor.delta_private(Encoding::Zstd, &mut Vec::new(), b"data: 3\n\n", &mut out);
    compressor.whole(Encoding::Zstd, b"<p>", &mut out);
    let counts = compressor.stats();
    assert_eq!((counts.keys, counts.deltas, counts.wholes), (2, 1, 1));
    assert_eq!((counts.bytes_in, counts.bytes_out), (30, out.len() as u64));
}

#[test]
fn nothing_is_allocated_before_it_is_needed_and_large_buffers_are_given_back() {
    let mut compressor = compressor();
    assert!(format!("{compressor:?}").contains("context_bytes: 0, buffer_bytes: 0"));
    compressor.key(Encoding::Zstd, &vec![b'x'; 3_000_000], &mut Vec::new());
    let bytes = vec![b'y'; 3_000_000];
    compressor.delta(Encoding::Zstd, &bytes, &bytes, &mut Vec::new());
    assert!(format!("{compressor:?}").contains("buffer_bytes: 0"), "{compressor:?}");
}
