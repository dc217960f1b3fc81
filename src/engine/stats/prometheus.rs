//! Statistics as text for a Prometheus scrape.

use super::{
    DurationHistogram, Histogram, RouteStats, Stats, TopicStats,
    exposition::{
        Exposition,
        Kind::{self, Counter, Gauge},
        Metric,
        Value::{self, Count, Millis, Nanos},
    },
};

impl Stats {
    /// All statistics in Prometheus' text exposition format 0.0.4, each name with the prefix
    /// `starwheel_`; times are in seconds. About 9 KB, 2 KB for each route with streams, and 400
    /// bytes for each listed topic. Serve it as `text/plain; version=0.0.4`.
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
        exposition(&[Source { worker: None, stats: self }])
    }

    /// Those of several workers, each with its number as the label `worker`.
    pub(in crate::engine) fn prometheus_of_workers(workers: &[Self]) -> String {
        let numbers: Vec<_> = (0..workers.len()).map(|number| number.to_string()).collect();
        let source = |(number, stats)| Source { worker: Some(number), stats };
        let sources: Vec<_> = numbers.iter().map(String::as_str).zip(workers).map(source).collect();
        exposition(&sources)
    }
}

/// The statistics of one worker.
struct Source<'a> {
    worker: Option<&'a str>,
    stats: &'a Stats,
}

impl<'a> Source<'a> {
    /// The label of the worker, if there are several, and others.
    fn labels<'b>(&'b self, others: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)>
    where
        'a: 'b,
    {
        let worker = self.worker.map(|worker| ("worker", worker));
        worker.into_iter().chain(others.iter().copied()).collect()
    }
}

/// The samples of a family must stay together, so each family goes through all workers.
fn exposition(sources: &[Source<'_>]) -> String {
    let mut out = Exposition::with_capacity(8 * 1024 * sources.len());
    write_metrics(&mut out, sources, Gauge, gauges);
    write_metrics(&mut out, sources, Counter, counters);
    write_reasons(&mut out, sources);
    write_tls(&mut out, sources);
    let lateness = ("tick_lateness_seconds", "Lateness of ticks");
    write_histogram(&mut out, sources, lateness, |stats| &stats.tick_lateness_ms);
    let fan_out =
        ("fan_out_seconds", "Time from publishing an event until all subscribers were offered it");
    write_histogram(&mut out, sources, fan_out, |stats| &stats.fan_out_ms);
    write_routes(&mut out, sources);
    write_topics(&mut out, sources);
    out.into_text()
}

fn write_metrics(
    out: &mut Exposition,
    sources: &[Source<'_>],
    kind: Kind,
    metrics: impl Fn(&Stats) -> Vec<Metric>,
) {
    let of_each: Vec<_> = sources.iter().map(|source| metrics(source.stats)).collect();
    let Some(first) = of_each.first() else { return };
    for (index, (name, _, help)) in first.iter().enumerate() {
        out.family(name, kind, help);
        for (source, metrics) in sources.iter().zip(&of_each) {
            out.sample(name, kind, &source.labels(&[]), metrics[index].1);
        }
    }
}

fn gauges(stats: &Stats) -> Vec<Metric> {
    vec![
        ("streams", Count(stats.streams), "Open streams"),
        ("connections", Count(stats.connections), "Open connections"),
        ("log_bytes", Count(stats.log_bytes), "Bytes in the logs of all topics"),
        ("queue_depth", Count(stats.queue_depth), "Commands from other threads in the queue"),
        ("slowest_call_seconds", Millis(stats.slowest_call_ms), "Longest run of a slow closure"),
    ]
}

fn counters(stats: &Stats) -> Vec<Metric> {
    let compression = &stats.compression;
    vec![
        ("streams_opened", Count(stats.opened), "Streams opened"),
        ("connections_accepted", Count(stats.accepted), "Connections accepted"),
        ("requests", Count(stats.requests), "Requests passed to the handler"),
        (
            "connections_reset",
            Count(stats.resets),
            "Connections reset because limits were exceeded",
        ),
        ("accept_failures", Count(stats.accept_failures), "Failed attempts to accept"),
        ("timed_out", Count(stats.timed_out), "Connections closed by a timeout"),
        ("ticks", Count(stats.ticks), "Runs of updaters"),
        ("ticks_skipped", Count(stats.ticks_skipped), "Ticks skipped because the client lagged"),
        (
            "ticks_missed",
            Count(stats.ticks_missed),
            "Ticks dropped because they were overdue by a full interval",
        ),
        (
            "timers_missed",
            Count(stats.timers_missed),
            "Timer runs dropped because they were overdue by a full interval",
        ),
        (
            "ticks_unchanged",
            Count(stats.ticks_unchanged),
            "Ticks whose output was unchanged and not sent",
        ),
        ("events", Count(stats.events), "Events encoded for one stream"),
        ("published", Count(stats.published), "Events published on topics"),
        ("published_late", Count(stats.published_late), "Events on finished topics, dropped"),
        ("delivered", Count(stats.delivered), "Topic events delivered to streams"),
        (
            "passed_by",
            Count(stats.passed_by),
            "Times a slow stream missed events that had left the log of a topic",
        ),
        ("gaps", Count(stats.gaps), "Gap events sent"),
        (
            "left_out",
            Count(stats.left_out),
            "Times a worker missed events because it had taken none",
        ),
        ("compression_input_bytes", Count(compression.bytes_in), "Bytes before compression"),
        ("compression_output_bytes", Count(compression.bytes_out), "Bytes after compression"),
        ("compression_keys", Count(compression.keys), "Topic events compressed independently"),
        ("compression_deltas", Count(compression.deltas), "Topic events compressed as deltas"),
        ("compression_seconds", Nanos(compression.nanos), "Time spent compressing"),
        ("keep_alives", Count(stats.keep_alives), "Keep-alive comments and events sent"),
        ("received_bytes", Count(stats.bytes_in), "Bytes read from clients"),
        ("sent_bytes", Count(stats.bytes_out), "Bytes written to sockets"),
        ("panics", Count(stats.panics), "Closures that panicked"),
        ("call_seconds", Nanos(stats.call_nanos), "Time in closures"),
        ("slow_calls", Count(stats.slow_calls), "Closure runs that exceeded Config::slow_call"),
    ]
}

fn write_reasons(out: &mut Exposition, sources: &[Source<'_>]) {
    out.family("streams_closed", Counter, "Streams ended, by reason");
    for source in sources {
        for (reason, count) in source.stats.closed.by_reason() {
            let labels = source.labels(&[("reason", reason)]);
            out.sample("streams_closed", Counter, &labels, Count(count));
        }
    }
    out.family("refused", Counter, "Requests refused, by status");
    for source in sources {
        let refused = &source.stats.refused;
        let by_status =
            refused.by_status().map(|(status, count)| (status.as_u16().to_string(), count));
        for (status, count) in by_status.chain([("other".to_owned(), refused.other())]) {
            let labels = source.labels(&[("status", &status)]);
            out.sample("refused", Counter, &labels, Count(count));
        }
    }
}

fn write_tls(out: &mut Exposition, sources: &[Source<'_>]) {
    write_metrics(out, sources, Gauge, |stats| {
        let tls = &stats.tls;
        vec![
            ("tls_handshaking", Count(tls.handshaking), "Connections in a TLS handshake"),
            ("tls_partial_bytes", Count(tls.partial_bytes), "Bytes of incomplete TLS records kept"),
            (
                "tls_unsent_bytes",
                Count(tls.unsent_bytes),
                "Sealed bytes that sockets have not taken",
            ),
            (
                "tls_client_bytes",
                Count(tls.client_bytes),
                "Bytes of client certificates and server names that connections keep",
            ),
        ]
    });
    write_metrics(out, sources, Counter, |stats| {
        let tls = &stats.tls;
        vec![
            ("tls_handshakes", Count(tls.handshakes), "TLS handshakes completed"),
            ("tls_resumed", Count(tls.resumed), "TLS handshakes that resumed a session"),
            ("tls_key_updates", Count(tls.key_updates), "TLS keys replaced during connections"),
            ("tls_alerts_received", Count(tls.alerts_received), "TLS error alerts of clients"),
            ("tls_alerts_sent", Count(tls.alerts_sent), "TLS error alerts to clients"),
            ("tls_faults", Count(tls.faults), "Connections whose client broke the rules of TLS"),
            (
                "tls_records_timed_out",
                Count(tls.records_timed_out),
                "Connections closed because a TLS record was not complete in time",
            ),
            (
                "tls_records_refused",
                Count(tls.records_refused),
                "Connections closed because incomplete TLS records were over the limit",
            ),
        ]
    });
    out.family("tls_handshakes_failed", Counter, "TLS handshakes failed, by reason");
    for source in sources {
        for (reason, count) in source.stats.tls.failed.by_reason() {
            let labels = source.labels(&[("reason", reason)]);
            out.sample("tls_handshakes_failed", Counter, &labels, Count(count));
        }
    }
    let help = "Time from accepting a connection to the end of its TLS handshake";
    write_histogram(out, sources, ("tls_handshake_seconds", help), |stats| &stats.tls.handshake_ms);
}

fn write_histogram(
    out: &mut Exposition,
    sources: &[Source<'_>],
    (name, help): (&str, &str),
    of: impl Fn(&Stats) -> &Histogram,
) {
    out.family(name, Kind::Histogram, help);
    for source in sources {
        let histogram = of(source.stats);
        let bounds = Histogram::BOUNDS.map(|bound| Some(Millis(bound)));
        let counts = histogram.counts().iter().copied().zip(bounds.into_iter().chain([None]));
        out.histogram(name, &source.labels(&[]), counts, Millis(histogram.sum()));
    }
}

/// Routes that have had no stream have only requests, and time.
fn write_routes(out: &mut Exposition, sources: &[Source<'_>]) {
    type Figure = (&'static str, Kind, fn(&RouteStats) -> Value, &'static str);
    let of_requests: [Figure; 2] = [
        (
            "route_requests",
            Counter,
            |it| Count(it.requests),
            "Requests passed to handlers, by route",
        ),
        ("route_call_seconds", Counter, |it| Nanos(it.call_nanos), "Time in closures, by route"),
    ];
    let of_streams: [Figure; 2] = [
        ("route_streams", Gauge, |it| Count(it.streams), "Open streams, by route"),
        ("route_streams_opened", Counter, |it| Count(it.opened), "Streams opened, by route"),
    ];
    for (name, kind, value, help) in of_requests {
        out.family(name, kind, help);
        for_each_route(sources, |labels, route| out.sample(name, kind, labels, value(route)));
    }
    for (name, kind, value, help) in of_streams {
        out.family(name, kind, help);
        for_each_streaming(sources, |labels, route| out.sample(name, kind, labels, value(route)));
    }
    let name = "route_streams_closed";
    out.family(name, Counter, "Streams ended, by route and reason");
    for_each_streaming(sources, |labels, route| {
        for (reason, count) in route.closed.by_reason() {
            let labels = [labels, &[("reason", reason)]].concat();
            out.sample(name, Counter, &labels, Count(count));
        }
    });
    let name = "route_stream_duration_seconds";
    out.family(name, Kind::Histogram, "How long streams were open that have ended, by route");
    for_each_streaming(sources, |labels, route| {
        let bounds = DurationHistogram::BOUNDS.map(|bound| Some(Count(bound)));
        let counts = route.durations.counts().iter().copied();
        let sum = Millis(route.durations.sum().as_millis() as u64);
        out.histogram(name, labels, counts.zip(bounds.into_iter().chain([None])), sum);
    });
}

fn for_each_route(sources: &[Source<'_>], mut each: impl FnMut(&[(&str, &str)], &RouteStats)) {
    for source in sources {
        for (pattern, route) in source.stats.routes() {
            each(&source.labels(&[("route", pattern)]), route);
        }
    }
}

fn for_each_streaming(sources: &[Source<'_>], mut each: impl FnMut(&[(&str, &str)], &RouteStats)) {
    for_each_route(sources, |labels, route| {
        if route.opened > 0 {
            each(labels, route);
        }
    });
}

fn write_topics(out: &mut Exposition, sources: &[Source<'_>]) {
    type Figure = (&'static str, Kind, fn(&TopicStats) -> u64, &'static str);
    let figures: [Figure; 6] = [
        ("topic_subscribers", Gauge, |it| it.subscribers, "Subscribed streams, by topic"),
        (
            "topic_lag_events",
            Gauge,
            |it| it.lag,
            "Events that the slowest subscriber lags, by topic",
        ),
        ("topic_log_events", Gauge, |it| it.log_events, "Events in the log, by topic"),
        ("topic_log_bytes", Gauge, |it| it.log_bytes, "Bytes in the log, by topic"),
        ("topic_published", Counter, |it| it.published, "Events published, by topic"),
        ("topic_delivered", Counter, |it| it.delivered, "Events delivered to streams, by topic"),
    ];
    for (name, kind, value, help) in figures {
        out.family(name, kind, help);
        for source in sources {
            for (topic, stats) in source.stats.topics() {
                let labels = source.labels(&[("topic", topic)]);
                out.sample(name, kind, &labels, Count(value(stats)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, time::Duration};

    use crate::error::CloseReason;

    /// With a route and a topic.
    fn some_stats() -> Stats {
        let mut stats = Stats { streams: 3, slowest_call_ms: 120, ..Stats::default() };
        stats.routes.begin_routes();
        stats.routes.opened(None);
        stats.routes.ended(None);
        stats.routes.closed(None, &CloseReason::Slow, Duration::from_millis(5_100));
        let news = TopicStats { lag: 12, ..TopicStats::default() };
        stats.topics.note_topic(0, &"the \"news\"".into(), news);
        stats
    }

    #[test]
    fn every_line_is_a_comment_or_a_name_and_a_number() {
        let mut stats = some_stats();
        for late_ms in [0, 1, 3, 5_000] {
            stats.tick_lateness_ms.add(late_ms);
            stats.tls.handshake_ms.add(late_ms);
        }
        let text = stats.prometheus();
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("starwheel_"), "{line}");
            value.parse::<f64>().unwrap();
        }
        for line in [
            "starwheel_streams 3",
            "starwheel_slowest_call_seconds 0.12",
            "starwheel_streams_closed_total{reason=\"slow\"} 0",
            "starwheel_refused_total{status=\"431\"} 0",
            "starwheel_tick_lateness_seconds_bucket{le=\"0.004\"} 3",
            "starwheel_tick_lateness_seconds_bucket{le=\"+Inf\"} 4",
            "starwheel_tick_lateness_seconds_sum 5.004",
            "starwheel_route_streams_opened_total{route=\"other\"} 1",
            "starwheel_route_streams_closed_total{route=\"other\",reason=\"slow\"} 1",
            "starwheel_route_stream_duration_seconds_bucket{route=\"other\",le=\"5\"} 0",
            "starwheel_route_stream_duration_seconds_bucket{route=\"other\",le=\"15\"} 1",
            "starwheel_route_stream_duration_seconds_sum{route=\"other\"} 5.1",
            "starwheel_topic_lag_events{topic=\"the \\\"news\\\"\"} 12",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
    }

    #[test]
    fn workers_are_told_apart_by_a_label_and_each_family_is_in_one_piece() {
        let workers = [some_stats(), Stats { streams: 4, ..Stats::default() }];
        let text = Stats::prometheus_of_workers(&workers);
        let help = "# TYPE starwheel_streams gauge";
        let both = "starwheel_streams{worker=\"0\"} 3\nstarwheel_streams{worker=\"1\"} 4\n";
        assert!(text.contains(&format!("{help}\n{both}")), "{text}");
        assert!(text.contains("_bucket{worker=\"1\",le=\"+Inf\"} 0\n"), "{text}");
        assert!(text.contains("\nstarwheel_route_streams{worker=\"0\",route=\"other\"} 0\n"));
        let types = || text.lines().filter(|line| line.starts_with("# TYPE "));
        assert_eq!(types().count(), types().collect::<HashSet<_>>().len());
        assert_eq!(
            Stats::prometheus_of_workers(&[]).lines().filter(|it| !it.starts_with('#')).count(),
            0
        );
    }
}
