//! Figures for reports: quantiles, and ratios over rounds.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{Output, Result, server::Program};

/// What one measurement of one server found.
#[derive(Debug)]
pub struct Figures {
    pub command: &'static str,
    /// The server's time on a CPU for each of what the experiment counts: an event, a response.
    pub cpu_ns: f64,
    /// For people.
    pub text: String,
    /// For programs: an object.
    pub json: Value,
}

impl Figures {
    /// Adds what the same cost a floor in the meantime.
    #[must_use]
    pub fn beside(mut self, floor_cpu_ns: f64) -> Self {
        self.json["floor_cpu_ns"] = floor_cpu_ns.into();
        self
    }

    /// The object as one line of results.
    #[must_use]
    pub fn line(&self, round: usize, program: &Program) -> Value {
        let mut line = json!({
            "command": self.command, "server": program.name, "round": round, "cpu_ns": self.cpu_ns,
        });
        if let (Value::Object(line), Value::Object(json)) = (&mut line, &self.json) {
            line.extend(json.clone());
        }
        line
    }

    pub(crate) fn report(&self, round: usize, program: &Program, output: Output) -> Result<()> {
        let text = format!("round {round}, {}: {}", program.name, self.text);
        output.print(&text, || self.line(round, program))
    }
}

/// Nanoseconds up to a minute, to three digits.
pub fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// The columns of [`quantiles_row`].
pub fn quantiles_head() -> String {
    ["p50", "p90", "p99", "p99.9", "max"].iter().map(|name| format!("{name:>10}")).collect()
}

pub fn quantiles_row(histogram: &Histogram<u64>) -> String {
    quantiles_us(histogram).iter().map(|(_, us)| format!("{us:>10.1}")).collect()
}

pub fn quantiles_json(histogram: &Histogram<u64>) -> Value {
    quantiles_us(histogram).into_iter().map(|(name, us)| (name.to_owned(), json!(us))).collect()
}

fn quantiles_us(histogram: &Histogram<u64>) -> [(&'static str, f64); 5] {
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        .map(|(name, quantile)| (name, histogram.value_at_quantile(quantile) as f64 / 1e3))
}

/// The whole shape of a histogram: counts by upper ends that grow by a tenth of a decade.
pub fn shape_json(histogram: &Histogram<u64>) -> Value {
    let mut shape = Vec::new();
    let mut below = 0;
    for step in 0..=SHAPE_STEPS {
        let end_ns = 1000.0 * 10_f64.powf(step as f64 / 10.0);
        let until = histogram.count_between(0, end_ns as u64);
        if until > below {
            shape.push(json!([(end_ns / 100.0).round() / 10.0, until - below]));
        }
        below = until;
    }
    shape.into()
}

/// One ratio, measured once per round.
#[derive(Debug)]
pub struct Ratios {
    command: &'static str,
    what: String,
    values: Vec<f64>,
}

impl Ratios {
    pub fn new(command: &'static str, what: impl Into<String>) -> Self {
        Self { command, what: what.into(), values: Vec::new() }
    }

    pub fn add(&mut self, ratio: f64) {
        self.values.push(ratio);
    }

    /// Nothing is said about a ratio that no round has measured.
    pub fn report(mut self, output: Output) -> Result<()> {
        self.values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (self.values.first(), self.values.last()) else {
            return Ok(());
        };
        let rounds = self.values.len();
        let median = (self.values[(rounds - 1) / 2] + self.values[rounds / 2]) / 2.0;
        let Self { command, what, .. } = self;
        let text = format!("{what}: {median:.3} (median of {rounds}, {min:.3} to {max:.3})");
        output.print(&text, || {
            json!({
                "command": command, "summary": true, "ratio": what, "rounds": rounds,
                "median": median, "min": min, "max": max,
            })
        })
    }
}

/// From a microsecond to ten seconds.
const SHAPE_STEPS: u32 = 70;
