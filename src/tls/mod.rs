//! TLS 1.3 for servers (RFC 8446), without sockets.
//!
//! ```text
//! config      certificates and what clients have to prove
//! handshake   received bytes in, bytes to send out, in the end a session; rustls does the work
//! listeners   the configurations that listeners use, and their replacement
//! session     an established connection: 168 bytes, records sealed and opened with ring
//!   record, keys, alert
//! ```
//! rustls keeps 3 to 8 KB for a connection. That is for handshakes only; nothing of it is left in a
//! session, and only `handshake.rs`, `overheard.rs`, `config.rs` and `certificate.rs` know rustls.
//!
//! **TLS 1.2** is refused with the alert `protocol_version`. Its connections would have to stay in
//! rustls, with twenty times the memory; clients without TLS 1.3 are better served by a
//! proxy. **0-RTT** data is never accepted, because it can be replayed
//! (section 8). **Renegotiation and client certificates after the handshake** do not exist here.

mod alert;
mod certificate;
mod config;
mod error;
mod handshake;
mod keys;
mod listeners;
mod overheard;
mod record;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use alert::Fault;
pub use certificate::Certificate;
pub use config::{ClientCertificates, TlsConfig, TlsConfigBuilder};
pub use error::{TlsError, TlsProblem};
pub(crate) use handshake::{Beginning, Established, Handshake, HandshakeError, Stage};
pub(crate) use listeners::{TlsListener, TlsListeners};
pub(crate) use session::{ReceiveError, Received, Session};
