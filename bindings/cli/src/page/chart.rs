//! Line charts as SVG, in the page's own colours.

use std::fmt::Write as _;

use super::escape;

/// A chart of lines with markers; upwards from zero.
#[derive(Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is across, and its unit.
    pub across: String,
    /// What is upwards, and its unit.
    pub up: String,
    /// The places across are equal factors apart, not equal steps.
    pub logarithmic: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a [`Chart`].
#[derive(Debug)]
pub struct Line {
    /// What it is of.
    pub name: String,
    /// It is what the page is about.
    pub own: bool,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point of a [`Line`].
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Across; above zero on a logarithmic chart.
    pub x: f64,
    /// Upwards; at least 0.
    pub y: f64,
    /// Half the height of the interval around it.
    pub half: Option<f64>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 292.0;

impl Chart {
    /// The chart as a figure; nothing if it has no points.
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let Some(first) = points().next() else {
            return Ok(());
        };
        let place = |x: f64| if self.logarithmic { x.ln() } else { x };
        let (least, most) = points().fold((first.x, first.x), |(least, most), point| {
            (least.min(point.x), most.max(point.x))
        });
        let span = place(most) - place(least);
        // A single place stands in the middle.
        let across = |x: f64| match span > 0.0 {
            true => LEFT + 14.0 + (place(x) - place(least)) / span * (RIGHT - LEFT - 28.0),
            false => (LEFT + RIGHT) / 2.0,
        };
        let highest = points().fold(0f64, |most, p| most.max(p.y + p.half.unwrap_or(0.0)));
        let step = step(highest);
        let ticks = (highest / step).ceil().max(1.0);
        let up = |y: f64| BOTTOM - (y / (ticks * step)).clamp(0.0, 1.0) * (BOTTOM - TOP);

        write!(
            out,
            "<figure>\n<figcaption>{}</figcaption>\n<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title),
            escape(&self.words()),
        )?;
        for tick in 0..=ticks as u32 {
            let value = f64::from(tick) * step;
            let y = up(value);
            writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick end\" x=\"{:.1}\" \
                 y=\"{:.1}\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                number(value)
            )?;
        }
        let mut places: Vec<f64> = points().map(|point| point.x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let mut last = f64::MIN;
        for x in places {
            let at = across(x);
            // Words would run into each other.
            if at - last > 34.0 {
                writeln!(
                    out,
                    "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                    BOTTOM + 18.0,
                    number(x)
                )?;
                last = at;
            }
        }
        writeln!(
            out,
            "<text class=\"tick middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <text class=\"tick middle\" transform=\"translate(12 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 38.0,
            escape(&self.across),
            (TOP + BOTTOM) / 2.0,
            escape(&self.up)
        )?;
        for (index, line) in self.lines.iter().enumerate() {
            line.write(index, out, across, up)?;
        }
        out.push_str("</svg>\n</figure>\n");
        Ok(())
    }

    /// The numbers in words, for who cannot see it.
    fn words(&self) -> String {
        let mut words = format!("{}. {} by {}.", self.title, self.up, self.across);
        for line in &self.lines {
            let points = line.points.iter();
            let points: Vec<String> = points
                .map(|point| format!("{} at {}", number(point.y), number(point.x)))
                .collect();
            let _ = write!(words, " {}: {}.", line.name, points.join(", "));
        }
        words
    }
}

impl Line {
    fn write(
        &self,
        index: usize,
        out: &mut String,
        across: impl Fn(f64) -> f64,
        up: impl Fn(f64) -> f64,
    ) -> std::fmt::Result {
        let own = if self.own { " own" } else { "" };
        write!(out, "<g class=\"line l{}{own}\">", index % 12)?;
        let mut path = String::new();
        for (i, point) in self.points.iter().enumerate() {
            let (x, y) = (across(point.x), up(point.y));
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
            if let Some(half) = point.half {
                let (low, high) = (up((point.y - half).max(0.0)), up(point.y + half));
                write!(
                    out,
                    "<path class=\"bar\" d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\"/>",
                    x - 3.0,
                    x - 3.0
                )?;
            }
        }
        write!(out, "<path class=\"curve\" d=\"{path}\"/>")?;
        for point in &self.points {
            out.push_str(&mark(index, across(point.x), up(point.y)));
        }
        let y = TOP + 8.0 + 22.0 * index as f64;
        let x = RIGHT + 22.0;
        writeln!(
            out,
            "<path class=\"curve\" d=\"M{x:.1} {y:.1}h26\"/>{}<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}\
             </text></g>",
            mark(index, x + 13.0, y),
            x + 34.0,
            y + 4.0,
            escape(&self.name)
        )
    }
}

/// A marker: lines are told apart by its shape too.
fn mark(index: usize, x: f64, y: f64) -> String {
    let shape = match index % 4 {
        0 => return format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => "m-4 -4h8v8h-8z",
        2 => "m0 -5l5 8.5h-10z",
        _ => "m0 -5l5 5l-5 5l-5 -5z",
    };
    format!("<path class=\"dot\" d=\"M{x:.1} {y:.1}{shape}\"/>")
}

/// A round step that makes about five of what goes up to `highest`.
fn step(highest: f64) -> f64 {
    if !highest.is_finite() || highest <= 0.0 {
        return 1.0;
    }
    let rough = highest / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// A number without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_about_five() {
        for (highest, expected) in [
            (0.44, 0.1),
            (0.9, 0.2),
            (1.0, 0.2),
            (7.0, 2.0),
            (0.03, 0.01),
        ] {
            assert!(
                (step(highest) - expected).abs() < 1e-12,
                "{highest}: {}",
                step(highest)
            );
        }
        assert_eq!((step(0.0), step(f64::NAN)), (1.0, 1.0));
        assert_eq!(
            [number(0.4), number(50.0), number(0.1234)],
            ["0.4", "50", "0.123"]
        );
    }

    #[test]
    fn a_chart_says_its_numbers_and_stays_inside() {
        let point = |x, y| Point {
            x,
            y,
            half: Some(0.05),
        };
        let line = |name: &str, points: &[Point]| Line {
            name: name.into(),
            own: false,
            points: points.to_vec(),
        };
        let chart = Chart {
            title: "a < b".into(),
            across: "bits".into(),
            up: "mAP".into(),
            logarithmic: true,
            lines: vec![
                line("one", &[point(16.0, 0.25), point(64.0, 0.5)]),
                line("two", &[point(16.0, 0.0)]),
            ],
        };
        let mut svg = String::new();
        chart.write(&mut svg).unwrap();
        assert!(
            svg.contains("a &lt; b. mAP by bits. one: 0.25 at 16, 0.5 at 64. two: 0 at 16."),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("a < b"), "{svg}");
        let alone = Chart {
            lines: vec![line("one", &[point(3.0, 0.0)])],
            ..chart
        };
        let mut svg = String::new();
        alone.write(&mut svg).unwrap();
        assert!(svg.contains("cx=\"278.0\""), "{svg}");
        let mut nothing = String::new();
        Chart {
            lines: Vec::new(),
            ..alone
        }
        .write(&mut nothing)
        .unwrap();
        assert_eq!(nothing, "");
    }
}
