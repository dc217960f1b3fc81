//! [`Codec`]: how requests become commands, and what it must know of the server.

use std::fmt;

use redis_protocol::resp2::types::OwnedFrame;

use crate::span::protocol::{Reply, Request};

/// How requests are written and replies are read.
pub(crate) trait Codec: Send {
    /// Loaded by each connection that writes; [`Server::script`] is its name there.
    fn script(&self) -> &str;

    /// Appends the command of a request.
    fn encode(&self, request: &Request, server: &Server, out: &mut Vec<u8>);

    /// A reply that is not an error of the server, except inside of arrays.
    ///
    /// # Errors
    /// The connection ends.
    fn decode(&self, request: &Request, frame: OwnedFrame) -> Result<Reply, ReplyError>;
}

/// The server of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// Another one in each life of a server.
    pub(crate) run_id: String,
    /// The name of the script for `EVALSHA`; empty on the connection that reads.
    pub(crate) script: String,
}

impl Server {
    pub(super) fn has_run_id(&mut self, run_id: &str) {
        run_id.clone_into(&mut self.run_id);
    }

    pub(super) fn has_script(&mut self, script: &str) {
        script.clone_into(&mut self.script);
    }
}

/// Why a reply is none. The connection ends then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplyError {
    /// In the words of the server. The first one is a code, like `NOPERM`.
    Server(String),
    /// Not what this request is answered with.
    Malformed(&'static str),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(text) => f.write_str(text),
            Self::Malformed(what) => write!(f, "unexpected reply: {what}"),
        }
    }
}
