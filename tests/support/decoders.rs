//! Decodes compressed responses with independent decoders. A stream has an end of its coding only
//! if it was finished, so errors about a missing end are ignored.

use std::io::Read;

use starwheel::testing::ClientResponse;

/// The body without its content coding, as far as it has arrived.
pub(crate) fn decoded(answer: &ClientResponse) -> Vec<u8> {
    match answer.header("content-encoding") {
        Some("zstd") => zstd_decoded(&answer.body),
        Some("gzip") => gzip_decoded(&answer.body),
        Some("br") => brotli_decoded(&answer.body),
        Some(other) => panic!("unknown coding {other}"),
        None => answer.body.clone(),
    }
}

/// Whether the body ends as its coding ends, including trailers, with nothing after it. Strict
/// clients treat anything else as a cut body.
#[allow(dead_code, reason = "some tests only read")]
pub(crate) fn is_whole(answer: &ClientResponse) -> bool {
    let bytes = answer.body.as_slice();
    match answer.header("content-encoding") {
        Some("zstd") => {
            let mut context = zstd_safe::DCtx::create();
            let mut piece = [0; 16 * 1024];
            let mut input = zstd_safe::InBuffer::around(bytes);
            loop {
                let mut output = zstd_safe::OutBuffer::around(&mut piece[..]);
                match context.decompress_stream(&mut output, &mut input) {
                    Ok(0) => return input.pos() == bytes.len(),
                    Ok(_) if output.pos() == 0 && input.pos() == bytes.len() => return false,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        }
        Some("gzip") => {
            let mut rest = bytes;
            let mut decoder = flate2::bufread::GzDecoder::new(&mut rest);
            decoder.read_to_end(&mut Vec::new()).is_ok() && rest.is_empty()
        }
        Some("br") => {
            let mut decoder = brotlic::DecompressorReader::new(bytes);
            decoder.read_to_end(&mut Vec::new()).is_ok()
        }
        _ => true,
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
    // An open stream has no end, so the reader finally reports that something is missing.
    let _unexpected_eof = flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded);
    decoded
}

fn brotli_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let _unexpected_eof = brotlic::DecompressorReader::new(bytes).read_to_end(&mut decoded);
    decoded
}
