//! Figures for reports: quantiles, and ratios over rounds.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{Output, Result};

/// Nanoseconds up to a minute, to three digits.
pub(crate) fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// The columns of [`quantiles_row`].
pub(crate) fn quantiles_head() -> String {
    ["p50", "p90", "p99", "p99.9", "max"].iter().map(|name| format!("{name:>10}")).collect()
}

pub(crate) fn quantiles_row(histogram: &Histogram<u64>) -> String {
    quantiles_us(histogram).iter().map(|(_, us)| format!("{us:>10.1}")).collect()
}

pub(crate) fn quantiles_json(histogram: &Histogram<u64>) -> Value {
    quantiles_us(histogram).into_iter().map(|(name, us)| (name.to_owned(), json!(us))).collect()
}

fn quantiles_us(histogram: &Histogram<u64>) -> [(&'static str, f64); 5] {
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        .map(|(name, quantile)| (name, histogram.value_at_quantile(quantile) as f64 / 1e3))
}

/// One ratio, measured once per round.
#[derive(Debug)]
pub(crate) struct Ratios {
    command: &'static str,
    what: String,
    values: Vec<f64>,
}

impl Ratios {
    pub(crate) fn new(command: &'static str, what: impl Into<String>) -> Self {
        Self { command, what: what.into(), values: Vec::new() }
    }

    pub(crate) fn add(&mut self, ratio: f64) {
        self.values.push(ratio);
    }

    /// Nothing is said about a ratio that no round has measured.
    pub(crate) fn report(mut self, output: Output) -> Result<()> {
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
