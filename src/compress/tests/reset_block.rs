//! The 22 bytes that zstd's splicing relies on.

use super::{
    decoders::decode,
    stories::{Splice, Topic},
    *,
};
use crate::compress::zstd::{RESET_BLOCK, RESET_OUTPUT, Zstd};

#[test]
fn it_is_one_compressed_block_and_one_comment_line() {
    let header = u32::from_le_bytes([RESET_BLOCK[0], RESET_BLOCK[1], RESET_BLOCK[2], 0]);
    assert_eq!((header & 1, header >> 1 & 3), (0, 2), "not the last, compressed");
    assert_eq!(header >> 3, 19, "the rest of the 22 bytes");
    let decoded = decode(Encoding::Zstd, &[open().as_slice(), &RESET_BLOCK].concat()).unwrap();
    assert_eq!(decoded, RESET_OUTPUT);
    assert_eq!(decoded.len(), 46);
    assert!(decoded.starts_with(b":") && decoded.ends_with(b"\n"));
    assert_eq!(decoded.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
}

/// Blocks whose only sequence gives its offset by its place among the repeat offsets. After a reset
/// block both decoders use 1, 4 and 8 for them, whatever they were before.
#[test]
fn it_leaves_the_repeat_offsets_1_4_and_8() {
    let other_offsets =
        frame_blocks(b"The quick brown fox, the quick red fox, the quick brown hen.");
    let text = b"abcdefghij";
    for (place, offset) in [1, 4, 8].into_iter().enumerate() {
        let repeat = repeat_block(text, place);
        let expected = [text.as_slice(), &text[10 - offset..][..3.min(offset)]].concat();
        let stream = [open().as_slice(), &other_offsets, &RESET_BLOCK, &repeat].concat();
        let decoded = decode(Encoding::Zstd, &stream).unwrap();
        let at_start = decode(Encoding::Zstd, &[open().as_slice(), &repeat].concat()).unwrap();
        assert!(decoded.ends_with(&at_start), "place {place}: not as at the start of a frame");
        let end = &at_start[..expected.len()];
        assert_eq!(end, expected, "place {place}: not the offset {offset}");
        let without = [open().as_slice(), &other_offsets, &repeat].concat();
        let without = decode(Encoding::Zstd, &without);
        assert!(without.is_err() || !without.unwrap().ends_with(&at_start), "place {place}");
    }
}

/// Ten literals and one match of three bytes at repeat offset 1, 2 or 3 (RFC 8878, section 3.1.1.3):
/// the codes of lengths and offset are tables of one symbol.
fn repeat_block(literals: &[u8; 10], place: usize) -> Vec<u8> {
    let literals_header = 10 << 3;
    let (one_sequence, all_tables_of_one_symbol) = (1, 0b01_01_01_00);
    let (literal_length_code, match_length_code) = (10, 0);
    // Offset values 1, 2 and 3: code 0 is 1, code 1 with one more bit is 2 or 3.
    let (offset_code, bits) = [(0, 0b1), (1, 0b10), (1, 0b11)][place];
    let mut content = vec![literals_header];
    content.extend_from_slice(literals);
    content.extend_from_slice(&[one_sequence, all_tables_of_one_symbol]);
    content.extend_from_slice(&[literal_length_code, offset_code, match_length_code, bits]);
    let header = (content.len() as u32) << 3 | 2 << 1;
    [&header.to_le_bytes()[..3], &content].concat()
}

/// The blocks of a frame that change the repeat offsets.
fn frame_blocks(text: &[u8]) -> Vec<u8> {
    let blocks = appended(|out| Zstd::new(19, WINDOW_LOG_MAX).blocks(&[], text, out));
    assert_eq!(blocks[0] >> 1 & 3, 2, "compressed, so that there are sequences");
    blocks
}

fn open() -> Vec<u8> {
    appended(|out| Compressor::new(&Compression::default()).open(Encoding::Zstd, 0, out))
}

#[test]
fn it_is_left_out_where_no_initial_offset_can_be_used() {
    let mut topic = Topic::new(1, Encoding::Zstd, Splice::AsBuilt);
    let mut is_reset = |history: &[u8], message: &[u8]| {
        topic.delta(history, message).bytes.starts_with(&RESET_BLOCK)
    };
    assert!(!is_reset(b"data: {\"load\":0.52}\n\n", b"data: {\"load\":0.61}\n\n"));
    assert!(is_reset(b"data: x\n\n", b"data: aaaa\n\n"), "period 1");
    assert!(is_reset(b"data: x\n\n", b"data: abcdabc\n\n"), "period 4");
    assert!(is_reset(b"data: x\n\n", b"data: abcdefghabc\n\n"), "period 8");
    assert!(!is_reset(b"data: x\n\n", b"data: aaabb\n\n"), "two bytes are no match");
    assert!(is_reset(b"12345678", b"123"), "across the join");
    assert!(is_reset(b"?a", b"aaa"), "across the join");
    assert!(!is_reset(b"?b", b"aaa"));
    assert!(!is_reset(b"?a", b"aa"));
    assert!(is_reset(b"x", &[0, 1, 2, 3, 4, 5, 6, 7, 9].repeat(200)), "large ones are not scanned");
}
