//! The results of as many sockets as possible, as Markdown.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    results::Results,
    servers::KNOWN,
    table::{rounded, thousands},
};

/// A column for each server; of several runs the latest.
pub(crate) fn write_table(out: &mut String, results: &Results) {
    let servers: Vec<&Value> = KNOWN
        .iter()
        .filter_map(|known| results.sockets().rev().find(|line| line["server"] == known.name))
        .collect();
    if servers.is_empty() {
        return;
    }
    let names: Vec<&str> = servers.iter().filter_map(|line| line["server"].as_str()).collect();
    let _ = writeln!(
        out,
        "\n### As many sockets as the machine has room for\n\n| | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for (title, show) in ROWS {
        let cells: Vec<String> =
            servers.iter().map(|line| show(line).unwrap_or_else(|| "-".into())).collect();
        let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
    }
}

type Show = fn(&Value) -> Option<String>;

const ROWS: [(&str, Show); 13] = [
    ("streams open at a time", |line| Some(thousands(line["streams"].as_f64()?))),
    ("servers / processes of clients", |line| {
        Some(format!("{} / {}", line["pairs"].as_u64()?, line["pairs"].as_u64()?))
    }),
    ("descriptors that each may open", |line| {
        Some(thousands(line["descriptors_per_process"].as_f64()?))
    }),
    ("what ended it", |line| Some(line["ended_by"].as_str()?.replace('|', "/"))),
    ("to open them all", |line| number(line, "seconds_to_open", 1.0, "s")),
    ("the servers' memory, private dirty, per stream", |line| {
        number(line, "private_dirty_bytes_per_stream", 1.0, "B")
    }),
    ("kernel slab per stream, both ends", |line| {
        number(line, "kernel_slab_bytes_per_stream", 1.0, "B")
    }),
    ("kernel buffers per stream, both ends", |line| {
        number(line, "kernel_tcp_buffer_bytes_per_stream", 1.0, "B")
    }),
    ("all memory of the machine per stream, clients included", |line| {
        number(line, "machine_bytes_per_stream", 1.0, "B")
    }),
    ("CPU of all servers at rest", |line| number(line, "rest_cpu_share", 0.01, "% of a core")),
    ("an event to all of them: first delivery", |line| number(line, "first_ms", 1.0, "ms")),
    ("... last delivery", |line| number(line, "last_ms", 1000.0, "s")),
    ("... CPU of the servers per delivery", |line| number(line, "cpu_ns", 1000.0, "us")),
];

fn number(line: &Value, figure: &str, divisor: f64, unit: &str) -> Option<String> {
    Some(format!("{} {unit}", rounded(line[figure].as_f64()? / divisor)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(server: &str, streams: usize) -> Value {
        json!({ "sockets": {
            "server": server, "streams": streams, "pairs": 2, "ended_by": "a|b", "last_ms": 1500.0,
            "rest_cpu_share": 0.25,
        }})
    }

    #[test]
    fn each_server_has_a_column_with_its_latest_run() {
        let lines = vec![line("libev", 7), line("starwheel", 1000), line("starwheel", 39_800)];
        let mut table = String::new();
        write_table(&mut table, &Results::of_lines(lines));
        for row in [
            "| | starwheel | libev |\n|---|---|---|\n",
            "| streams open at a time | 39,800 | 7 |\n",
            "| what ended it | a/b | a/b |\n",
            "| to open them all | - | - |\n",
            "| CPU of all servers at rest | 25.0 % of a core | 25.0 % of a core |\n",
            "| ... last delivery | 1.50 s | 1.50 s |\n",
        ] {
            assert!(table.contains(row), "{row} in {table}");
        }
    }
}
