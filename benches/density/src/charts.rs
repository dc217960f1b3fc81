//! The two charts of the project's README: what a stream takes of the whole machine, and what an event
//! costs, for servers as they are and behind what they need for HTTPS.

use std::fmt::Write;

use crate::{
    results::Results,
    svg::{escape, text},
};

/// A server of a chart.
struct Row {
    name: &'static str,
    is_ours: bool,
    kind: Kind,
}

enum Kind {
    /// Measured by the matrix, over plain HTTP.
    Plain(&'static str),
    /// Measured by `starwheel-edge`: starwheel over TLS, or behind a proxy.
    Https(&'static str),
}

static ROWS: [Row; 12] = [
    ours("starwheel", Kind::Plain("starwheel")),
    row("uWebSockets", Kind::Plain("uwebsockets")),
    row("Node", Kind::Plain("node")),
    row("nchan (nginx)", Kind::Plain("nchan")),
    row("actix", Kind::Plain("actix")),
    row("hyper", Kind::Plain("hyper")),
    row("axum", Kind::Plain("axum")),
    row("Go", Kind::Plain("go")),
    ours("starwheel, TLS inside", Kind::Https("tls")),
    row("HAProxy + starwheel", Kind::Https("haproxy")),
    row("nginx + starwheel", Kind::Https("nginx-lean")),
    row("Caddy + starwheel", Kind::Https("caddy-lean")),
];

const fn row(name: &'static str, kind: Kind) -> Row {
    Row { name, is_ours: false, kind }
}

const fn ours(name: &'static str, kind: Kind) -> Row {
    Row { name, is_ours: true, kind }
}

impl Row {
    fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }

    /// Bytes of an idle stream: of all programs, and of the kernel.
    fn memory(&self, results: &Results) -> Option<[f64; 2]> {
        let of = |server, pointer| Some(results.figure("idle", server, pointer)?.median);
        Some(match self.kind {
            // A connection is a socket of the server, whichever server it is.
            Kind::Plain(server) => [
                of(server, "/private_dirty_bytes_per_stream")?,
                of("plain", "/kernel_bytes_per_stream")?,
            ],
            Kind::Https(server) => {
                let kernel = of(server, "/kernel_bytes_per_stream")?;
                [of(server, "/box_bytes_per_stream")? - kernel, kernel]
            }
        })
    }

    /// CPU of an event as a multiple of the bare loop's. What was measured as a multiple of plain
    /// starwheel is multiplied by that of plain starwheel.
    fn cpu(&self, results: &Results, event: &Event) -> Option<f64> {
        let to_floor = |server| Some(results.ratio(event.workload, server, event.floor)?.median);
        match self.kind {
            Kind::Plain(server) => to_floor(server),
            Kind::Https(server) => {
                let to_plain = results.ratio(event.edge_workload, server, "plain")?.median;
                Some(to_plain * to_floor("starwheel")?)
            }
        }
    }
}

struct Event {
    title: &'static str,
    workload: &'static str,
    floor: &'static str,
    edge_workload: &'static str,
}

const EVENTS: [Event; 2] = [
    Event {
        title: "an event to one stream (tick)",
        workload: "tick-1000",
        floor: "floor-ms",
        edge_workload: "tick",
    },
    Event {
        title: "an event to all streams (broadcast)",
        workload: "broadcast-10000",
        floor: "floor",
        edge_workload: "broadcast",
    },
];

/// Memory of the whole machine per idle stream, programs and kernel.
pub(crate) fn memory(results: &Results) -> Option<String> {
    let rows = sorted(|row| Some(row.memory(results)?.iter().sum()));
    let longest = rows.iter().map(|(_, sum)| *sum).fold(0.0, f64::max);
    if !rows.iter().any(|(row, _)| row.is_plain()) {
        return None;
    }
    let mut chart = Chart::new(&rows, "Memory that one idle stream takes on the server's machine");
    chart.note(46.0, "bytes, all processes together; shorter is better");
    chart.legend(&[("programs", "ours", "other"), ("kernel, for the sockets", "kernel", "")]);
    let scale = (RIGHT - LABEL_WIDTH - LEFT) / longest;
    chart.names(&rows);
    for (y, row, sum) in placed(&rows) {
        let svg = &mut chart.svg;
        let [programs, kernel] = row.memory(results).unwrap_or_default();
        let middle = LEFT + programs * scale;
        bar(svg, (LEFT, y), programs * scale, row.color());
        bar(svg, (middle, y), kernel * scale, "kernel");
        let mut words = format!("{:.1} KB", sum / 1e3);
        if row.is_ours {
            let _ = write!(words, ", of which {:.1} KB are the kernel's", kernel / 1e3);
        }
        label(svg, (middle + kernel * scale + 6.0, y), row, &words);
    }
    Some(chart.end())
}

/// CPU of an event as a multiple of a bare loop's, in two columns.
pub(crate) fn cpu(results: &Results) -> Option<String> {
    let rows = sorted(|row| row.cpu(results, &EVENTS[1]));
    if !rows.iter().any(|(row, _)| row.is_plain()) {
        return None;
    }
    let mut chart =
        Chart::new(&rows, "CPU time for one event, all processes of the server's machine");
    chart.note(46.0, "1 = a bare loop in C without any checks (dashed); shorter is better");
    let width = (RIGHT - LEFT - COLUMN_GAP) / 2.0;
    let ratios =
        rows.iter().flat_map(|(row, _)| EVENTS.iter().filter_map(|event| row.cpu(results, event)));
    let scale = (width - LABEL_WIDTH / 2.0) / ratios.fold(1.0, f64::max);
    chart.names(&rows);
    for (event, left) in EVENTS.iter().zip([LEFT, LEFT + width + COLUMN_GAP]) {
        text(&mut chart.svg, (left, 70.0), "name", event.title);
        for (y, row, _) in placed(&rows) {
            let svg = &mut chart.svg;
            let Some(ratio) = row.cpu(results, event) else {
                text(svg, (left, y + TEXT_Y), "note", "has no timers");
                continue;
            };
            bar(svg, (left, y), ratio * scale, row.color());
            // Beside the dashed line, not on it.
            let x = left + ratio.max(1.0) * scale + 6.0;
            label(svg, (x, y), row, &format!("{ratio:.2}"));
        }
        let (x, end) = (left + scale, chart.height as f64 - 12.0);
        let _ = writeln!(
            chart.svg,
            r#"<line class="floor" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{end:.1}"/>"#,
            TOP + 6.0
        );
    }
    Some(chart.end())
}

/// The rows that were measured: plain ones, then those of HTTPS, the least first.
fn sorted(figure: impl Fn(&Row) -> Option<f64>) -> Vec<(&'static Row, f64)> {
    let mut rows: Vec<_> = ROWS.iter().filter_map(|row| Some((row, figure(row)?))).collect();
    rows.sort_by(|(a, x), (b, y)| b.is_plain().cmp(&a.is_plain()).then(x.total_cmp(y)));
    rows
}

impl Row {
    fn color(&self) -> &'static str {
        if self.is_ours { "ours" } else { "other" }
    }
}

struct Chart {
    svg: String,
    height: usize,
}

impl Chart {
    fn new(rows: &[(&Row, f64)], title: &str) -> Self {
        let groups = 1 + usize::from(rows.iter().any(|(row, _)| !row.is_plain()));
        let height =
            TOP as usize + rows.len() * ROW_HEIGHT as usize + groups * GROUP_HEIGHT as usize + 16;
        let title = escape(title);
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" width="800" height="{height}" role="img" aria-label="{title}" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13">
<style>
  text {{ fill: #1f2328 }} .title {{ font-size: 17px; font-weight: 600 }} .name {{ font-weight: 600 }}
  .note {{ fill: #59636e }} .bold {{ font-weight: 600 }} .ground {{ fill: #fff }}
  .ours {{ fill: #0969da }} .other {{ fill: #818b98 }} .kernel {{ fill: #c8d1da }}
  .floor {{ stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 4 3 }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #f0f6fc }} .note {{ fill: #9198a1 }} .ground {{ fill: #0d1117 }}
    .ours {{ fill: #4493f8 }} .other {{ fill: #7d8590 }} .kernel {{ fill: #3d444d }} .floor {{ stroke: #f0883e }}
  }}
</style>
<rect class="ground" width="800" height="{height}"/>
<text class="title" x="16" y="26">{title}</text>
"#
        );
        Self { svg, height }
    }

    fn note(&mut self, y: f64, words: &str) {
        text(&mut self.svg, (16.0, y), "note", words);
    }

    /// Each entry is a name with one or two colors.
    fn legend(&mut self, entries: &[(&str, &str, &str)]) {
        let mut x = LEFT;
        for (name, first, second) in entries {
            for color in [first, second].into_iter().filter(|color| !color.is_empty()) {
                let _ = writeln!(
                    self.svg,
                    r#"<rect class="{color}" x="{x:.1}" y="60" width="13" height="13"/>"#
                );
                x += 15.0;
            }
            text(&mut self.svg, (x + 4.0, 71.0), "label", name);
            x += 30.0 + 7.0 * name.len() as f64;
        }
    }

    /// What stands to the left of the bars.
    fn names(&mut self, rows: &[(&'static Row, f64)]) {
        let mut group = None;
        for (y, row, _) in placed(rows) {
            if group != Some(row.is_plain()) {
                group = Some(row.is_plain());
                let name = if row.is_plain() { "plain HTTP" } else { "HTTPS" };
                text(&mut self.svg, (16.0, y - GROUP_HEIGHT + 10.0 + TEXT_Y), "name", name);
            }
            let class = if row.is_ours { "bold" } else { "label" };
            let _ = writeln!(
                self.svg,
                r#"<text class="{class}" text-anchor="end" x="{:.1}" y="{:.1}">{}</text>"#,
                LEFT - 8.0,
                y + TEXT_Y,
                escape(row.name)
            );
        }
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// The rows with their upper edges; above each group is room for its name.
fn placed<'a>(
    rows: &'a [(&'static Row, f64)],
) -> impl Iterator<Item = (f64, &'static Row, f64)> + 'a {
    let plain = rows.iter().filter(|(row, _)| row.is_plain()).count();
    rows.iter().enumerate().map(move |(number, (row, figure))| {
        let groups = if number < plain { 1.0 } else { 2.0 };
        (TOP + number as f64 * ROW_HEIGHT + groups * GROUP_HEIGHT, *row, *figure)
    })
}

fn bar(svg: &mut String, (x, y): (f64, f64), width: f64, class: &str) {
    let _ = writeln!(
        svg,
        r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="16"/>"#,
        width.max(1.0)
    );
}

fn label(svg: &mut String, (x, y): (f64, f64), row: &Row, words: &str) {
    text(svg, (x, y + TEXT_Y), if row.is_ours { "bold" } else { "label" }, words);
}

const LEFT: f64 = 180.0;
const RIGHT: f64 = 784.0;
const TOP: f64 = 72.0;
const GROUP_HEIGHT: f64 = 34.0;
const ROW_HEIGHT: f64 = 22.0;
/// From the top of a bar to the line that its words stand on.
const TEXT_Y: f64 = 12.5;
const LABEL_WIDTH: f64 = 70.0;
const COLUMN_GAP: f64 = 24.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Results {
        Results::of_lines(vec![
            json!({ "workload": "idle", "server": "starwheel", "round": 1,
                    "private_dirty_bytes_per_stream": 150.0 }),
            json!({ "workload": "idle", "server": "plain", "round": 1,
                    "kernel_bytes_per_stream": 4000.0 }),
            json!({ "workload": "idle", "server": "haproxy", "round": 1,
                    "kernel_bytes_per_stream": 9000.0, "box_bytes_per_stream": 29_000.0 }),
            json!({ "workload": "broadcast-10000", "server": "starwheel", "round": 1,
                    "cpu_ns": 6.0, "floor_cpu_ns": 5.0 }),
            json!({ "workload": "broadcast", "server": "haproxy", "round": 1,
                    "cpu_ns": 10.0, "floor_cpu_ns": 4.0 }),
        ])
    }

    #[test]
    fn memory_is_that_of_programs_and_kernel() {
        let svg = memory(&results()).unwrap();
        assert!(svg.contains(">4.2 KB, of which 4.0 KB are") && svg.contains(">29.0 KB<"), "{svg}");
        assert!(!svg.contains("hyper"), "what was not measured is not shown");
    }

    #[test]
    fn cpu_behind_a_proxy_is_a_multiple_of_the_bare_loop_too() {
        let svg = cpu(&results()).unwrap();
        assert!(svg.contains(">1.20<") && svg.contains(">3.00<"), "{svg}");
    }

    #[test]
    fn without_results_there_is_no_chart() {
        let nothing = Results::of_lines(vec![]);
        assert!(memory(&nothing).is_none() && cpu(&nothing).is_none());
    }
}
