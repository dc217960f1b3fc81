//! Two decoders for each coding, by different authors, with one interface.

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::*;

pub(super) trait Decoder {
    fn name(&self) -> &'static str;
    /// Appends what can be decoded now.
    fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String>;
    /// Appends what the decoder has held back so far. None of ours should, except ruzstd.
    fn finish(&mut self, _output: &mut Vec<u8>) -> Result<(), String> {
        Ok(())
    }
    /// Whether all input so far has been decoded.
    fn is_prompt(&self) -> bool {
        true
    }
}

pub(super) fn decoders(encoding: Encoding) -> [Box<dyn Decoder>; 2] {
    match encoding {
        Encoding::Zstd => [Box::new(Libzstd::new()), Box::<Ruzstd>::default()],
        #[cfg(feature = "gzip")]
        Encoding::Gzip => [Box::new(inflate::ZlibRs::new()), Box::new(inflate::MinizOxide::new())],
        #[cfg(feature = "brotli")]
        Encoding::Brotli => [Box::new(unbrotli::InRust::new()), Box::new(unbrotli::InC::new())],
        _ => [Box::new(Plain), Box::new(Plain)],
    }
}

/// Decodes a complete body with both decoders, which must agree.
pub(super) fn decode(encoding: Encoding, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let [first, second] = decoders(encoding).map(|mut decoder| {
        let mut output = Vec::new();
        decoder.feed(bytes, &mut output)?;
        decoder.finish(&mut output)?;
        Ok::<_, String>(output)
    });
    let (first, second) = (first?, second?);
    if first == second { Ok(first) } else { Err("the decoders do not agree".into()) }
}

struct Plain;

impl Decoder for Plain {
    fn name(&self) -> &'static str {
        "none"
    }

    fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        output.extend_from_slice(bytes);
        Ok(())
    }
}

/// The reference implementation in C; as strict about windows as browsers.
struct Libzstd(DCtx<'static>);

impl Libzstd {
    fn new() -> Self {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).unwrap();
        Self(context)
    }
}

impl Decoder for Libzstd {
    fn name(&self) -> &'static str {
        "libzstd"
    }

    fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut input = InBuffer::around(bytes);
        loop {
            let mut out = OutBuffer::around(buffer.as_mut_slice());
            let result = self.0.decompress_stream(&mut out, &mut input);
            result.map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
            let written = out.pos();
            output.extend_from_slice(&buffer[..written]);
            if written < BUFFER_BYTES && input.pos() == bytes.len() {
                return Ok(());
            }
        }
    }
}

/// An independent implementation in Rust. It holds back a window of output until the frame ends, so
/// the frame is ended for it.
#[derive(Default)]
struct Ruzstd {
    bytes: Vec<u8>,
    output_bytes: usize,
}

impl Decoder for Ruzstd {
    fn name(&self) -> &'static str {
        "ruzstd"
    }

    fn feed(&mut self, bytes: &[u8], _output: &mut Vec<u8>) -> Result<(), String> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), String> {
        let ended = |bytes: &[u8]| [bytes, &[1, 0, 0]].concat();
        let is_endless = self.bytes.get(4) == Some(&0);
        let bytes = if is_endless { ended(&self.bytes) } else { self.bytes.clone() };
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        decoder.set_max_window_size(1 << WINDOW_LOG_MAX);
        let mut source = bytes.as_slice();
        decoder.init(&mut source).map_err(|error| error.to_string())?;
        let all = ruzstd::decoding::BlockDecodingStrategy::All;
        decoder.decode_blocks(&mut source, all).map_err(|error| error.to_string())?;
        output.extend_from_slice(&decoder.collect().unwrap_or_default());
        self.output_bytes = output.len();
        Ok(())
    }

    fn is_prompt(&self) -> bool {
        false
    }
}

#[cfg(feature = "gzip")]
mod inflate {
    use miniz_oxide::{
        DataFormat, MZError, MZFlush,
        inflate::stream::{InflateState, inflate},
    };

    use super::*;

    pub(super) struct ZlibRs(flate2::Decompress);

    impl ZlibRs {
        pub(super) fn new() -> Self {
            Self(flate2::Decompress::new_gzip(15))
        }
    }

    impl Decoder for ZlibRs {
        fn name(&self) -> &'static str {
            "zlib-rs"
        }

        fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut taken = 0;
            loop {
                let (bytes_in, bytes_out) = (self.0.total_in(), self.0.total_out());
                let flush = flate2::FlushDecompress::Sync;
                let status = self.0.decompress(&bytes[taken..], &mut buffer, flush);
                let status = status.map_err(|error| error.to_string())?;
                taken += (self.0.total_in() - bytes_in) as usize;
                let written = (self.0.total_out() - bytes_out) as usize;
                output.extend_from_slice(&buffer[..written]);
                if status == flate2::Status::StreamEnd
                    || (taken == bytes.len() && written < BUFFER_BYTES)
                {
                    return Ok(());
                }
            }
        }
    }

    /// Raw inflate: the header is skipped here, a trailer is left alone.
    pub(super) struct MinizOxide {
        state: Box<InflateState>,
        header_bytes: usize,
    }

    impl MinizOxide {
        pub(super) fn new() -> Self {
            Self { state: InflateState::new_boxed(DataFormat::Raw), header_bytes: 10 }
        }
    }

    impl Decoder for MinizOxide {
        fn name(&self) -> &'static str {
            "miniz_oxide"
        }

        fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
            let skipped = self.header_bytes.min(bytes.len());
            self.header_bytes -= skipped;
            let mut bytes = &bytes[skipped..];
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                let result = inflate(&mut self.state, bytes, &mut buffer, MZFlush::Sync);
                match result.status {
                    Ok(_) | Err(MZError::Buf) => {}
                    Err(error) => return Err(format!("{error:?}")),
                }
                bytes = &bytes[result.bytes_consumed..];
                output.extend_from_slice(&buffer[..result.bytes_written]);
                if result.bytes_consumed == 0 && result.bytes_written == 0 {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(feature = "brotli")]
mod unbrotli {
    use ::brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};

    use super::*;

    type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

    pub(super) struct InRust(Box<State>);

    impl InRust {
        pub(super) fn new() -> Self {
            let alloc = StandardAlloc::default;
            Self(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
        }
    }

    impl Decoder for InRust {
        fn name(&self) -> &'static str {
            "brotli in Rust"
        }

        fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
            let mut buffer = vec![0; BUFFER_BYTES];
            let (mut left, mut taken, mut total) = (bytes.len(), 0, 0);
            loop {
                let (mut room, mut written) = (BUFFER_BYTES, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut taken,
                    bytes,
                    &mut room,
                    &mut written,
                    &mut buffer,
                    &mut total,
                    &mut self.0,
                );
                output.extend_from_slice(&buffer[..written]);
                match result {
                    BrotliResult::NeedsMoreOutput => {}
                    // It may have more than it had room for.
                    BrotliResult::NeedsMoreInput if room == 0 => {}
                    BrotliResult::NeedsMoreInput | BrotliResult::ResultSuccess => return Ok(()),
                    BrotliResult::ResultFailure => return Err("malformed".into()),
                }
            }
        }
    }

    pub(super) struct InC(brotlic::BrotliDecoder);

    impl InC {
        pub(super) fn new() -> Self {
            Self(brotlic::BrotliDecoder::new())
        }
    }

    impl Decoder for InC {
        fn name(&self) -> &'static str {
            "brotli in C"
        }

        fn feed(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut bytes = bytes;
            loop {
                let result = self.0.decompress(bytes, &mut buffer);
                let result = result.map_err(|error| format!("{error:?}"))?;
                bytes = &bytes[result.bytes_read..];
                output.extend_from_slice(&buffer[..result.bytes_written]);
                if result.bytes_read == 0 && result.bytes_written == 0 {
                    return Ok(());
                }
            }
        }
    }
}

const BUFFER_BYTES: usize = 64 * 1024;
