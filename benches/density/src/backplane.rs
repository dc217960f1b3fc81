//! Events over Redis, as Markdown; `benches/backplane.rs` measures them.

use std::fmt::Write;

use serde_json::Value;
use starwheel_density::results::{Results, Spread};

use crate::table::{machine_words, rounded, thousands};

pub(crate) fn markdown(results: &Results) -> String {
    let mut out = "| events per second | delay, p50 | p99 | CPU per event: Redis | publisher | \
                   other process |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for (rate, topics, title) in ROWS {
        let of = |name: &str| {
            figure(results, |line| line["rate"] == rate && line["topics"] == topics, name)
        };
        let Some(got) = of("events_per_s") else { continue };
        let title = match rate {
            0 => format!("{}, {title}", thousands((got.median / 100.0).round() * 100.0)),
            _ => format!("{}{title}", thousands(f64::from(rate))),
        };
        // Without a pause, an event waits behind all that were published before it.
        let delay = |name: &str| match rate {
            0 => "-".into(),
            _ => of(name).map_or_else(|| "-".into(), |it| spread(it, 1e3, "ms")),
        };
        let cpu = |name: &str| of(name).map_or_else(|| "-".into(), |it| spread(it, 1.0, "us"));
        let _ = writeln!(
            out,
            "| {title} | {} | {} | {} | {} | {} |",
            delay("p50_us"),
            delay("p99_us"),
            cpu("redis_cpu_us"),
            cpu("publisher_cpu_us"),
            cpu("other_cpu_us"),
        );
    }
    let late = |name: &str| figure(results, |line| line.get(name).is_some(), name);
    if let (Some(median), Some(most)) = (late("late_start_median_us"), late("late_start_most_us")) {
        let _ = writeln!(
            out,
            "\nA process that has just started served a history {:.1} ms after its first client \
             connected (median; at most {:.1} ms).",
            median.median / 1e3,
            most.max / 1e3
        );
    }
    if let Some(words) = machine_words(results) {
        let version = results.version("redis").unwrap_or("of an unknown version");
        let _ = writeln!(out, "\nMeasured on {words}, with Redis {version}.");
    }
    out
}

fn figure(results: &Results, is_meant: impl Fn(&Value) -> bool, name: &str) -> Option<Spread> {
    let lines = results.backplane().filter(|line| is_meant(line));
    Spread::of(lines.filter_map(|line| line[name].as_f64()).collect())
}

fn spread(spread: Spread, divisor: f64, unit: &str) -> String {
    let [median, min, max] =
        [spread.median, spread.min, spread.max].map(|value| rounded(value / divisor));
    if min == max {
        format!("{median} {unit}")
    } else {
        format!("{median} {unit} ({min} to {max})")
    }
}

/// Events a second, on how many topics, and what to say of it.
const ROWS: [(u32, u32, &str); 6] = [
    (100, 1, ""),
    (1000, 1, ""),
    (5000, 1, ""),
    (20_000, 1, ""),
    (20_000, 10_000, ", on 10,000 topics of which the other process wants 20"),
    (0, 1, "the most that went through"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rounds_of_a_rate_become_one_row() {
        let line = |round: u32, p50: u32| {
            json!({ "backplane": {
                "round": round, "rate": 100, "topics": 1, "events_per_s": 100.0, "p50_us": p50,
            }})
        };
        let table = markdown(&Results::of_lines(vec![line(1, 500), line(2, 700), line(3, 600)]));
        assert!(table.contains("| 100 | 0.60 ms (0.50 to 0.70) | - |"), "{table}");
    }
}
