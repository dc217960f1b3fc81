//! Charts as SVG text: bars, and lines over a logarithmic axis. Readable in light and dark.

use std::fmt::Write;

/// Bars beside each other, grouped by what they are compared at.
pub(crate) struct Bars {
    pub(crate) title: String,
    /// Below the title: what a bar's length means.
    pub(crate) unit: String,
    pub(crate) groups: Vec<Group>,
}

pub(crate) struct Group {
    pub(crate) name: String,
    /// Name, length, and what to write at its end.
    pub(crate) bars: Vec<(String, f64, String)>,
    /// A line across: the target.
    pub(crate) target: Option<f64>,
    pub(crate) scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x_axis: String,
    pub(crate) y_axis: String,
    pub(crate) y_scale: Scale,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: String,
    /// In the order of x, which is positive.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Bars {
    pub(crate) fn svg(&self) -> String {
        let rows: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        let height = 64 + rows * 18 + self.groups.len() * 34;
        let mut svg = open(height, &self.title);
        text(&mut svg, (16.0, 44.0), "note", &self.unit);
        let mut y = 64.0;
        for group in &self.groups {
            text(&mut svg, (16.0, y + 12.0), "name", &group.name);
            y += 20.0;
            let lengths = group.bars.iter().map(|(_, length, _)| *length).chain(group.target);
            let longest = lengths.clone().fold(0.0, f64::max);
            let shortest = lengths.filter(|length| *length > 0.0).fold(longest, f64::min) / 2.0;
            let x_of = |value: f64| {
                let share = match group.scale {
                    Scale::Linear => value / longest,
                    Scale::Logarithmic => (value / shortest).ln() / (longest / shortest).ln(),
                };
                LEFT + (BARS_WIDTH - LEFT) * share.clamp(0.0, 1.0)
            };
            let top = y;
            for (name, length, label) in &group.bars {
                let end = x_of(*length);
                let color = color_of(name);
                let _ = writeln!(
                    svg,
                    r#"<rect x="{LEFT}" y="{y:.1}" width="{:.1}" height="14" rx="2" fill="{color}"/>"#,
                    (end - LEFT).max(1.0)
                );
                anchored(&mut svg, (LEFT - 8.0, y + 11.0), "end", name);
                text(&mut svg, (end + 6.0, y + 11.0), "label", label);
                y += 18.0;
            }
            if let Some(target) = group.target {
                let x = x_of(target);
                let _ = writeln!(
                    svg,
                    r#"<line class="target" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{y:.1}"/>"#,
                    top - 3.0
                );
            }
            y += 14.0;
        }
        svg + "</svg>\n"
    }
}

impl Lines {
    /// The x axis is logarithmic; the y axis begins at zero if it is linear.
    pub(crate) fn svg(&self) -> String {
        let mut svg = open(440, &self.title);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (x_min, x_max) = bounds(points().map(|point| point.0));
        let (y_min, y_max) = bounds(points().map(|point| point.1).filter(|&y| y > 0.0));
        let (x_min, x_max) = decades(x_min, x_max);
        let (y_min, y_max) = match self.y_scale {
            Scale::Linear => (0.0, round_up(y_max)),
            Scale::Logarithmic => decades(y_min, y_max),
        };
        let x_of = |x: f64| 70.0 + 640.0 * (x / x_min).ln() / (x_max / x_min).ln();
        let y_of = |y: f64| {
            let share = match self.y_scale {
                Scale::Linear => y / y_max,
                Scale::Logarithmic => (y.max(y_min) / y_min).ln() / (y_max / y_min).ln(),
            };
            370.0 - 310.0 * share
        };
        for x in powers(x_min, x_max) {
            let at = x_of(x);
            let _ =
                writeln!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="60" y2="370"/>"#);
            anchored(&mut svg, (at, 388.0), "middle", &short(x));
        }
        let marks = match self.y_scale {
            Scale::Linear => (0..=5).map(|step| y_max * f64::from(step) / 5.0).collect(),
            Scale::Logarithmic => powers(y_min, y_max),
        };
        for y in marks {
            let at = y_of(y);
            let _ =
                writeln!(svg, r#"<line class="grid" x1="70" x2="710" y1="{at:.1}" y2="{at:.1}"/>"#);
            anchored(&mut svg, (62.0, at + 4.0), "end", &short(y));
        }
        anchored(&mut svg, (390.0, 412.0), "middle", &self.x_axis);
        text(&mut svg, (16.0, 48.0), "note", &self.y_axis);
        let mut legend_x = 70.0;
        for line in &self.lines {
            let color = color_of(&line.name);
            let path: Vec<String> = line
                .points
                .iter()
                .map(|&(x, y)| format!("{:.1},{:.1}", x_of(x), y_of(y)))
                .collect();
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#,
                path.join(" ")
            );
            let _ = writeln!(
                svg,
                r#"<rect x="{legend_x:.1}" y="421" width="12" height="12" fill="{color}"/>"#
            );
            text(&mut svg, (legend_x + 17.0, 431.0), "label", &line.name);
            legend_x += 34.0 + 7.0 * line.name.len() as f64;
        }
        svg + "</svg>\n"
    }
}

fn open(height: usize, title: &str) -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" font-family="system-ui, sans-serif" font-size="12">
<style>
  text {{ fill: #24292f }} .title {{ font-size: 16px; font-weight: 600 }} .name {{ font-weight: 600 }}
  .note {{ fill: #57606a }} .grid {{ stroke: #8c959f; stroke-opacity: .3 }}
  .target {{ stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }} .ground {{ fill: #fff }}
  @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .note {{ fill: #9198a1 }} .ground {{ fill: #0d1117 }} }}
</style>
<rect class="ground" width="760" height="{height}"/>
"#
    );
    text(&mut svg, (16.0, 26.0), "title", title);
    svg
}

pub(crate) fn text(svg: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{words}</text>"#);
}

fn anchored(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = escape(words);
    let _ = writeln!(svg, r#"<text text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{words}</text>"#);
}

pub(crate) fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The same server has the same color in every picture; ours stands out.
fn color_of(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("starwheel") => "#0969da",
        "floor" => "#6e7781",
        "axum-starwheel" | "workers-1" | "workers-2" => "#54aeff",
        "floor-ms" => "#afb8c1",
        "floor-batch" => "#d0d7de",
        "libev" => "#1a7f37",
        "uwebsockets" | "uwebsockets-topics" => "#57606a",
        "hyper" => "#8250df",
        "actix" => "#bf8700",
        "axum" => "#cf222e",
        "datastar" => "#bf3989",
        "go" => "#1b7c83",
        "node" => "#9a6700",
        "nchan" => "#953800",
        // Kinds of work, and of streams.
        "tick" | "with an updater" => "#cf222e",
        "delivery" | "subscribed" => "#1a7f37",
        "idle" => "#6e7781",
        _ => "#8250df",
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let all = values.fold((f64::INFINITY, 0.0), |(min, max): (f64, f64), value| {
        (min.min(value), max.max(value))
    });
    if all.0.is_finite() { all } else { (1.0, 10.0) }
}

/// Whole powers of ten around.
fn decades(min: f64, max: f64) -> (f64, f64) {
    let (low, high) = (min.log10().floor(), max.log10().ceil());
    (10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
}

fn powers(min: f64, max: f64) -> Vec<f64> {
    let (low, high) = (min.log10().round() as i32, max.log10().round() as i32);
    (low..=high).map(|power| 10_f64.powi(power)).collect()
}

fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0]
        .into_iter()
        .map(|times| times * unit)
        .find(|&round| round >= value)
        .unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        _ if value >= 1e4 => format!("{} k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const LEFT: f64 = 130.0;
const BARS_WIDTH: f64 = 620.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        assert_eq!(decades(3.0, 450.0), (1.0, 1000.0));
        assert_eq!([12.0, 31.0, 99.0].map(round_up), [15.0, 50.0, 100.0]);
        assert_eq!([1.0, 12_000.0, 1e6].map(short), ["1", "12 k", "1 M"]);
    }

    #[test]
    fn words_are_escaped() {
        let bars = Bars { title: "a < b".into(), unit: "&".into(), groups: vec![] };
        assert!(bars.svg().contains("a &lt; b") && bars.svg().contains("&amp;"));
    }
}
