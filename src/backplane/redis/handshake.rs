//! What a connection does before its first request: log in, and look at the server.
//!
//! All steps are sent together, and each answer is checked. `HELLO` is not used, so servers and proxies
//! that only speak RESP2 will do.

use redis_protocol::resp2::types::OwnedFrame;

use super::{
    Down, Server,
    address::{Address, Secret},
    frames::write_command,
};

/// How a connection introduces itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
    /// As `CLIENT LIST` shows it.
    pub(super) client_name: String,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Writes,
    Reads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Authenticate,
    Select,
    /// A server may refuse it: it only helps those who look at its connections.
    SetName,
    /// The life of the server.
    Info,
    Role,
    LoadScript,
}

impl Login {
    pub(super) fn of(address: &Address, client_name: &str) -> Self {
        Self {
            user: address.user.clone(),
            password: address.password.clone(),
            database: address.database,
            client_name: client_name.to_owned(),
        }
    }

    /// `AUTH`, if there is a password.
    pub(super) fn write_auth(&self, out: &mut Vec<u8>) {
        match (&self.user, &self.password) {
            (Some(user), Some(Secret(password))) => {
                write_command(out, &[b"AUTH", user.as_bytes(), password.as_bytes()]);
            }
            (None, Some(Secret(password))) => write_command(out, &[b"AUTH", password.as_bytes()]),
            (_, None) => debug_assert!(false, "nothing to log in with"),
        }
    }
}

impl Step {
    /// In this order.
    pub(super) fn all(login: &Login, purpose: Purpose) -> impl Iterator<Item = Self> {
        let steps = [
            (Self::Authenticate, login.password.is_some()),
            (Self::Select, login.database != 0),
            (Self::SetName, !login.client_name.is_empty()),
            (Self::Info, true),
            (Self::Role, true),
            (Self::LoadScript, purpose == Purpose::Writes),
        ];
        steps.into_iter().filter(|(_, is_needed)| *is_needed).map(|(step, _)| step)
    }

    pub(super) fn write(self, login: &Login, script: &str, out: &mut Vec<u8>) {
        match self {
            Self::Authenticate => login.write_auth(out),
            Self::Select => {
                write_command(out, &[b"SELECT", login.database.to_string().as_bytes()]);
            }
            Self::SetName => {
                write_command(out, &[b"CLIENT", b"SETNAME", login.client_name.as_bytes()]);
            }
            Self::Info => write_command(out, &[b"INFO", b"server"]),
            Self::Role => write_command(out, &[b"ROLE"]),
            Self::LoadScript => write_command(out, &[b"SCRIPT", b"LOAD", script.as_bytes()]),
        }
    }

    pub(super) fn take(self, frame: OwnedFrame, server: &mut Server) -> Result<(), Down> {
        match (self, frame) {
            (Self::SetName, _) => {}
            // Some of its errors have no code of their own.
            (Self::Authenticate, OwnedFrame::Error(words)) => return Err(Down::Denied(words)),
            (_, OwnedFrame::Error(words)) => return Err(Down::of_error(&words)),
            (Self::Authenticate | Self::Select, OwnedFrame::SimpleString(_)) => {}
            (Self::Info, frame) => server.has_run_id(run_id(&frame).ok_or(NO_RUN_ID)?),
            (Self::Role, frame) => check_role(&frame)?,
            (Self::LoadScript, frame) => {
                let name = frame_text(&frame).filter(|name| !name.is_empty());
                server.has_script(name.ok_or(UNEXPECTED)?);
            }
            _ => return Err(UNEXPECTED.into()),
        }
        Ok(())
    }
}

/// The text of `run_id:…` in the section `server` of `INFO`.
fn run_id(frame: &OwnedFrame) -> Option<&str> {
    let lines = frame_text(frame)?.lines();
    let mut ids = lines.filter_map(|line| line.strip_prefix("run_id:"));
    ids.next().filter(|id| !id.is_empty())
}

fn check_role(frame: &OwnedFrame) -> Result<(), Down> {
    let OwnedFrame::Array(items) = frame else { return Err(UNEXPECTED.into()) };
    match items.first().and_then(frame_text) {
        Some("master") => Ok(()),
        Some("slave" | "replica") => {
            let master = items.get(1).and_then(frame_text).unwrap_or("an unknown server");
            Err(Down::NotMaster(format!("it is a replica of {master}")))
        }
        Some("sentinel") => {
            let words = "it is a Sentinel; write redis+sentinel://host/NAME-OF-THE-MASTER";
            Err(Down::NotMaster(words.into()))
        }
        _ => Err(UNEXPECTED.into()),
    }
}

/// The text of a string.
pub(super) fn frame_text(frame: &OwnedFrame) -> Option<&str> {
    match frame {
        OwnedFrame::BulkString(bytes) | OwnedFrame::SimpleString(bytes) => {
            str::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

/// A reason for [`Down::Malformed`].
#[derive(Debug)]
struct Unlike(&'static str);

const UNEXPECTED: Unlike = Unlike("an unexpected reply to a step of the login");
const NO_RUN_ID: Unlike = Unlike("INFO server has no run_id");

impl From<Unlike> for Down {
    fn from(unlike: Unlike) -> Self {
        Self::Malformed(unlike.0.into())
    }
}
