//! Drawings over the time of a run, as SVG.

use std::fmt::Write;

use super::page::escape;

/// Of a drawing, in pixels.
const WIDTH: f64 = 1_100.0;
const LEFT: f64 = 110.0;
const PLOT: f64 = WIDTH - LEFT - 10.0;
const HEIGHT: f64 = 150.0;
const LANE: f64 = 16.0;
const AXIS: f64 = 20.0;
/// A bar is drawn at least this wide.
const BAR_MIN: f64 = 2.0;

/// One drawing.
#[derive(Debug)]
pub(super) struct Chart {
    title: String,
    end_ns: u64,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Lines { lines: Vec<Line>, logarithmic: bool },
    Lanes(Vec<Bar>),
    Marks(Vec<Mark>),
}

/// Values at equal distances over the whole time.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    class: String,
    values: Vec<f64>,
    filled: bool,
}

impl Line {
    pub(super) fn plain(name: &str, class: &str, values: Vec<f64>) -> Self {
        Self { name: name.to_owned(), class: class.to_owned(), values, filled: false }
    }

    pub(super) fn filled(name: &str, class: &str, values: Vec<f64>) -> Self {
        Self { filled: true, ..Self::plain(name, class, values) }
    }
}

/// Something that lasts.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) lane: String,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) class: String,
    pub(super) title: String,
}

/// A value at a time.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at_ns: u64,
    pub(super) value: f64,
    pub(super) class: String,
}

impl Chart {
    pub(super) fn lines(title: &str, end_ns: u64, lines: Vec<Line>) -> Self {
        Self { title: title.to_owned(), end_ns, shape: Shape::Lines { lines, logarithmic: false } }
    }

    pub(super) fn logarithmic(title: &str, end_ns: u64, lines: Vec<Line>) -> Self {
        Self { title: title.to_owned(), end_ns, shape: Shape::Lines { lines, logarithmic: true } }
    }

    pub(super) fn lanes(title: &str, end_ns: u64, bars: Vec<Bar>) -> Self {
        Self { title: title.to_owned(), end_ns, shape: Shape::Lanes(bars) }
    }

    pub(super) fn marks(title: &str, end_ns: u64, marks: Vec<Mark>) -> Self {
        Self { title: title.to_owned(), end_ns, shape: Shape::Marks(marks) }
    }

    /// Its title and the drawing.
    pub(super) fn render(&self) -> String {
        let (height, drawn) = match &self.shape {
            Shape::Lines { lines, logarithmic } => (HEIGHT, draw_lines(lines, *logarithmic)),
            Shape::Lanes(bars) if bars.is_empty() => {
                return format!("<h2>{}</h2><p class=none>none</p>", escape(&self.title));
            }
            Shape::Lanes(bars) => self.draw_lanes(bars),
            Shape::Marks(marks) => (HEIGHT, self.draw_marks(marks)),
        };
        let (title, axis, total) = (escape(&self.title), self.axis(height), height + AXIS);
        format!(
            "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {total}\" role=img aria-label=\"{title}\">{axis}{drawn}</svg>"
        )
    }

    fn x(&self, at_ns: u64) -> f64 {
        LEFT + PLOT * at_ns as f64 / self.end_ns as f64
    }

    /// Lines at round times.
    fn axis(&self, height: f64) -> String {
        let seconds = self.end_ns as f64 / 1e9;
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
        let step = steps.into_iter().find(|step| seconds / step <= 15.0).unwrap_or(7_200.0);
        let mut drawn = String::new();
        for number in 0..=(seconds / step) as u32 {
            let at = f64::from(number) * step;
            let x = LEFT + PLOT * at / seconds;
            let _ = write!(
                drawn,
                "<line class=grid x1={x:.1} x2={x:.1} y1=0 y2={height} /><text x={x:.1} y={:.1} class=tick>{at} s</text>",
                height + 14.0
            );
        }
        drawn
    }

    fn draw_lanes(&self, bars: &[Bar]) -> (f64, String) {
        let mut lanes: Vec<&str> = bars.iter().map(|bar| bar.lane.as_str()).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let mut drawn = String::new();
        for (at, lane) in lanes.iter().enumerate() {
            let y = LANE * at as f64 + LANE - 4.0;
            let _ = write!(drawn, "<text class=label x={:.1} y={y:.1}>{}</text>", LEFT - 6.0, escape(lane));
        }
        for bar in bars {
            let at = lanes.binary_search(&bar.lane.as_str()).unwrap_or_default();
            let (x, y) = (self.x(bar.from_ns), LANE * at as f64 + 2.0);
            let width = (self.x(bar.to_ns) - x).max(BAR_MIN);
            let _ = write!(
                drawn,
                "<rect class=\"{}\" x={x:.1} y={y:.1} width={width:.1} height={:.1}><title>{}</title></rect>",
                bar.class,
                LANE - 4.0,
                escape(&bar.title)
            );
        }
        (LANE * lanes.len() as f64, drawn)
    }

    fn draw_marks(&self, marks: &[Mark]) -> String {
        let greatest = marks.iter().map(|mark| mark.value).fold(1.0, f64::max);
        let mut drawn = label(greatest, 0.0);
        for mark in marks {
            let (x, y) = (self.x(mark.at_ns), HEIGHT - HEIGHT * mark.value / greatest);
            let radius = if mark.class == "bad" { 3.0 } else { 1.0 };
            let _ = write!(drawn, "<circle class=\"{}\" cx={x:.1} cy={y:.1} r={radius} />", mark.class);
        }
        drawn
    }
}

fn label(value: f64, y: f64) -> String {
    let text = if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("<text class=label x={:.1} y={:.1}>{text}</text>", LEFT - 6.0, y + 10.0)
}

fn draw_lines(lines: &[Line], logarithmic: bool) -> String {
    let greatest = lines.iter().flat_map(|line| &line.values).copied().fold(1.0, f64::max);
    let share = |value: f64| match logarithmic {
        true => (value.max(0.1) / 0.1).log10() / (greatest / 0.1).log10(),
        false => value / greatest,
    };
    let mut drawn = label(greatest, 0.0);
    if logarithmic {
        for value in [1.0, 10.0, 100.0, 1_000.0].into_iter().filter(|value| *value < greatest / 2.0) {
            let y = HEIGHT - HEIGHT * share(value);
            let _ =
                write!(drawn, "<line class=grid x1={LEFT} x2={WIDTH} y1={y:.1} y2={y:.1} />{}", label(value, y - 6.0));
        }
    }
    for (at, line) in lines.iter().enumerate() {
        let step = PLOT / line.values.len().max(1) as f64;
        let point = |(at, value): (usize, &f64)| {
            format!("{:.1},{:.1}", LEFT + step * (at as f64 + 0.5), HEIGHT - HEIGHT * share(*value))
        };
        let points = line.values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ");
        let _ = if line.filled {
            write!(
                drawn,
                "<polygon class=\"area {}\" points=\"{LEFT},{HEIGHT} {points} {:.1},{HEIGHT}\" />",
                line.class,
                LEFT + PLOT
            )
        } else {
            write!(drawn, "<polyline class=\"line {}\" points=\"{points}\" />", line.class)
        };
        let _ = write!(
            drawn,
            "<text class=\"name {}\" x={:.1} y=12>{}</text>",
            line.class,
            LEFT + PLOT - 90.0 * at as f64,
            escape(&line.name)
        );
    }
    drawn
}
