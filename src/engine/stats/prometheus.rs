//! Statistics as text for a Prometheus scrape.

use std::fmt::{self, Write};

use crate::engine::stats::{Histogram, Stats};

impl Stats {
    /// All statistics in Prometheus' text exposition format 0.0.4, each name with the prefix
    /// `starwheel_`. About 5 KB; serve it as `text/plain; version=0.0.4`.
    ///
    /// ```
    /// use starwheel::{Response, Router};
    /// let router = Router::new().get("/metrics", |_req, cx| {
    ///     Response::bytes("text/plain; version=0.0.4", cx.stats().prometheus())
    /// });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(6 * 1024);
        // Writing into a `String` cannot fail.
        let _infallible = self.write_prometheus(&mut text);
        text
    }

    /// Those of several workers, each with its number as the label `worker`.
    pub(in crate::engine) fn prometheus_of_workers(workers: &[Self]) -> String {
        let texts: Vec<_> = workers.iter().map(Self::prometheus).collect();
        let mut lines: Vec<_> = texts.iter().map(|text| text.lines()).collect();
        let mut out = String::with_capacity(texts.iter().map(|text| 2 * text.len()).sum());
        // All texts have the same lines, and those of one metric must stay together.
        while let [Some(line), rest @ ..] =
            &lines.iter_mut().map(Iterator::next).collect::<Vec<_>>()[..]
        {
            if line.starts_with('#') {
                out.push_str(line);
                out.push('\n');
                continue;
            }
            let all = std::iter::once(line).chain(rest.iter().flatten());
            for (worker, line) in all.enumerate() {
                // Writing into a `String` cannot fail.
                let _infallible = write_labelled(&mut out, line, worker);
            }
        }
        out
    }

    fn write_prometheus(&self, out: &mut String) -> fmt::Result {
        self.write_gauges(out)?;
        self.write_counters(out)?;
        self.write_reasons(out)?;
        let lateness = "Lateness of ticks in milliseconds";
        self.tick_lateness_ms.write_prometheus(out, "tick_lateness_ms", lateness)?;
        let fan_out =
            "Time from publishing an event until all subscribers were offered it, in milliseconds";
        self.fan_out_ms.write_prometheus(out, "fan_out_ms", fan_out)
    }

    fn write_gauges(&self, out: &mut String) -> fmt::Result {
        for (name, value, help) in [
            ("streams", self.streams, "Open streams"),
            ("connections", self.connections, "Open connections"),
            ("log_bytes", self.log_bytes, "Bytes in the logs of all topics"),
            ("queue_depth", self.queue_depth, "Commands from other threads in the queue"),
            (
                "slowest_call_ms",
                self.slowest_call_ms,
                "Longest run of a slow closure in milliseconds",
            ),
        ] {
            writeln!(out, "# HELP starwheel_{name} {help}\n# TYPE starwheel_{name} gauge")?;
            writeln!(out, "starwheel_{name} {value}")?;
        }
        Ok(())
    }

    fn write_counters(&self, out: &mut String) -> fmt::Result {
        for (name, value, help) in [
            ("streams_opened", self.opened, "Streams opened"),
            ("connections_accepted", self.accepted, "Connections accepted"),
            ("requests", self.requests, "Requests passed to the handler"),
            ("connections_reset", self.resets, "Connections reset because limits were exceeded"),
            ("accept_failures", self.accept_failures, "Failed attempts to accept"),
            ("timed_out", self.timed_out, "Connections closed by a timeout"),
            ("ticks", self.ticks, "Runs of updaters"),
            ("ticks_skipped", self.ticks_skipped, "Ticks skipped because the client lagged"),
            (
                "ticks_missed",
                self.ticks_missed,
                "Ticks dropped because they were overdue by a full interval",
            ),
            (
                "timers_missed",
                self.timers_missed,
                "Timer runs dropped because they were overdue by a full interval",
            ),
            (
                "ticks_unchanged",
                self.ticks_unchanged,
                "Ticks whose output was unchanged and not sent",
            ),
            ("events", self.events, "Events encoded for one stream"),
            ("published", self.published, "Events published on topics"),
            ("published_late", self.published_late, "Events on finished topics, dropped"),
            ("delivered", self.delivered, "Topic events delivered to streams"),
            (
                "passed_by",
                self.passed_by,
                "Times a slow stream missed events that had left the log of a topic",
            ),
            ("gaps", self.gaps, "Gap events sent"),
            ("left_out", self.left_out, "Times a worker missed events because it had taken none"),
            ("compression_bytes_in", self.compression.bytes_in, "Bytes before compression"),
            ("compression_bytes_out", self.compression.bytes_out, "Bytes after compression"),
            ("compression_keys", self.compression.keys, "Topic events compressed independently"),
            ("compression_deltas", self.compression.deltas, "Topic events compressed as deltas"),
            ("compression_nanos", self.compression.nanos, "Nanoseconds spent compressing"),
            ("keep_alives", self.keep_alives, "Keep-alive comments and events sent"),
            ("bytes_in", self.bytes_in, "Bytes read from clients"),
            ("bytes_out", self.bytes_out, "Bytes written to sockets"),
            ("panics", self.panics, "Closures that panicked"),
            ("call_nanos", self.call_nanos, "Nanoseconds spent in closures"),
            ("slow_calls", self.slow_calls, "Closure runs that exceeded Config::slow_call"),
        ] {
            writeln!(out, "# HELP starwheel_{name}_total {help}")?;
            writeln!(out, "# TYPE starwheel_{name}_total counter")?;
            writeln!(out, "starwheel_{name}_total {value}")?;
        }
        Ok(())
    }

    fn write_reasons(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# HELP starwheel_streams_closed_total Streams ended, by reason")?;
        writeln!(out, "# TYPE starwheel_streams_closed_total counter")?;
        for (reason, count) in self.closed.by_reason() {
            writeln!(out, "starwheel_streams_closed_total{{reason=\"{reason}\"}} {count}")?;
        }
        writeln!(out, "# HELP starwheel_refused_total Requests refused, by status")?;
        writeln!(out, "# TYPE starwheel_refused_total counter")?;
        for (status, count) in self.refused.by_status() {
            let status = status.as_u16();
            writeln!(out, "starwheel_refused_total{{status=\"{status}\"}} {count}")?;
        }
        let other = self.refused.other();
        writeln!(out, "starwheel_refused_total{{status=\"other\"}} {other}")
    }
}

/// `name{a="b"} 1` becomes `name{worker="0",a="b"} 1`.
fn write_labelled(out: &mut String, line: &str, worker: usize) -> fmt::Result {
    match line.split_once('{') {
        Some((name, rest)) => writeln!(out, "{name}{{worker=\"{worker}\",{rest}"),
        None => {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            writeln!(out, "{name}{{worker=\"{worker}\"}} {value}")
        }
    }
}

impl Histogram {
    fn write_prometheus(&self, out: &mut String, name: &str, help: &str) -> fmt::Result {
        writeln!(out, "# HELP starwheel_{name} {help}\n# TYPE starwheel_{name} histogram")?;
        let mut total = 0;
        for (index, count) in self.counts().iter().enumerate() {
            total += count;
            match Self::BOUNDS.get(index) {
                Some(bound) => writeln!(out, "starwheel_{name}_bucket{{le=\"{bound}\"}} {total}")?,
                None => writeln!(out, "starwheel_{name}_bucket{{le=\"+Inf\"}} {total}")?,
            }
        }
        writeln!(out, "starwheel_{name}_sum {}\nstarwheel_{name}_count {total}", self.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_name_and_a_number() {
        let mut stats = Stats { streams: 3, ..Stats::default() };
        for late_ms in [0, 1, 3, 5_000] {
            stats.tick_lateness_ms.add(late_ms);
        }
        let text = stats.prometheus();
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("starwheel_"), "{line}");
            value.parse::<u64>().unwrap();
        }
        assert!(text.contains("\nstarwheel_streams 3\n"));
        assert!(text.contains("\nstarwheel_streams_closed_total{reason=\"slow\"} 0\n"));
        assert!(text.contains("\nstarwheel_refused_total{status=\"431\"} 0\n"));
        assert!(text.contains("tick_lateness_ms_bucket{le=\"4\"} 3\n"));
        assert!(text.contains("tick_lateness_ms_bucket{le=\"+Inf\"} 4\n"));
        assert!(text.contains("tick_lateness_ms_sum 5004\n"));
    }

    #[test]
    fn workers_are_told_apart_by_a_label() {
        let workers = [3, 4].map(|streams| Stats { streams, ..Stats::default() });
        let text = Stats::prometheus_of_workers(&workers);
        let help = "# TYPE starwheel_streams gauge";
        let both = "starwheel_streams{worker=\"0\"} 3\nstarwheel_streams{worker=\"1\"} 4\n";
        assert!(text.contains(&format!("{help}\n{both}")), "{text}");
        assert!(text.contains("_bucket{worker=\"1\",le=\"+Inf\"} 0\n"), "{text}");
        assert_eq!(text.matches(help).count(), 1);
    }
}
