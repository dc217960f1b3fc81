//! Builds the bare epoll loop that servers are compared with.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Result, server::Program};

/// The kinds of floor, of one executable.
#[derive(Debug, Clone)]
pub struct Floor {
    path: PathBuf,
}

impl Floor {
    /// A send per event, and deadlines to the nanosecond.
    pub fn plain(&self) -> Program {
        self.program("floor", None)
    }

    /// Deadlines are whole milliseconds.
    pub fn whole_ms(&self) -> Program {
        self.program("floor --ms", Some("--ms"))
    }

    /// What is published in one turn leaves in one send per subscriber.
    pub fn batch(&self) -> Program {
        self.program("floor --batch", Some("--batch"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn program(&self, name: &str, argument: Option<&'static str>) -> Program {
        Program { name: name.into(), path: self.path.clone(), argument }
    }
}

/// Compiles `floor.c` with the C compiler (`CC`, else `cc`) next to this program.
pub fn build() -> Result<Floor> {
    let path = env::current_exe()?.with_file_name("starwheel-floor");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut child = Command::new(&compiler)
        .args(["-O2", "-Wall", "-x", "c", "-", "-o"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{compiler}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(SOURCE.as_bytes())?;
    }
    if !child.wait()?.success() {
        return Err(format!("{compiler} could not compile floor.c").into());
    }
    Ok(Floor { path })
}

const SOURCE: &str = include_str!("../floor.c");
