//! Do two runs agree? Each figure that both have is compared, and may differ by what is stated for its
//! kind; docs/performance.md says the same.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    results::{Results, Spread},
    servers::KNOWN,
    table::rounded,
    workloads::{self, Length},
};

/// Figures of one kind, and how far two runs on a quiet machine may lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Cpu,
    Page,
    Tick,
    Edge,
    EdgeTick,
    Handshake,
    Engine,
    Timer,
    Sockets,
    Throughput,
    Backplane,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Memory,
        Self::Cpu,
        Self::Page,
        Self::Tick,
        Self::Edge,
        Self::EdgeTick,
        Self::Handshake,
        Self::Engine,
        Self::Timer,
        Self::Sockets,
        Self::Throughput,
        Self::Backplane,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Memory => "memory per stream, bytes on the wire",
            Self::Cpu => "CPU to the floor",
            Self::Page => "CPU of compressed pages",
            Self::Tick => "CPU of ticks to the floor",
            Self::Edge => "CPU of HTTPS to plain HTTP, broadcast",
            Self::EdgeTick => "CPU of HTTPS to plain HTTP, ticks",
            Self::Handshake => "CPU of a connect, plain and HTTPS",
            Self::Engine => "time of the engine without sockets",
            Self::Timer => "timers, up to 100,000",
            Self::Sockets => "CPU with as many sockets as possible",
            Self::Throughput => "deliveries of workers to one reactor",
            Self::Backplane => "CPU of events over Redis",
        }
    }

    /// In percent.
    fn stated(self) -> f64 {
        match self {
            Self::Memory => 2.0,
            Self::Cpu => 5.0,
            Self::Page | Self::Edge | Self::Engine | Self::Timer | Self::Throughput => 10.0,
            Self::Tick => 15.0,
            Self::EdgeTick | Self::Sockets | Self::Backplane => 20.0,
            Self::Handshake => 25.0,
        }
    }
}

struct Figure {
    kind: Kind,
    name: String,
    value: f64,
}

/// A figure that both runs have, and the second run's difference in percent.
struct Pair {
    first: Figure,
    second: f64,
    change: f64,
}

impl Pair {
    fn is_apart(&self) -> bool {
        self.change.abs() > self.first.kind.stated()
    }
}

/// Two runs beside each other as Markdown, and whether all figures agree.
pub(crate) fn compare(before: &Results, after: &Results) -> (String, bool) {
    let (before, after) = (figures(before), figures(after));
    let all = before.len() + after.len();
    let mut pairs: Vec<Pair> = before
        .into_iter()
        .filter_map(|first| {
            let second = after.iter().find(|second| second.name == first.name)?.value;
            let change = (second / first.value - 1.0) * 100.0;
            change.is_finite().then_some(Pair { first, second, change })
        })
        .collect();
    pairs.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
    let apart = pairs.iter().filter(|pair| pair.is_apart()).count();
    let verdict = match (pairs.len(), apart) {
        (0, _) => "**Nothing to compare**".to_owned(),
        (all, 0) => format!("**The runs agree**: all {all} figures"),
        (all, apart) => format!("**The runs differ**: {apart} of {all} figures"),
    };
    let only = all - 2 * pairs.len();
    let mut out = format!("{verdict}; {only} are in one of the runs alone.\n\n");
    if apart > 0 {
        write_apart(&mut out, &pairs);
    }
    write_kinds(&mut out, &pairs);
    (out, apart == 0 && !pairs.is_empty())
}

/// What differs by too much, the greatest difference first.
fn write_apart(out: &mut String, pairs: &[Pair]) {
    let _ = writeln!(
        out,
        "| differs by more than is stated | first | second | change | stated |\n|---|---|---|---|---|"
    );
    for Pair { first, second, change } in pairs.iter().filter(|pair| pair.is_apart()) {
        let (name, stated) = (&first.name, first.kind.stated());
        let (first, second) = (rounded(first.value), rounded(*second));
        let _ = writeln!(out, "| {name} | {first} | {second} | {change:+.1} % | {stated} % |");
    }
    out.push('\n');
}

fn write_kinds(out: &mut String, pairs: &[Pair]) {
    let _ = writeln!(
        out,
        "| kind | figures | half are within | nine in ten are within | stated | beyond |\n\
         |---|---|---|---|---|---|"
    );
    for kind in Kind::ALL {
        let of_kind = pairs.iter().filter(|pair| pair.first.kind == kind);
        let mut changes: Vec<f64> = of_kind.map(|pair| pair.change.abs()).collect();
        changes.sort_by(f64::total_cmp);
        let Some(last) = changes.len().checked_sub(1) else { continue };
        let at = |share: f64| changes[(last as f64 * share).round() as usize];
        let _ = writeln!(
            out,
            "| {} | {} | {:.1} % | {:.1} % | {} % | {} |",
            kind.title(),
            changes.len(),
            at(0.5),
            at(0.9),
            kind.stated(),
            changes.iter().filter(|change| **change > kind.stated()).count(),
        );
    }
}

/// Times that another guest of the machine can double, as lateness, are not among them.
fn figures(results: &Results) -> Vec<Figure> {
    let mut all = Vec::new();
    for workload in workloads::all(Length::Full) {
        for known in &KNOWN {
            of_matrix(&mut all, results, workload.id, known.name);
        }
    }
    for server in results.servers() {
        of_edge(&mut all, results, server);
    }
    of_parts(&mut all, results);
    all
}

fn of_matrix(all: &mut Vec<Figure>, results: &Results, workload: &str, server: &str) {
    let mut add = |kind, what: &str, spread: Option<Spread>| {
        let value = spread.map(|spread| spread.median);
        push(all, kind, format!("{workload}, {server}: {what}"), value);
    };
    let figure = |pointer| results.figure(workload, server, pointer);
    match workload {
        "idle" | "idle-updater" => {
            add(Kind::Memory, "memory", figure("/private_dirty_bytes_per_stream"));
        }
        "page" | "private" => {
            add(Kind::Page, "CPU", figure("/cpu_ns"));
            add(Kind::Memory, "memory", figure("/private_dirty_bytes_per_stream"));
            add(Kind::Memory, "bytes on the wire", figure("/wire_bytes_per_event"));
        }
        _ if server == "floor" => {}
        _ if workload.starts_with("tick") => {
            add(Kind::Tick, "CPU to floor-ms", results.ratio(workload, server, "floor-ms"));
        }
        _ => add(Kind::Cpu, "CPU to floor", results.ratio(workload, server, "floor")),
    }
}

/// Set-ups of `starwheel-edge` are named like servers.
fn of_edge(all: &mut Vec<Figure>, results: &Results, setup: &str) {
    let mut add = |kind, what: &str, spread: Option<Spread>| {
        push(all, kind, format!("HTTPS, {setup}: {what}"), spread.map(|it| it.median));
    };
    add(Kind::Memory, "memory", results.figure("idle", setup, "/box_bytes_per_stream"));
    if setup != "plain" {
        add(Kind::Edge, "CPU per delivery", results.ratio("broadcast", setup, "plain"));
        add(Kind::EdgeTick, "CPU per tick", results.ratio("tick", setup, "plain"));
    }
    let is_setup = results.of("broadcast", setup).next().is_some();
    let connect = results.figure("connect", setup, "/cpu_ns").filter(|_| is_setup);
    add(Kind::Handshake, "CPU of a connect", connect);
}

/// What is not measured server by server.
fn of_parts(all: &mut Vec<Figure>, results: &Results) {
    for line in results.engine() {
        let name = format!("engine, {} {}", line["streams"], word(line, "kind"));
        push(all, Kind::Engine, format!("{name}: time"), line["ns"].as_f64());
        push(all, Kind::Memory, format!("{name}: memory"), line["bytes_per_stream"].as_f64());
    }
    for size in [1000, 100_000] {
        for library in ["starwheel", "libev", "tokio"] {
            for operation in ["insert_ns", "re_arm_ns", "cancel_ns", "fire_ns"] {
                let lines = results.timers();
                let lines = lines.filter(|it| it["timers"] == size && it["library"] == library);
                let spread = Spread::of(lines.filter_map(|it| it[operation].as_f64()).collect());
                let name = format!("timers, {size} {library}: {operation}");
                push(all, Kind::Timer, name, spread.map(|it| it.median));
            }
        }
    }
    for line in results.sockets() {
        let name = format!("sockets, {}", word(line, "server"));
        let memory = line["private_dirty_bytes_per_stream"].as_f64();
        push(all, Kind::Memory, format!("{name}: memory"), memory);
        push(all, Kind::Sockets, format!("{name}: CPU per delivery"), line["cpu_ns"].as_f64());
    }
    let deliveries = |server: &str| {
        let lines = results.throughput().filter(|line| line["server"] == server);
        Spread::of(lines.filter_map(|line| line["deliveries_per_s"].as_f64()).collect())
    };
    for server in ["workers-1", "workers-2", "floor"] {
        let ratio = deliveries(server).zip(deliveries("starwheel"));
        let ratio = ratio.map(|(workers, one)| workers.median / one.median);
        push(all, Kind::Throughput, format!("{server}: deliveries to one reactor"), ratio);
    }
    for (rate, topics) in [(100, 1), (1000, 1), (5000, 1), (20_000, 1), (20_000, 10_000), (0, 1)] {
        for who in ["redis_cpu_us", "publisher_cpu_us", "other_cpu_us"] {
            let lines = results.backplane();
            let lines = lines.filter(|line| line["rate"] == rate && line["topics"] == topics);
            let spread = Spread::of(lines.filter_map(|line| line[who].as_f64()).collect());
            let name = format!("Redis, {rate} events a second, {topics} topics: {who}");
            push(all, Kind::Backplane, name, spread.map(|it| it.median));
        }
    }
}

/// Of several measurements with one name the last one counts.
fn push(all: &mut Vec<Figure>, kind: Kind, name: String, value: Option<f64>) {
    if let Some(value) = value {
        all.retain(|figure| figure.name != name);
        all.push(Figure { kind, name, value });
    }
}

fn word<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(memory: f64, cpu_ns: f64) -> Results {
        Results::of_lines(vec![
            json!({ "workload": "idle", "server": "starwheel", "round": 1,
                    "private_dirty_bytes_per_stream": memory }),
            json!({ "workload": "plain", "server": "starwheel", "round": 1,
                    "cpu_ns": cpu_ns, "floor_cpu_ns": 100.0 }),
        ])
    }

    #[test]
    fn runs_agree_within_what_is_stated() {
        let (text, agree) = compare(&run(150.0, 100.0), &run(152.0, 104.0));
        assert!(agree && text.contains("**The runs agree**: all 2 figures"), "{text}");
    }

    #[test]
    fn each_figure_beyond_that_is_named() {
        let (text, agree) = compare(&run(150.0, 100.0), &run(155.0, 104.0));
        assert!(!agree && text.contains("1 of 2 figures"), "{text}");
        assert!(text.contains("| idle, starwheel: memory | 150 | 155 | +3.3 % | 2 % |"), "{text}");
    }

    #[test]
    fn runs_without_common_figures_do_not_agree() {
        let (text, agree) = compare(&run(150.0, 100.0), &Results::of_lines(vec![]));
        assert!(!agree && text.contains("Nothing to compare"), "{text}");
    }
}
