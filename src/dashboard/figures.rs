//! What the page is told of one worker: counters as they are, so that nothing is lost with a snapshot
//! that a viewer misses. The page computes rates.

use super::json::Json;
use crate::engine::{BackplaneStats, ClosedCounts, SlowStream, Stats, TlsStats};

/// All figures of a worker.
pub(super) fn write_all(json: &mut Json, stats: &Stats) {
    write_totals(json, stats);
    write_others(json, stats);
    if stats.fan_out_ms.count() > 0 {
        json.key("fan_out").numbers(stats.fan_out_ms.counts());
    }
    let compression = &stats.compression;
    if compression.bytes_in > 0 {
        json.key("compression").object(|json| {
            json.counts([
                ("bytes_in", compression.bytes_in),
                ("bytes_out", compression.bytes_out),
                ("keys", compression.keys),
                ("deltas", compression.deltas),
                ("wholes", compression.wholes),
                ("nanos", compression.nanos),
            ]);
        });
    }
    if stats.tls != TlsStats::default() {
        json.key("tls").object(|json| write_tls(json, &stats.tls));
    }
    json.key("routes").list(|json| write_routes(json, stats));
    json.key("topics").list(|json| write_topics(json, stats));
}

/// What the strips of the last minutes are drawn from.
pub(super) fn write_totals(json: &mut Json, stats: &Stats) {
    json.counts([
        ("streams", stats.streams),
        ("opened", stats.opened),
        ("ticks", stats.ticks),
        ("events", stats.events),
        ("delivered", stats.delivered),
        ("bytes_out", stats.bytes_out),
        ("call_nanos", stats.call_nanos),
    ]);
    write_closed(json, &stats.closed);
    if stats.refused.total() > 0 {
        json.key("refused").object(|json| {
            let by_status = stats.refused.by_status().filter(|(_, count)| *count > 0);
            by_status.for_each(|(status, count)| json.count(&status.as_u16().to_string(), count));
            json.count("other", stats.refused.other());
        });
    }
    if stats.tick_lateness_ms.count() > 0 {
        json.key("lateness").numbers(stats.tick_lateness_ms.counts());
    }
}

fn write_others(json: &mut Json, stats: &Stats) {
    json.counts([
        ("connections", stats.connections),
        ("accepted", stats.accepted),
        ("requests", stats.requests),
        ("resets", stats.resets),
        ("accept_failures", stats.accept_failures),
        ("timed_out", stats.timed_out),
        ("ticks_skipped", stats.ticks_skipped),
        ("ticks_missed", stats.ticks_missed),
        ("ticks_unchanged", stats.ticks_unchanged),
        ("published", stats.published),
        ("published_late", stats.published_late),
        ("passed_by", stats.passed_by),
        ("gaps", stats.gaps),
        ("left_out", stats.left_out),
        ("timers_missed", stats.timers_missed),
        ("log_bytes", stats.log_bytes),
        ("queue_depth", stats.queue_depth),
        ("keep_alives", stats.keep_alives),
        ("bytes_in", stats.bytes_in),
        ("panics", stats.panics),
        ("slow_calls", stats.slow_calls),
        ("slowest_call_ms", stats.slowest_call_ms),
    ]);
}

fn write_closed(json: &mut Json, closed: &ClosedCounts) {
    if closed.total() > 0 {
        json.key("closed").object(|json| json.counts(closed.by_reason()));
    }
}

fn write_routes(json: &mut Json, stats: &Stats) {
    for (pattern, route) in stats.routes() {
        json.object(|json| {
            json.text("name", pattern);
            json.counts([
                ("streams", route.streams),
                ("opened", route.opened),
                ("requests", route.requests),
                ("call_nanos", route.call_nanos),
            ]);
            write_closed(json, &route.closed);
        });
    }
}

fn write_topics(json: &mut Json, stats: &Stats) {
    for (name, topic) in stats.topics() {
        json.object(|json| {
            json.text("name", name);
            json.counts([
                ("subscribers", topic.subscribers),
                ("lag", topic.lag),
                ("log_events", topic.log_events),
                ("log_bytes", topic.log_bytes),
                ("published", topic.published),
                ("delivered", topic.delivered),
            ]);
        });
    }
}

fn write_tls(json: &mut Json, tls: &TlsStats) {
    json.counts([
        ("handshaking", tls.handshaking),
        ("handshakes", tls.handshakes),
        ("resumed", tls.resumed),
        ("key_updates", tls.key_updates),
        ("alerts_received", tls.alerts_received),
        ("alerts_sent", tls.alerts_sent),
        ("faults", tls.faults),
        ("records_timed_out", tls.records_timed_out),
        ("records_refused", tls.records_refused),
        ("partial_bytes", tls.partial_bytes),
        ("unsent_bytes", tls.unsent_bytes),
        ("client_bytes", tls.client_bytes),
    ]);
    json.key("failed").object(|json| json.counts(tls.failed.by_reason()));
    json.key("handshake").numbers(tls.handshake_ms.counts());
}

pub(super) fn write_slow(json: &mut Json, slow: &[SlowStream]) {
    for stream in slow {
        json.object(|json| {
            json.text("route", stream.route.as_deref().unwrap_or("other"));
            if let Some(tag) = &stream.tag {
                json.text("tag", tag);
            }
            json.counts([
                ("stuck_ms", stream.arrears.stuck_ms),
                ("lag", stream.arrears.lag),
                ("queued_bytes", stream.arrears.queued_bytes as u64),
                ("age_ms", stream.age.as_millis() as u64),
            ]);
        });
    }
}

pub(super) fn write_backplane(json: &mut Json, stats: &BackplaneStats) {
    json.text("last_error", &stats.last_error);
    json.counts([
        ("connected", stats.connected.into()),
        ("down_ms", stats.down_for.map_or(0, |down| down.as_millis() as u64)),
        ("position", stats.position),
        ("lag_ms", stats.lag_ms),
        ("outbox_bytes", stats.outbox_bytes),
        ("in_flight", stats.in_flight),
        ("topics", stats.topics),
        ("published", stats.published),
        ("refused", stats.refused),
        ("received", stats.received),
        ("skipped", stats.skipped),
        ("unreadable", stats.unreadable),
        ("resent", stats.resent),
        ("duplicates", stats.duplicates),
        ("holes", stats.holes),
        ("undone", stats.undone),
        ("generations", stats.generations),
        ("connects", stats.connects),
        ("histories", stats.histories),
    ]);
}
