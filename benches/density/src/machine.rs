//! What the figures were measured on.

use std::{env, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{Result, results::Results};

/// Describes this machine in the results, unless that has been done: after other measurements the
/// load average would be theirs.
pub fn describe_once(results: &mut Results) -> Result<()> {
    match results.machine() {
        Some(_) => Ok(()),
        None => results.add(describe()),
    }
}

/// One line of results that describes this machine and this moment.
pub fn describe() -> Value {
    let system = rustix::system::uname();
    json!({ "machine": {
        "cpu": cpu_model(), "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        "memory_bytes": field_kb("/proc/meminfo", "MemTotal:").map(|kb| kb * 1024),
        "load_average": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "rustc": output("rustc", &["--version"]), "date": output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        "command": command(),
    }})
}

/// As it was given, but without folders: where things lie matters to nobody else.
fn command() -> String {
    let words = env::args().map(|word| match Path::new(&word).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let virtual_machine = if text.contains(" hypervisor") { ", virtual" } else { "" };
    let model = model.unwrap_or_default().trim_start_matches(['\t', ' ', ':']);
    format!("{model}{virtual_machine}")
}

pub fn field_kb(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().into(),
    )
}
