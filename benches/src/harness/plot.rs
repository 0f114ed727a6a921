//! Plots as SVG, for a screen and for print: few colours, told apart by their marks too.

use bitkin_benches::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A curve, or points.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with a logarithmic axis upwards.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    /// Whether the axis across is logarithmic too.
    pub(crate) log_across: bool,
    pub(crate) series: Vec<Series>,
    /// Points on the frontier, which are circled.
    pub(crate) frontier: Vec<(f64, f64)>,
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 430;
const INK: RGBColor = RGBColor(30, 30, 30);
const FAINT: RGBColor = RGBColor(215, 215, 215);
/// Told apart by those who see fewer colours too (after Okabe and Ito), and in grey by the marks.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

impl Plot {
    /// Draws it; nothing for no points.
    pub(crate) fn svg(&self) -> Result<String> {
        let mut points = self.series.iter().flat_map(|series| &series.points);
        if points.next().is_none() {
            return Ok(String::new());
        }
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
            self.draw(&area)
                .map_err(|error| format!("cannot draw {:?}: {error}", self.title))?;
        }
        Ok(svg)
    }

    fn draw<'a>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, Shift>,
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(WIDTH - 230);
        let all = || self.series.iter().flat_map(|series| &series.points);
        let ends = |value: fn(&(f64, f64)) -> f64| {
            let values = all().map(value);
            values.fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (left, right) = ends(|point| point.0);
        let (low, high) = ends(|point| point.1);
        let up = (low / 1.6..high * 1.6).log_scale();
        let mut builder = ChartBuilder::on(&plot);
        builder
            .caption(&self.title, ("sans-serif", 17, &INK))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(70);
        macro_rules! draw {
            ($across:expr, $format:expr) => {{
                let mut chart = builder.build_cartesian_2d($across, up)?;
                chart
                    .configure_mesh()
                    .light_line_style(WHITE)
                    .bold_line_style(FAINT)
                    .axis_style(INK)
                    .x_desc(self.across)
                    .y_desc(self.up)
                    .x_label_formatter($format)
                    .y_label_formatter(&|value| number(*value))
                    .label_style(("sans-serif", 13, &INK))
                    .draw()?;
                for (at, series) in self.series.iter().enumerate() {
                    let colour = COLOURS[at % COLOURS.len()];
                    chart.draw_series(LineSeries::new(
                        series.points.iter().copied(),
                        colour.stroke_width(if at == 0 { 3 } else { 2 }),
                    ))?;
                    let marks = series.points.iter();
                    chart.draw_series(marks.map(|point| mark(at, *point, colour)))?;
                }
                chart.draw_series(
                    self.frontier
                        .iter()
                        .map(|point| Circle::new(*point, 8, INK.stroke_width(1))),
                )?;
            }};
        }
        if self.log_across {
            draw!(
                (left / 1.2..right * 1.2).log_scale(),
                &|value: &f64| number(*value)
            );
        } else {
            let margin = ((right - left) * 0.04).max(0.005);
            draw!(left - margin..right + margin, &|value: &f64| format!(
                "{value:.2}"
            ));
        }
        for (at, series) in self.series.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let y = 50 + 22 * at as i32;
            legend.draw(&PathElement::new(
                vec![(4, y), (34, y)],
                colour.stroke_width(2),
            ))?;
            legend.draw(&mark(at, (19, y), colour))?;
            let style = ("sans-serif", 14).into_font().color(&INK);
            legend.draw(&Text::new(series.name.clone(), (42, y - 7), style))?;
        }
        area.present()?;
        Ok(())
    }
}

/// The mark of a series at a point: a disc, a triangle, a cross or a ring, in turns, and in other
/// turns when the colours begin again.
fn mark<'a, C: Clone + 'static>(
    at: usize,
    point: C,
    colour: RGBColor,
) -> DynElement<'static, SVGBackend<'a>, C> {
    match (at + at / COLOURS.len()) % 4 {
        0 => Circle::new(point, 4, colour.filled()).into_dyn(),
        1 => TriangleMarker::new(point, 5, colour.filled()).into_dyn(),
        2 => Cross::new(point, 4, colour.stroke_width(2)).into_dyn(),
        _ => Circle::new(point, 4, colour.stroke_width(2)).into_dyn(),
    }
}

/// 12500 as 12.5k.
pub(crate) fn number(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| value.abs() >= *unit)
        .unwrap_or((1.0, ""));
    let value = value / unit;
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{name}")
}
