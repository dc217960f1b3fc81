//! [`BackplaneError`]: why a process is not connected with others.

use std::{error::Error, fmt, io, sync::Arc};

/// Why a [`Backplane`](crate::Backplane) cannot be joined. Once it is joined, nothing fails: while
/// the store is away, [`BackplaneStats::last_error`](crate::BackplaneStats::last_error) has the reason.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BackplaneError {
    /// The address of the store cannot be understood; says why.
    Address(Box<str>),
    /// The name of the namespace is empty, longer than 100 bytes, or has other characters than letters,
    /// digits, and `-_.:/`.
    Namespace,
    /// The reactor or the workers have joined a backplane already.
    JoinedAlready,
    /// A topic has been used already: events have places that the store does not know.
    TooLate,
    /// The system gives no thread, poller or random bits.
    System(Arc<io::Error>),
}

impl fmt::Display for BackplaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => write!(f, "the address of the backplane is wrong: {why}"),
            Self::Namespace => f.write_str(
                "the name of a namespace has 1 to 100 letters, digits and characters of \"-_.:/\"",
            ),
            Self::JoinedAlready => f.write_str("a backplane has been joined already"),
            Self::TooLate => f.write_str(
                "topics have been used already: join the backplane before anything is published or \
                 subscribed",
            ),
            Self::System(error) => write!(f, "cannot start the backplane: {error}"),
        }
    }
}

impl Error for BackplaneError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for BackplaneError {
    fn from(error: io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}

impl From<BackplaneError> for io::Error {
    fn from(error: BackplaneError) -> Self {
        match error {
            BackplaneError::System(error) => Self::new(error.kind(), error),
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}
