//! Builds the bare epoll loop that servers are compared with.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

use crate::{Result, server::Program};

/// Compiles `floor.c` with the C compiler (`CC`, else `cc`) next to this program.
pub(crate) fn build() -> Result<Program> {
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
    Ok(Program { name: "floor".into(), path })
}

const SOURCE: &str = include_str!("../floor.c");
