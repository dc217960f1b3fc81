//! The results as Markdown.

use std::fmt::Write;

use starwheel_density::results::{Results, Spread};

use crate::setups::{self, Kind, Setup};

pub(crate) fn markdown(results: &Results) -> String {
    let mut out = String::new();
    write_setups(&mut out, results);
    write_updaters(&mut out, results);
    write_storm(&mut out, results);
    write_versions(&mut out, results);
    out
}

fn write_setups(out: &mut String, results: &Results) {
    let _ = writeln!(
        out,
        "| TLS ends in | memory of the proxy | of starwheel | sockets | all, with the kernel | \
         streams in 10^9 bytes | CPU per delivery | CPU per tick | CPU of a connect |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for setup in setups::ALL.iter().filter(|setup| is_measured(results, setup)) {
        let of = |name: &str| results.figure("idle", setup.name, name).map(|it| it.median);
        let all = of("/box_bytes_per_stream");
        let front = match setup.kind {
            Kind::Front(_) => of("/front_bytes_per_stream").map(bytes),
            Kind::Plain | Kind::Tls => Some("0".into()),
        };
        let cpu = results.figure("connect", setup.name, "/cpu_ns");
        let cells = [
            front,
            of("/server_bytes_per_stream").map(|bytes| format!("{bytes:.0} B")),
            of("/sockets_per_stream").map(|sockets| format!("{sockets:.0}")),
            all.map(bytes),
            all.map(|all| two_digits(1e9 / all)),
            ratio(results, "broadcast", setup).map(|ratio| format!("{ratio:.2}x")),
            ratio(results, "tick", setup).map(|ratio| format!("{ratio:.1}x")),
            cpu.map(|cpu| format!("{:.0} us", cpu.median / 1e3)),
        ];
        let cells: Vec<String> =
            cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect();
        let _ = writeln!(out, "| {} | {} |", setup.title, cells.join(" | "));
    }
}

fn write_updaters(out: &mut String, results: &Results) {
    let of = |name| results.figure("idle-updater", name, "/server_bytes_per_stream");
    if let (Some(plain), Some(tls)) = (of("plain"), of("tls")) {
        let _ = writeln!(
            out,
            "\nA stream with an updater takes {:.0} bytes of starwheel's memory over plain HTTP and \
             {:.0} bytes over TLS.",
            plain.median, tls.median
        );
    }
}

fn write_storm(out: &mut String, results: &Results) {
    let connections = ["plain", "tls"].map(|name| (name, results.of("storm", name).next_back()));
    if connections.iter().any(|(_, line)| line.is_none()) {
        return;
    }
    let _ = writeln!(
        out,
        "\n| requests at the same time | all answered after | ticks of 10 ms late by: p50 | p99 | \
         p99.9 | most |\n|---|---|---|---|---|---|"
    );
    for (name, line) in connections {
        let of = |pointer: &str| {
            let spread = results.figure("storm", name, pointer);
            spread.map_or_else(|| "-".into(), |it| format!("{:.1} ms", it.median / 1e3))
        };
        let wave = results.figure("storm", name, "/wave_ms").map_or(0.0, |it| it.median);
        let count = line.map_or(0, |line| line["handshakes"].as_u64().unwrap_or_default());
        let what = if name == "tls" { "TLS handshakes" } else { "plain connections" };
        let _ = writeln!(
            out,
            "| {} {what} | {wave:.0} ms | {} | {} | {} | {} |",
            grouped(count as f64),
            of("/lateness_us/p50"),
            of("/lateness_us/p99"),
            of("/lateness_us/p99.9"),
            of("/lateness_us/max"),
        );
    }
    if let Some(ratio) = storm_ratio(results) {
        let Spread { median, min, max, rounds } = ratio;
        let _ = writeln!(
            out,
            "\nThe p99.9 of ticks during handshakes is {median:.2} times that during plain \
             connections (median of {rounds} rounds, {min:.2} to {max:.2})."
        );
    }
}

/// The p99.9 over TLS as a multiple of the plain one in the same round.
fn storm_ratio(results: &Results) -> Option<Spread> {
    let p999 = |line: &serde_json::Value| line.pointer("/lateness_us/p99.9")?.as_f64();
    let ratios = results.of("storm", "tls").filter_map(|tls| {
        let mut plain = results.of("storm", "plain");
        Some(p999(tls)? / p999(plain.find(|plain| plain["round"] == tls["round"])?)?)
    });
    Spread::of(ratios.collect())
}

fn write_versions(out: &mut String, results: &Results) {
    let mut versions: Vec<&str> = setups::ALL
        .iter()
        .filter(|setup| setup.front().is_some())
        .filter_map(|setup| results.version(setup.name))
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if let Some(machine) = results.machine() {
        let word = |name: &str| machine[name].as_str().unwrap_or_default();
        let _ = writeln!(
            out,
            "\nMeasured on {} cores of {}, {}, on {} (load average {}), with {}.",
            machine["cores"],
            word("cpu"),
            word("kernel"),
            word("date"),
            word("load_average").split(' ').next().unwrap_or_default(),
            versions.join(", "),
        );
    }
}

fn is_measured(results: &Results, setup: &Setup) -> bool {
    ["idle", "broadcast", "tick", "connect"]
        .iter()
        .any(|workload| results.of(workload, setup.name).next().is_some())
}

/// As a multiple of plain HTTP, measured beside it or in the same round.
fn ratio(results: &Results, workload: &str, setup: &Setup) -> Option<f64> {
    match setup.kind {
        Kind::Plain => Some(1.0).filter(|_| results.of(workload, setup.name).next().is_some()),
        Kind::Tls | Kind::Front(_) => Some(results.ratio(workload, setup.name, "plain")?.median),
    }
}

fn bytes(bytes: f64) -> String {
    if bytes < 1000.0 { format!("{bytes:.0} B") } else { format!("{:.1} KB", bytes / 1e3) }
}

/// More than the noise leaves would be a promise.
fn two_digits(value: f64) -> String {
    let unit = 10_f64.powf(value.log10().floor() - 1.0);
    grouped((value / unit).round() * unit)
}

/// To a whole number, its digits in groups of three.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().filter_map(|it| str::from_utf8(it).ok());
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_rounded_to_two_digits() {
        assert_eq!([237_812.0, 19_499.0, 7400.0].map(two_digits), ["240,000", "19,000", "7,400"]);
    }

    #[test]
    fn lateness_is_compared_within_a_round() {
        let line = |server: &str, round: u32, p999: f64| {
            json!({
                "workload": "storm", "server": server, "round": round,
                "lateness_us": { "p99.9": p999 },
            })
        };
        let results = Results::of_lines(vec![
            line("plain", 1, 10.0),
            line("tls", 1, 15.0),
            line("tls", 2, 200.0),
            line("plain", 2, 100.0),
        ]);
        let ratio = storm_ratio(&results).unwrap();
        assert_eq!((ratio.min, ratio.max), (1.5, 2.0));
    }
}
