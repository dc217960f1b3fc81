//! HTTP/1.x requests and responses, as bytes in and bytes out (RFC 9110, RFC 9112).
//!
//! This layer knows no socket, no clock and no event stream; timeouts and the order of responses
//! are handled by the layers above. Its guarantees:
//!
//! 1. A [`Reader`] takes bytes in any pieces; the result does not depend on where they are cut.
//! 2. Any doubt about where a request ends is a [`Refusal`], and nothing is read after a refusal:
//!    the connection must be closed once the refusal is sent.
//! 3. All bytes of a peer are limited by [`Limits`](crate::Limits) before they are kept, and the
//!    work is linear in the number of bytes.
//! 4. Between requests a reader holds no heap memory.
//! 5. A returned request is complete and owns its bytes.
//! 6. No text of a user or a peer can end a header line or split a response.
//!
//! ```text
//!                 first byte            empty line            last byte
//! Reader:  Idle ------------> Head ------------------> Body ------------> Idle + Request
//!                                \---- no body ------------------------/
//!          any doubt: Refusal, for good
//!
//! Response:   encode_head, then into_body (HEAD: the head alone)
//! stream:  encode_stream_head, then chunk_header, data, CHUNK_END ..., LAST_CHUNK
//! ```

mod asset;
mod body;
#[cfg(feature = "http")]
mod convert;
mod cookies;
mod date;
mod decode;
mod encode;
mod entity_tag;
mod extensions;
mod fields;
mod forms;
mod forwarded;
mod head;
mod hosts;
#[cfg(feature = "tls")]
mod https_location;
mod layers;
mod method;
mod networks;
mod origin;
mod over_tls;
mod pairs;
mod payload;
mod peer;
mod reader;
mod refusal;
mod request;
mod response;
#[cfg(feature = "hyper")]
mod response_reader;
mod scan;
mod security;
mod status;
mod target;
#[cfg(test)]
mod tests;

pub use asset::Asset;
#[cfg(feature = "http")]
pub use convert::FromHttpError;
pub use decode::DecodeError;
pub use extensions::Extensions;
pub use forwarded::ForwardedField;
pub use hosts::{HostPatternError, Hosts};
pub use method::{Method, Version};
pub use networks::{IpNetwork, IpNetworkError, TrustedPeers};
pub use payload::Body;
pub use peer::Peer;
pub use refusal::Refusal;
pub use request::Request;
pub use response::Response;
pub use status::{StatusCode, StatusCodeError};

pub(crate) use date::Date;
pub(crate) use decode::is_json;
pub(crate) use encode::{
    CHUNK_END, Connection, LAST_CHUNK, StreamFraming, chunk_header, encode_stream_head,
};
#[cfg(test)]
pub(crate) use fields::HeaderFault;
pub(crate) use fields::HeaderLines;
pub(crate) use layers::RoutesId;
pub(crate) use reader::{Progress, Reader, Stage, method_of};
pub(crate) use request::media_type;
pub(crate) use response::Codable;
#[cfg(feature = "hyper")]
pub(crate) use response_reader::{BodyFollows, Malformed, ResponseReader};
#[cfg(feature = "tls")]
pub(crate) use security::{Security, TlsClient};
