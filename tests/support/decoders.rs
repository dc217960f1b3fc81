//! Compressed answers as clients read them, with other people's decoders. A stream has no end of its
//! coding unless it was finished, so what a decoder says of a missing one is left unsaid.

use std::io::Read;

use starwheel::testing::Answer;

/// The body without its content coding, as far as it has arrived.
pub(crate) fn decoded(answer: &Answer) -> Vec<u8> {
    match answer.header("content-encoding") {
        Some("zstd") => zstd_decoded(&answer.body),
        Some("gzip") => gzip_decoded(&answer.body),
        Some("br") => brotli_decoded(&answer.body),
        Some(other) => panic!("unknown coding {other}"),
        None => answer.body.clone(),
    }
}

fn zstd_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut context = zstd_safe::DCtx::create();
    let mut decoded = Vec::new();
    let mut piece = [0; 16 * 1024];
    let mut input = zstd_safe::InBuffer::around(bytes);
    loop {
        let mut output = zstd_safe::OutBuffer::around(&mut piece[..]);
        context.decompress_stream(&mut output, &mut input).expect("a zstd stream");
        let length = output.pos();
        decoded.extend_from_slice(&piece[..length]);
        if length < piece.len() && input.pos() == bytes.len() {
            return decoded;
        }
    }
}

fn gzip_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    // The stream has no end, so the reader's last word is that something is missing.
    let _unexpected_eof = flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded);
    decoded
}

fn brotli_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let _unexpected_eof = brotlic::DecompressorReader::new(bytes).read_to_end(&mut decoded);
    decoded
}
