//! Handshakes, from a client's first byte to a session. The only file that drives rustls.
//!
//! rustls gets one record at a time. So it never sees a byte after the client's `Finished`: what
//! follows, such as a request or a key update in the same flight, is opened by the session, whose
//! counters begin at zero.

use std::{error::Error, fmt, ops::RangeInclusive, sync::Arc};

use rustls::{
    CipherSuite, HandshakeKind, ProtocolVersion,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError},
};

use super::{
    alert::Alert,
    config::{Kept, TlsConfig},
    keys::Suite,
    overheard::{Found, Overheard},
    record::{self, ContentType, HEADER_BYTES, RECORD_BYTES_MAX},
    session::{Agreed, Session},
};

/// A handshake in progress. It takes 3 to 8 KB, and what the client has sent.
pub(crate) struct Handshake {
    connection: UnbufferedServerConnection,
    overheard: Arc<Overheard>,
    /// Complete records that rustls has not finished with, and then an incomplete one.
    input: Vec<u8>,
    incomplete_bytes: usize,
    received_bytes: usize,
    /// Complete ones.
    received_records: u32,
    output: Vec<u8>,
    stage: Stage,
    kept: Kept,
}

/// Where a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It needs more bytes of the client, and perhaps to send some.
    Running,
    /// Call [`Handshake::finish`].
    Complete,
    Failed,
}

/// What a handshake has agreed on.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "requests do not show all of it yet"))]
pub(crate) struct Established {
    pub(crate) session: Session,
    /// The name that the client has asked for, in lower case (RFC 6066 section 3).
    pub(crate) server_name: Option<Box<str>>,
    /// Whether the client has asked for HTTP/1.1 (RFC 7301), or for no protocol.
    pub(crate) protocol: Protocol,
    /// The client's certificate and those that lead to its authority, in DER; empty unless it was
    /// asked for one.
    pub(crate) client_certificates: Vec<Box<[u8]>>,
    pub(crate) beginning: Beginning,
    /// What requests want to know of it.
    pub(crate) kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Unspecified,
    Http1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With certificates and a signature.
    Full,
    /// The same, with another round trip for the client's key share (RFC 8446 section 4.1.4).
    Retried,
    /// With a ticket.
    Resumed,
}

/// Why a handshake fails. There may be an alert to send.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum HandshakeError {
    /// The first bytes are not those of TLS; perhaps a request in the clear.
    NotTls,
    /// A record longer than the limit.
    RecordOverflow,
    /// More than 64 KiB, or than 512 records.
    TooLong,
    /// The client has no TLS 1.3.
    OldVersion,
    /// The client ended the connection during the handshake.
    Closed,
    /// The server keeps too many bytes of incomplete handshakes already.
    Overload,
    /// Everything else that rustls refuses.
    Refused(rustls::Error),
    /// rustls does not behave as documented, or a suite is unknown to us.
    Internal(&'static str),
}

impl Handshake {
    /// # Errors
    /// If rustls refuses the configuration: only with a configuration of the application.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, HandshakeError> {
        let mut server = config.server().as_ref().clone();
        let overheard = Arc::new(Overheard::of(&server));
        server.key_log = Arc::clone(&overheard) as _;
        server.cert_resolver = Arc::clone(&overheard) as _;
        let connection = UnbufferedServerConnection::new(Arc::new(server));
        Ok(Self {
            connection: connection.map_err(HandshakeError::Refused)?,
            overheard,
            input: Vec::new(),
            incomplete_bytes: 0,
            received_bytes: 0,
            received_records: 0,
            output: Vec::new(),
            stage: Stage::Running,
            kept: config.kept(),
        })
    }

    /// Takes bytes from the start of `input` until the handshake is complete or has failed. What
    /// remains in `input` belongs to the session.
    ///
    /// After each call, [`unsent`](Self::unsent) may have grown, also after an error: by an alert.
    pub(crate) fn receive(&mut self, input: &mut &[u8]) -> Result<Stage, HandshakeError> {
        while self.stage == Stage::Running && !input.is_empty() {
            if let Err(error) = self.receive_record(input) {
                self.stage = Stage::Failed;
                self.push_alert(&error);
                return Err(error);
            }
        }
        Ok(self.stage)
    }

    /// Gives up, with an alert.
    pub(crate) fn refuse(&mut self, error: &HandshakeError) {
        self.stage = Stage::Failed;
        self.push_alert(error);
    }

    /// Whether the client's first flight has been answered, with a signature or a ticket. A request
    /// for another key share is no such answer.
    pub(crate) fn has_answered(&self) -> bool {
        self.overheard.found().server.is_some()
    }

    /// Bytes of the client that are kept: an incomplete record or message.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.input.len()
    }

    /// Bytes to send, in order. Tell [`sent`](Self::sent) how many have left.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.output
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes);
    }

    /// The result. `unread` are the bytes after the handshake; unsent bytes become the session's.
    ///
    /// # Errors
    /// If the handshake is not [complete](Stage::Complete).
    pub(crate) fn finish(self, unread: &[u8]) -> Result<Established, HandshakeError> {
        if self.stage != Stage::Complete {
            return Err(HandshakeError::Internal("the handshake is not complete"));
        }
        let connection = self.connection;
        let protocol = match connection.alpn_protocol() {
            Some(_) => Protocol::Http1, // The only one that is offered.
            None => Protocol::Unspecified,
        };
        let certificates = connection.peer_certificates().unwrap_or_default();
        let client_certificates = certificates.iter().map(|der| der.as_ref().into()).collect();
        let beginning = match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => Beginning::Resumed,
            Some(HandshakeKind::FullWithHelloRetryRequest) => Beginning::Retried,
            _ => Beginning::Full,
        };
        let (extracted, kernel) =
            connection.dangerous_into_kernel_connection().map_err(HandshakeError::Refused)?;
        let suite = suite(kernel.negotiated_cipher_suite().suite())
            .ok_or(HandshakeError::Internal("an unknown cipher suite"))?;
        let (Ok(sent_records), 0) = (u32::try_from(extracted.tx.0), extracted.rx.0) else {
            return Err(HandshakeError::Internal("records of the client were opened"));
        };
        let Found { client: Some(receiving), server: Some(sending), server_name } =
            self.overheard.take()
        else {
            return Err(HandshakeError::Internal("traffic secrets were not logged"));
        };
        let (unsent, unread) = (self.output, unread.to_vec());
        let agreed = Agreed { suite, sending, receiving, sent_records, unsent, unread };
        let (session, kept) = (Session::new(agreed), self.kept);
        Ok(Established { session, server_name, protocol, client_certificates, beginning, kept })
    }

    /// Takes a part of a record; if it completes the record, rustls gets it.
    fn receive_record(&mut self, input: &mut &[u8]) -> Result<(), HandshakeError> {
        let missing_bytes = self.missing_bytes();
        let (taken, rest) = input.split_at(missing_bytes.min(input.len()));
        *input = rest;
        self.input.extend_from_slice(taken);
        self.incomplete_bytes += taken.len();
        self.received_bytes += taken.len();
        if self.received_bytes > HANDSHAKE_BYTES_MAX {
            return Err(HandshakeError::TooLong);
        }
        let incomplete = &self.input[self.input.len() - self.incomplete_bytes..];
        check_header(incomplete)?;
        if self.missing_bytes() > 0 {
            return Ok(());
        }
        self.incomplete_bytes = 0;
        self.received_records += 1;
        if self.received_records > HANDSHAKE_RECORDS_MAX {
            return Err(HandshakeError::TooLong);
        }
        self.advance()
    }

    /// Bytes until the end of the header, and then until the end of the record.
    fn missing_bytes(&self) -> usize {
        let incomplete = &self.input[self.input.len() - self.incomplete_bytes..];
        match incomplete.first_chunk() {
            Some(header) => record_bytes(header) - incomplete.len(),
            None => HEADER_BYTES - incomplete.len(),
        }
    }

    /// Lets rustls work on the complete records until it needs another one.
    fn advance(&mut self) -> Result<(), HandshakeError> {
        loop {
            let status = self.connection.process_tls_records(&mut self.input);
            let discard_bytes = status.discard;
            let next = match status.state.map_err(HandshakeError::Refused)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    push_encoded(|out| data.encode(out), &mut self.output)?;
                    Next::Again
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done(); // It is in `output`.
                    Next::Again
                }
                ConnectionState::BlockedHandshake => Next::NeedsInput,
                ConnectionState::WriteTraffic(_) => Next::Complete,
                ConnectionState::PeerClosed | ConnectionState::Closed => Next::Closed,
                _ => return Err(HandshakeError::Internal("data before the end of the handshake")),
            };
            self.input.drain(..discard_bytes);
            // Before the answer to such a client leaves.
            if self.connection.protocol_version().is_some_and(|it| it != ProtocolVersion::TLSv1_3) {
                self.output.clear();
                return Err(HandshakeError::OldVersion);
            }
            match next {
                Next::Again => {}
                Next::NeedsInput => return Ok(()),
                Next::Complete => {
                    self.stage = Stage::Complete;
                    return Ok(());
                }
                Next::Closed => return Err(HandshakeError::Closed),
            }
        }
    }

    /// Queues the alert that explains the error.
    fn push_alert(&mut self, error: &HandshakeError) {
        let alert = match error {
            HandshakeError::Refused(_) => {
                let unsent_bytes = self.output.len();
                self.push_queued();
                if self.output.len() > unsent_bytes || error.is_reported() {
                    return;
                }
                // For some errors, such as records between the parts of a message, rustls has none.
                Alert::UNEXPECTED_MESSAGE
            }
            HandshakeError::NotTls | HandshakeError::TooLong => Alert::UNEXPECTED_MESSAGE,
            HandshakeError::RecordOverflow => Alert::RECORD_OVERFLOW,
            HandshakeError::OldVersion => Alert::PROTOCOL_VERSION,
            HandshakeError::Internal(_) | HandshakeError::Overload => Alert::INTERNAL_ERROR,
            HandshakeError::Closed => return,
        };
        let suite = self.connection.negotiated_cipher_suite().and_then(|it| suite(it.suite()));
        match (&self.overheard.found().server, suite) {
            (None, _) => {
                let [level, description] = alert.message();
                self.output.extend_from_slice(&[21, 3, 3, 0, 2, level, description]);
            }
            // After our `Finished`, alerts are protected with the key for data. rustls makes no such
            // alert on demand, but it has used no number of this key: its first record would be an
            // alert of its own, or a ticket after the client's `Finished`.
            (Some(secret), Some(suite)) if !matches!(error, HandshakeError::Internal(_)) => {
                let push = |out: &mut Vec<u8>| out.extend_from_slice(&alert.message());
                let cipher = secret.keys(suite).cipher(suite);
                record::seal(&cipher, 0, ContentType::Alert, push, &mut self.output);
            }
            // Nobody knows which numbers have been used.
            (Some(_), _) => {}
        }
    }

    /// What rustls wanted to send before its error, and its alert.
    ///
    /// It must not be called again once all of that is here: it would go on with messages of the
    /// failed record, and it panics if they are not in the buffer any more.
    fn push_queued(&mut self) {
        while self.connection.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(&mut []).state
            && push_encoded(|out| data.encode(out), &mut self.output).is_ok()
        {}
    }
}

impl HandshakeError {
    /// Whether the client has no TLS 1.3. rustls may find that out before us.
    pub(crate) fn is_old_version(&self) -> bool {
        use rustls::{Error, PeerIncompatible as Peer};
        match self {
            Self::OldVersion => true,
            Self::Refused(Error::PeerIncompatible(why)) => matches!(
                why,
                Peer::SupportedVersionsExtensionRequired
                    | Peer::Tls12NotOffered
                    | Peer::Tls12NotOfferedOrEnabled
            ),
            _ => false,
        }
    }

    /// Whether the client has reported it with an alert.
    pub(crate) fn is_reported(&self) -> bool {
        matches!(self, Self::Refused(rustls::Error::AlertReceived(_)))
    }
}

enum Next {
    Again,
    NeedsInput,
    Complete,
    Closed,
}

/// Refuses what is no record of TLS when its first wrong byte is there, and what is too long.
/// rustls checks the rest.
fn check_header(record: &[u8]) -> Result<(), HandshakeError> {
    let is_other_type = |byte: &u8| !CONTENT_TYPES.contains(byte);
    if record.first().is_some_and(is_other_type) || record.get(1).is_some_and(|byte| *byte != 3) {
        return Err(HandshakeError::NotTls);
    }
    match record.first_chunk().map(record_bytes) {
        Some(bytes) if bytes > RECORD_BYTES_MAX => Err(HandshakeError::RecordOverflow),
        _ => Ok(()),
    }
}

fn record_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]))
}

/// Appends what `encode` writes. It says how much room it needs.
fn push_encoded(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    out: &mut Vec<u8>,
) -> Result<(), HandshakeError> {
    let start = out.len();
    let needed_bytes = match encode(&mut []) {
        Ok(bytes) => bytes,
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        Err(EncodeError::AlreadyEncoded) => 0,
    };
    out.resize(start + needed_bytes, 0);
    match encode(&mut out[start..]) {
        Ok(_) | Err(EncodeError::AlreadyEncoded) => Ok(()),
        Err(_) => Err(HandshakeError::Internal("a message does not fit the room that it needs")),
    }
}

fn suite(suite: CipherSuite) -> Option<Suite> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Suite::Aes128GcmSha256),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Suite::Aes256GcmSha384),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Suite::Chacha20Poly1305Sha256),
        _ => None,
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("stage", &self.stage)
            .field("received_bytes", &self.received_bytes)
            .field("unsent_bytes", &self.output.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("not a TLS handshake"),
            Self::RecordOverflow => f.write_str("TLS record too long"),
            Self::TooLong => write!(
                f,
                "TLS handshake longer than {HANDSHAKE_BYTES_MAX} bytes or {HANDSHAKE_RECORDS_MAX} \
                 records"
            ),
            Self::OldVersion => f.write_str("the client does not support TLS 1.3"),
            Self::Closed => f.write_str("the client closed the connection in the handshake"),
            Self::Overload => f.write_str("too many bytes of incomplete TLS handshakes"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::Internal(what) => write!(f, "TLS: {what}"),
        }
    }
}

impl Error for HandshakeError {}

/// change_cipher_spec, alert, handshake and application_data (RFC 8446 section 5.1).
const CONTENT_TYPES: RangeInclusive<u8> = 20..=23;
/// Client certificates are the largest part. Chains have some kilobytes.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// rustls works on each record, and in 64 KiB there may be ten thousand of them. With records of
/// 27 bytes, the smallest that rustls sends, a chain of 2 KB takes 76.
const HANDSHAKE_RECORDS_MAX: u32 = 512;
