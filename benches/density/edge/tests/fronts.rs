//! The program measures what this machine has: starwheel over TLS, and each installed proxy with the
//! recipe of docs/proxies.md.

use std::{env, fs, process::Command};

#[test]
fn every_event_passes_through_every_installed_proxy() {
    let name = format!("starwheel-edge-test-{}.jsonl", std::process::id());
    let file = env::temp_dir().join(name);
    let status = Command::new(env!("CARGO_BIN_EXE_starwheel-edge"))
        .arg("run")
        .arg(&file)
        .args(["--quick", "--only", "broadcast,connect"])
        .status()
        .unwrap();
    let results = fs::read_to_string(&file).unwrap_or_default();
    let table = Command::new(env!("CARGO_BIN_EXE_starwheel-edge")).arg("table").arg(&file).output();
    let _ = fs::remove_file(&file);
    assert!(status.success(), "{results}");
    assert!(results.contains(r#""server":"tls""#), "{results}");
    let table = String::from_utf8(table.unwrap().stdout).unwrap();
    assert!(table.contains("starwheel itself"), "{table}");
}
