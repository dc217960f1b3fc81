//! The results as Markdown.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    results::{Results, Spread},
    servers::{KNOWN, Kind, Known},
    sockets, throughput, timers,
    workloads::{self, Length},
};

/// A target: a row of the first table.
struct Aim {
    title: &'static str,
    workload: &'static str,
    figure: Figure,
    at_most: f64,
}

#[derive(Clone, Copy)]
enum Figure {
    /// CPU as a multiple of a floor's.
    Ratio { floor: &'static str },
    /// A number of the results, divided, with a unit.
    Plain { pointer: &'static str, divisor: f64, unit: &'static str },
}

const fn plain(pointer: &'static str, divisor: f64, unit: &'static str) -> Figure {
    Figure::Plain { pointer, divisor, unit }
}

const CPU: Figure = plain("/cpu_ns", 1e3, "us");
const MEMORY: Figure = plain("/private_dirty_bytes_per_stream", 1.0, "B");
const TO_FLOOR: Figure = Figure::Ratio { floor: "floor" };
const TO_FLOOR_MS: Figure = Figure::Ratio { floor: "floor-ms" };

const AIMS: [Aim; 20] = [
    aim("idle stream, user memory", "idle", MEMORY, 160.0),
    aim("... with an updater closure", "idle-updater", MEMORY, 224.0),
    aim("tick, 1,000 x 10/s x 100 B, to the plain floor", "tick-1000", TO_FLOOR, 1.1),
    aim("... to the floor in whole milliseconds", "tick-1000", TO_FLOOR_MS, 1.1),
    aim("... jitter p50", "tick-1000", plain("/jitter_us/p50", 1.0, "us"), 50.0),
    aim("... jitter p99", "tick-1000", plain("/jitter_us/p99", 1.0, "us"), 1000.0),
    aim("tick, 5,000 x 1/s, to the plain floor", "tick-5000", TO_FLOOR, 1.1),
    aim("... to the floor in whole milliseconds", "tick-5000", TO_FLOOR_MS, 1.1),
    aim("broadcast, 9,900 x 100 B", "broadcast-10000", TO_FLOOR, 1.05),
    aim("... first delivery p50", "broadcast-10000", plain("/first_us/p50", 1.0, "us"), 150.0),
    aim("broadcast, 1,000 x 10 KB", "broadcast-10kb", TO_FLOOR, 1.0),
    aim("pump: 8 in flight, to the floor one at a time", "pump", TO_FLOOR, 0.2),
    aim("compressed broadcast, page of 20 KB", "page", CPU, 6.0),
    aim("... memory per stream", "page", MEMORY, 512.0),
    aim("... on the wire per event", "page", plain("/wire_bytes_per_event", 1.0, "B"), 180.0),
    aim("compressed private streams, same page", "private", CPU, 30.0),
    aim("... memory per stream", "private", MEMORY, 36.0 * 1024.0),
    aim("accept a stream and send its head", "connect", TO_FLOOR, 1.0),
    aim("connect, first event, close", "churn", TO_FLOOR, 1.1),
    aim("plain 13-byte response, keep-alive", "plain", TO_FLOOR, 1.1),
];

const fn aim(title: &'static str, workload: &'static str, figure: Figure, at_most: f64) -> Aim {
    Aim { title, workload, figure, at_most }
}

pub(crate) fn markdown(results: &Results) -> String {
    let mut out = String::new();
    write_machine(&mut out, results);
    write_aims(&mut out, results);
    for workload in workloads::all(Length::Full) {
        write_workload(&mut out, results, workload.id, workload.title);
    }
    throughput::write_table(&mut out, results);
    write_engine(&mut out, results);
    timers::write_table(&mut out, results);
    sockets::write_table(&mut out, results);
    out
}

fn write_machine(out: &mut String, results: &Results) {
    if let Some(words) = machine_words(results) {
        let _ = writeln!(out, "Measured on {words}.\n");
    }
    let _ = writeln!(out, "| server | version |\n|---|---|");
    for known in &KNOWN {
        if let Some(version) = results.version(known.name) {
            let _ = writeln!(out, "| {} | {version} |", known.name);
        }
    }
}

/// The machine, and when.
pub(crate) fn machine_words(results: &Results) -> Option<String> {
    let machine = results.machine()?;
    let word = |name: &str| machine[name].as_str().unwrap_or_default();
    let gib = machine["memory_bytes"].as_f64().unwrap_or_default() / f64::from(1 << 30);
    Some(format!(
        "{} cores of {}, {gib:.0} GiB, {}, {}, on {} (load average {})",
        machine["cores"],
        word("cpu"),
        word("kernel"),
        word("rustc"),
        word("date"),
        word("load_average"),
    ))
}

/// Every target, next to the best of the other servers.
fn write_aims(out: &mut String, results: &Results) {
    let _ = writeln!(
        out,
        "\n### Targets\n\n| work | floor | best peer | best Rust peer | axum + datastar | \
         starwheel | target | |\n|---|---|---|---|---|---|---|---|"
    );
    for aim in &AIMS {
        let of = |server: &str| aim.figure.of(results, aim.workload, server);
        let best = |wanted: fn(&Known) -> bool| {
            let peers = KNOWN.iter().filter(|known| wanted(known));
            let figures = peers.filter_map(|known| Some((known.name, of(known.name)?)));
            let best = figures.min_by(|a, b| a.1.median.total_cmp(&b.1.median));
            best.map_or_else(
                || "-".into(),
                |(name, spread)| format!("{name} {}", aim.figure.show(spread.median)),
            )
        };
        let one = |server| of(server).map_or_else(|| "-".into(), |it| aim.figure.show(it.median));
        let floor = match aim.figure {
            Figure::Ratio { floor } => CPU
                .of(results, aim.workload, floor)
                .map_or_else(|| "-".into(), |spread| CPU.show(spread.median)),
            Figure::Plain { .. } => one("floor"),
        };
        let ours = of("starwheel");
        let verdict = match ours {
            None => "",
            Some(ours) if ours.median <= aim.at_most => "reached",
            Some(ours) if ours.min <= aim.at_most => "within the noise",
            Some(_) => "missed",
        };
        let _ = writeln!(
            out,
            "| {} | {floor} | {} | {} | {} | **{}** | <= {} | {verdict} |",
            aim.title,
            best(|known| matches!(known.kind, Kind::Peer | Kind::RustPeer)),
            best(|known| known.kind == Kind::RustPeer),
            one("datastar"),
            ours.map_or_else(|| "-".into(), |spread| aim.figure.show_spread(spread)),
            aim.figure.show(aim.at_most),
        );
    }
}

fn write_workload(out: &mut String, results: &Results, id: &str, title: &str) {
    let columns = columns(id);
    let rows: Vec<&Known> = KNOWN
        .iter()
        .filter(|known| {
            results.of(id, known.name).next().is_some() || results.failure(id, known.name).is_some()
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(
        out,
        "\n### {title}\n\n`{id}`\n\n| server | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(columns.len())
    );
    for known in rows {
        if let Some(error) = results.failure(id, known.name) {
            let _ = writeln!(out, "| {} | failed: {} |", known.name, error.replace('|', "/"));
            continue;
        }
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, figure)| {
                let spread = figure.of(results, id, known.name);
                spread.map_or_else(|| "-".into(), |spread| figure.show_spread(spread))
            })
            .collect();
        let _ = writeln!(out, "| {} | {} |", known.name, cells.join(" | "));
    }
}

fn columns(workload: &str) -> Vec<(&'static str, Figure)> {
    match workload {
        "idle" | "idle-updater" => vec![
            ("user, private dirty", MEMORY),
            ("user, anonymous", plain("/anonymous_bytes_per_stream", 1.0, "B")),
            ("user, Pss", plain("/pss_bytes_per_stream", 1.0, "B")),
            ("kernel slab, both ends", plain("/kernel_slab_bytes_per_pair", 1.0, "B")),
            ("kernel buffers, both ends", plain("/kernel_tcp_buffer_bytes_per_pair", 1.0, "B")),
        ],
        _ if workload.starts_with("tick") => vec![
            ("CPU per tick", CPU),
            ("to floor", TO_FLOOR),
            ("to floor-ms", TO_FLOOR_MS),
            ("jitter p50", plain("/jitter_us/p50", 1.0, "us")),
            ("p99", plain("/jitter_us/p99", 1.0, "us")),
            ("late p50", plain("/schedule_us/p50", 1.0, "us")),
            ("p99", plain("/schedule_us/p99", 1.0, "us")),
            ("p99.9", plain("/schedule_us/p99.9", 1.0, "us")),
            ("max", plain("/schedule_us/max", 1.0, "us")),
            ("missed", plain("/events_missed", 1.0, "")),
        ],
        "broadcast-10000" | "broadcast-10kb" => vec![
            ("CPU per delivery", CPU),
            ("to floor", TO_FLOOR),
            ("first p50", plain("/first_us/p50", 1.0, "us")),
            ("first p90", plain("/first_us/p90", 1.0, "us")),
            ("half p50", plain("/half_us/p50", 1e3, "ms")),
            ("last p50", plain("/last_us/p50", 1e3, "ms")),
        ],
        "pump" => vec![
            ("CPU per delivery, 8 in flight", CPU),
            ("one at a time", plain("/single_cpu_ns", 1e3, "us")),
            ("8 in flight to floor one at a time", TO_FLOOR),
        ],
        "page" | "private" => vec![
            ("CPU per delivery", CPU),
            ("memory per stream", MEMORY),
            ("on the wire per event", plain("/wire_bytes_per_event", 1.0, "B")),
            ("event", plain("/event_bytes", 1.0, "B")),
        ],
        _ => vec![("CPU each", CPU), ("to floor", TO_FLOOR)],
    }
}

impl Figure {
    fn of(self, results: &Results, workload: &str, server: &str) -> Option<Spread> {
        match self {
            Self::Ratio { floor } => results.ratio(workload, server, floor),
            Self::Plain { pointer, divisor, .. } => {
                results.figure(workload, server, pointer).map(|spread| Spread {
                    median: spread.median / divisor,
                    min: spread.min / divisor,
                    max: spread.max / divisor,
                    ..spread
                })
            }
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Ratio { .. } => format!("{value:.2}x"),
            Self::Plain { unit, .. } => format!("{} {unit}", rounded(value)).trim_end().to_owned(),
        }
    }

    fn show_spread(self, spread: Spread) -> String {
        let Spread { median, min, max, rounds } = spread;
        match self {
            _ if rounds == 1 || min == max => match self {
                Self::Ratio { .. } => format!("{median:.3}x"),
                Self::Plain { .. } => self.show(median),
            },
            Self::Ratio { .. } => format!("{median:.3}x ({min:.2} to {max:.2})"),
            Self::Plain { .. } => {
                format!("{} ({} to {})", self.show(median), rounded(min), rounded(max))
            }
        }
    }
}

/// Three digits are more than the noise leaves.
pub(crate) fn rounded(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// To a whole number, its digits in groups of three.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let groups = digits.as_bytes().rchunks(3).rev().filter_map(|it| str::from_utf8(it).ok());
    format!("{sign}{}", groups.collect::<Vec<_>>().join(","))
}

fn write_engine(out: &mut String, results: &Results) {
    let mut lines: Vec<&Value> = results.engine().collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n### One engine without sockets\n\n| streams | idle, bytes | with an updater, bytes | \
         subscribed, bytes | tick, ns | delivery, ns |\n|---|---|---|---|---|---|"
    );
    lines.sort_by_key(|line| line["streams"].as_u64());
    let mut sizes: Vec<u64> = lines.iter().filter_map(|line| line["streams"].as_u64()).collect();
    sizes.dedup();
    for streams in sizes {
        let find = |kind: &str, what: &str| {
            // The latest run counts.
            let line = lines.iter().rev().find(|it| it["streams"] == streams && it["kind"] == kind);
            line.and_then(|line| line[what].as_f64()).map_or_else(|| "-".into(), rounded)
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            rounded(streams as f64),
            find("idle", "bytes_per_stream"),
            find("tick", "bytes_per_stream"),
            find("delivery", "bytes_per_stream"),
            find("tick", "ns"),
            find("delivery", "ns"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_what_means_something() {
        let shown = [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0].map(rounded);
        assert_eq!(shown, ["0", "1.23", "12.3", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn every_aim_belongs_to_a_workload() {
        let workloads = workloads::all(Length::Full);
        for aim in &AIMS {
            assert!(workloads.iter().any(|it| it.id == aim.workload), "{}", aim.title);
        }
    }
}
