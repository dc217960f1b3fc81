//! The results as pictures.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    Result, charts,
    results::Results,
    servers::{KNOWN, Kind},
    svg::{Bars, Group, Line, Lines, Scale},
    workloads::{self, Length},
};

pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let pictures = [
        ("cpu.svg", cpu(results)),
        ("memory.svg", memory(results)),
        ("lateness.svg", lateness(results)),
        ("lateness-by-streams.svg", lateness_by_streams(results)),
        ("box-memory.svg", charts::memory(results)),
        ("cpu-per-event.svg", charts::cpu(results)),
        ("engine-time.svg", engine(results, Engine::TIME)),
        ("engine-memory.svg", engine(results, Engine::MEMORY)),
    ];
    for (name, svg) in pictures {
        if let Some(svg) = svg {
            let path = folder.join(name);
            fs::write(&path, svg)?;
            eprintln!("{}", path.display());
        }
    }
    Ok(())
}

/// CPU as a multiple of the floor's, for all that has one.
fn cpu(results: &Results) -> Option<String> {
    let groups =
        workloads::all(Length::Full).into_iter().filter_map(|workload| {
            let bars: Vec<_> = KNOWN
                .iter()
                .filter(|known| known.kind != Kind::Floor)
                .filter_map(|known| {
                    let ratio = results.ratio(workload.id, known.name, "floor")?.median;
                    Some((known.name.to_owned(), ratio, format!("{ratio:.2}")))
                })
                .collect();
            let name = workload.title.to_owned();
            (!bars.is_empty() && results.of(workload.id, "floor").next().is_some())
                .then_some(Group { name, bars, target: Some(1.0), scale: Scale::Linear })
        });
    let groups: Vec<Group> = groups.collect();
    let title = "CPU of the server".into();
    let unit = "as a multiple of a bare loop's (dashed: the bare loop)".into();
    (!groups.is_empty()).then(|| Bars { title, unit, groups }.svg())
}

/// Bytes per idle stream, over four decades.
fn memory(results: &Results) -> Option<String> {
    let groups = ["idle", "idle-updater"].into_iter().filter_map(|workload| {
        let bars: Vec<_> = KNOWN
            .iter()
            .filter_map(|known| {
                let pointer = "/private_dirty_bytes_per_stream";
                let bytes = results.figure(workload, known.name, pointer)?.median;
                Some((known.name.to_owned(), bytes, format!("{bytes:.0} B")))
            })
            .collect();
        let name = match workload {
            "idle" => "idle stream",
            _ => "idle stream with an updater",
        };
        (!bars.is_empty()).then(|| Group {
            name: name.into(),
            bars,
            target: None,
            scale: Scale::Logarithmic,
        })
    });
    let groups: Vec<Group> = groups.collect();
    let title = "Memory of the server".into();
    let unit = "bytes per stream in the server's own memory; a logarithmic scale".into();
    (!groups.is_empty()).then(|| Bars { title, unit, groups }.svg())
}

/// How many events were how late, with 10,000 updaters.
fn lateness(results: &Results) -> Option<String> {
    let lines: Vec<Line> = KNOWN
        .iter()
        .filter_map(|known| {
            let mut shape: Vec<(f64, f64)> = Vec::new();
            for line in results.of("tick-10000", known.name) {
                for step in line["schedule_shape_us"].as_array()? {
                    let (end, count) = (step[0].as_f64()?, step[1].as_f64()?);
                    match shape.iter_mut().find(|(known_end, _)| *known_end == end) {
                        Some((_, sum)) => *sum += count,
                        None => shape.push((end, count)),
                    }
                }
            }
            shape.sort_by(|a, b| a.0.total_cmp(&b.0));
            let all: f64 = shape.iter().map(|(_, count)| count).sum();
            let points: Vec<_> =
                shape.into_iter().map(|(end, count)| (end, 100.0 * count / all)).collect();
            (points.len() > 1).then(|| Line { name: known.name.into(), points })
        })
        .collect();
    (!lines.is_empty()).then(|| {
        Lines {
            title: "Lateness of ticks: 10,000 streams, an updater each, once a second".into(),
            x_axis: "how long after its place in the stream's schedule an event arrived, us".into(),
            y_axis: "% of the events, in steps of a tenth of a decade".into(),
            y_scale: Scale::Linear,
            lines,
        }
        .svg()
    })
}

/// The 99th percentile as streams grow in number.
fn lateness_by_streams(results: &Results) -> Option<String> {
    let workloads = ["tick-100", "tick-1000", "tick-5000", "tick-10000", "tick-19000"];
    let lines: Vec<Line> = KNOWN
        .iter()
        .filter_map(|known| {
            let points: Vec<(f64, f64)> = workloads
                .iter()
                .filter_map(|workload| {
                    let streams = results.figure(workload, known.name, "/streams")?.median;
                    let late = results.figure(workload, known.name, "/schedule_us/p99")?.median;
                    Some((streams, late))
                })
                .collect();
            (points.len() > 2).then(|| Line { name: known.name.into(), points })
        })
        .collect();
    (!lines.is_empty()).then(|| {
        Lines {
            title: "Lateness of ticks, 99th percentile".into(),
            x_axis: "streams with an updater each".into(),
            y_axis: "us".into(),
            y_scale: Scale::Logarithmic,
            lines,
        }
        .svg()
    })
}

struct Engine {
    title: &'static str,
    unit: &'static str,
    figure: &'static str,
    kinds: &'static [(&'static str, &'static str)],
}

impl Engine {
    const TIME: Self = Self {
        title: "One engine without sockets: time",
        unit: "ns, the fastest of several runs",
        figure: "ns",
        kinds: &[("tick", "tick"), ("delivery", "delivery")],
    };
    const MEMORY: Self = Self {
        title: "One engine without sockets: memory",
        unit: "bytes per stream",
        figure: "bytes_per_stream",
        kinds: &[("idle", "idle"), ("tick", "with an updater"), ("delivery", "subscribed")],
    };
}

fn engine(results: &Results, what: Engine) -> Option<String> {
    let lines: Vec<Line> = what
        .kinds
        .iter()
        .filter_map(|(kind, name)| {
            let of_kind = results.engine().filter(|line| line["kind"] == *kind);
            let point =
                |line: &Value| Some((line["streams"].as_f64()?, line[what.figure].as_f64()?));
            let mut points: Vec<(f64, f64)> = of_kind.filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            // The latest run counts.
            points.reverse();
            points.dedup_by_key(|point| point.0);
            points.reverse();
            (points.len() > 1).then(|| Line { name: (*name).into(), points })
        })
        .collect();
    (!lines.is_empty()).then(|| {
        Lines {
            title: what.title.into(),
            x_axis: "streams".into(),
            y_axis: what.unit.into(),
            y_scale: Scale::Linear,
            lines,
        }
        .svg()
    })
}
