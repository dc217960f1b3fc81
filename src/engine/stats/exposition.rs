//! The text exposition format 0.0.4 of Prometheus: families of samples.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Write};

/// Text for a scrape. Writing into a `String` cannot fail, so results are dropped in one place.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The value of a sample. Times are in seconds, as Prometheus has them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Count(u64),
    Millis(u64),
    Nanos(u64),
}

/// A metric without labels of its own: its name without prefix and without `_total`, its value, and
/// what it is.
pub(super) type Metric = (&'static str, Value, &'static str);

/// Labels of a sample: names, which are ours, and values, which need not be.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family. All of its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let total = kind.suffix();
        let kind = kind.name();
        self.put(format_args!(
            "# HELP starwheel_{name}{total} {help}\n# TYPE starwheel_{name}{total} {kind}\n"
        ));
    }

    /// A sample of a counter or gauge.
    pub(super) fn sample(&mut self, name: &str, kind: Kind, labels: &Labels<'_>, value: Value) {
        let total = kind.suffix();
        self.put(format_args!("starwheel_{name}{total}"));
        self.labels(labels, None);
        self.put(format_args!(" {value}\n"));
    }

    /// The samples of a histogram: its counts, each with its upper bound, which the last one has not.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &Labels<'_>,
        counts: impl IntoIterator<Item = (u64, Option<Value>)>,
        sum: Value,
    ) {
        let mut total = 0;
        for (count, bound) in counts {
            total += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.put(format_args!("starwheel_{name}_bucket"));
            self.labels(labels, Some(&bound));
            self.put(format_args!(" {total}\n"));
        }
        for (suffix, value) in [("sum", sum), ("count", Value::Count(total))] {
            self.put(format_args!("starwheel_{name}_{suffix}"));
            self.labels(labels, None);
            self.put(format_args!(" {value}\n"));
        }
    }

    /// Metrics of one source.
    pub(super) fn metrics(&mut self, kind: Kind, metrics: &[Metric]) {
        for (name, value, help) in metrics {
            self.family(name, kind, help);
            self.sample(name, kind, &[], *value);
        }
    }

    fn labels(&mut self, labels: &Labels<'_>, bound: Option<&str>) {
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.put(format_args!("{before}{name}=\"{}\"", Escaped(value)));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        let _infallible = self.text.write_fmt(text);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    fn suffix(self) -> &'static str {
        if self == Self::Counter { "_total" } else { "" }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Millis(ms) => write!(f, "{}", ms as f64 / 1e3),
            Self::Nanos(nanos) => write!(f, "{}", nanos as f64 / 1e9),
        }
    }
}

/// The value of a label: patterns and names of topics may have any characters.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let escaped = match rest.as_bytes()[at] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            };
            write!(f, "{}{escaped}", &rest[..at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_cannot_end_them() {
        let mut out = Exposition::default();
        let labels = [("worker", "0"), ("topic", "a\"} 1\nb\\n é")];
        out.sample("topic_lag", Kind::Gauge, &labels, Value::Count(3));
        let expected = "starwheel_topic_lag{worker=\"0\",topic=\"a\\\"} 1\\nb\\\\n é\"} 3\n";
        assert_eq!(out.into_text(), expected);
    }

    #[test]
    fn times_are_in_seconds_and_never_with_an_exponent() {
        let texts = [Value::Millis(3_000), Value::Millis(5), Value::Nanos(1), Value::Nanos(0)];
        let texts = texts.map(|value| value.to_string());
        assert_eq!(texts, ["3", "0.005", "0.000000001", "0"]);
    }

    #[test]
    fn buckets_of_a_histogram_are_cumulative() {
        let mut out = Exposition::default();
        out.family("x_seconds", Kind::Histogram, "Some time");
        let counts = [(2, Some(Value::Millis(1))), (0, Some(Value::Millis(500))), (1, None)];
        out.histogram("x_seconds", &[], counts, Value::Millis(9_001));
        let expected = "# HELP starwheel_x_seconds Some time\n# TYPE starwheel_x_seconds histogram\n\
            starwheel_x_seconds_bucket{le=\"0.001\"} 2\nstarwheel_x_seconds_bucket{le=\"0.5\"} 2\n\
            starwheel_x_seconds_bucket{le=\"+Inf\"} 3\nstarwheel_x_seconds_sum 9.001\n\
            starwheel_x_seconds_count 3\n";
        assert_eq!(out.into_text(), expected);
    }
}
