//! Why a connection ends, and the alert that says so to the peer (RFC 8446 section 6).

use std::{error::Error, fmt};

/// What a client did that ends its established connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record of a type that may not come now, also unprotected ones (sections 5, 5.1).
    UnexpectedRecord,
    /// A record longer than the limits, with its padding (sections 5.1, 5.2, 5.4).
    RecordOverflow,
    /// A record that is not authentic (section 5.2).
    BadRecordMac,
    /// A handshake message other than KeyUpdate after the handshake, data between the fragments of
    /// one, or bytes after a KeyUpdate (sections 4.6, 5.1).
    UnexpectedMessage,
    /// An alert or a handshake message without content (section 5.4).
    EmptyMessage,
    /// A KeyUpdate or an alert of the wrong length (sections 4.6.3, 5.1, 6).
    Malformed,
    /// A KeyUpdate with an unknown request (section 4.6.3).
    IllegalKeyUpdate,
    /// More than 32 records in a row that carry no data.
    NoData,
    /// 2^32 records under one key.
    KeyWorn,
    /// The server keeps too many bytes of incomplete records already (a limit of ours).
    Overload,
    /// A record was not complete in time (a limit of ours).
    Unfinished,
    /// The client reported this error (section 6.2).
    Reported(u8),
    /// The connection ended without `close_notify`: what was received may be a part (section 6.1).
    Cut,
}

/// What an alert says (RFC 8446 appendix B.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alert(u8);

impl Fault {
    /// The alert to send. `None`: the peer needs none.
    pub(super) fn alert(self) -> Option<Alert> {
        match self {
            Self::UnexpectedRecord | Self::UnexpectedMessage => Some(Alert::UNEXPECTED_MESSAGE),
            Self::EmptyMessage | Self::NoData => Some(Alert::UNEXPECTED_MESSAGE),
            Self::RecordOverflow => Some(Alert::RECORD_OVERFLOW),
            Self::BadRecordMac => Some(Alert::BAD_RECORD_MAC),
            Self::Malformed => Some(Alert::DECODE_ERROR),
            Self::IllegalKeyUpdate => Some(Alert::ILLEGAL_PARAMETER),
            // Section 6.2: what has nothing to do with the peer, such as a lack of memory.
            Self::KeyWorn | Self::Overload => Some(Alert::INTERNAL_ERROR),
            Self::Reported(_) | Self::Cut | Self::Unfinished => None,
        }
    }
}

impl Alert {
    pub(super) const CLOSE_NOTIFY: Self = Self(0);
    pub(super) const UNEXPECTED_MESSAGE: Self = Self(10);
    const BAD_RECORD_MAC: Self = Self(20);
    pub(super) const RECORD_OVERFLOW: Self = Self(22);
    const ILLEGAL_PARAMETER: Self = Self(47);
    const DECODE_ERROR: Self = Self(50);
    pub(super) const PROTOCOL_VERSION: Self = Self(70);
    pub(super) const INTERNAL_ERROR: Self = Self(80);
    const USER_CANCELED: Self = Self(90);

    /// The message. Receivers of TLS 1.3 ignore the level, except that these two are warnings.
    pub(super) fn message(self) -> [u8; 2] {
        match self {
            Self::CLOSE_NOTIFY => [1, self.0],
            _ => [2, self.0],
        }
    }

    /// The alert in the content of a record: exactly one (section 5.1).
    pub(super) fn parse(content: &[u8]) -> Result<Self, Fault> {
        match content {
            [] => Err(Fault::EmptyMessage),
            [_, description] => Ok(Self(*description)),
            _ => Err(Fault::Malformed),
        }
    }

    /// What it means to a server: `Ok(None)` for an alert that a `close_notify` follows.
    pub(super) fn received(self) -> Result<Option<CloseNotify>, Fault> {
        match self {
            Self::CLOSE_NOTIFY => Ok(Some(CloseNotify)),
            Self::USER_CANCELED => Ok(None),
            Self(description) => Err(Fault::Reported(description)),
        }
    }
}

/// The peer sends nothing more.
#[derive(Debug)]
pub(super) struct CloseNotify;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedRecord => "unexpected TLS record type",
            Self::RecordOverflow => "TLS record too long",
            Self::BadRecordMac => "TLS record not authentic",
            Self::UnexpectedMessage => "unexpected TLS handshake message",
            Self::EmptyMessage => "TLS message without content",
            Self::Malformed => "malformed TLS message",
            Self::IllegalKeyUpdate => "illegal TLS key update",
            Self::NoData => "too many TLS records without data",
            Self::KeyWorn => "too many TLS records without a key update",
            Self::Overload => "too many bytes of incomplete TLS records",
            Self::Unfinished => "TLS record not complete in time",
            Self::Reported(description) => {
                return write!(f, "the client sent TLS alert {description}");
            }
            Self::Cut => "the connection ended without a TLS close_notify",
        })
    }
}

impl Error for Fault {}
