//! Plots as SVG: bars for what stands side by side, lines for what grows. Both on logarithmic scales, as the numbers are
//! orders of magnitude apart.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea as _, PathElement, Rectangle, SVGBackend},
    style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE},
};

use crate::report::{Run, amount, unit};

const WIDTH: u32 = 860;
const ROW: i32 = 26;
const TITLE: i32 = 44;
const LEFT: i32 = 210;
const RIGHT: i32 = 120;
const LINES_HEIGHT: i32 = 300;
const INK: RGBColor = RGBColor(40, 40, 48);
const FAINT: RGBColor = RGBColor(214, 214, 220);
const COLOURS: [RGBColor; 4] =
    [RGBColor(47, 93, 158), RGBColor(196, 108, 44), RGBColor(72, 140, 88), RGBColor(140, 76, 140)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One bar.
pub struct Bar {
    /// Stands left of it.
    pub label: String,
    /// Its length; more than nothing.
    pub value: f64,
    /// Stands right of it.
    pub text: String,
    /// A line across it: what was to be reached.
    pub mark: Option<f64>,
}

/// One line.
pub struct Line {
    /// Stands at its end.
    pub label: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// Throughput of all scenarios of one run.
pub fn overview(run: &Run, file: &Path) -> Result<()> {
    let bars: Vec<Bar> = run
        .measured
        .iter()
        .filter(|measured| measured.units > 0)
        .map(|measured| Bar {
            label: measured.scenario.clone(),
            value: amount_of(measured.per_second(), &measured.unit),
            text: format!("{} {}/s", amount(measured.per_second(), &measured.unit), unit(&measured.unit)),
            mark: None,
        })
        .collect();
    self::bars(&format!("{} per second, logarithmic", run.label), &bars, file)
}

fn amount_of(value: f64, unit: &str) -> f64 {
    if unit == "bytes" { value / 1e6 } else { value }
}

fn text(
    area: &Area<'_>,
    text: &str,
    size: i32,
    colour: RGBColor,
    at: (i32, i32),
    align_right: Option<()>,
) -> Result<()> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let align = if align_right.is_some() { HPos::Right } else { HPos::Left };
    let style =
        TextStyle::from(("sans-serif", size).into_font()).color(&colour).pos(Pos::new(align, VPos::Center));
    area.draw_text(text, &style, at).map_err(|error| anyhow!("{error}"))
}

fn stroke(area: &Area<'_>, points: Vec<(i32, i32)>, style: ShapeStyle) -> Result<()> {
    area.draw(&PathElement::new(points, style)).map_err(|error| anyhow!("{error}"))
}

/// Where a value stands between the powers of ten around `least` and `most`, from 0 to 1.
fn log_scale(least: f64, most: f64) -> impl Fn(f64) -> f64 {
    let (low, high) = (least.log10().floor(), most.log10().ceil());
    let span = (high - low).max(1.0);
    move |value: f64| ((value.max(1e-12).log10() - low) / span).clamp(0.0, 1.0)
}

/// The powers of ten from below `least` to above `most`.
fn decades(least: f64, most: f64) -> Vec<f64> {
    let (low, high) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    (low..=high.max(low + 1)).map(|exponent| 10_f64.powi(exponent)).collect()
}

/// The least and the most of what is more than nothing.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if most > 0.0 { (least, most) } else { (1.0, 10.0) }
}

/// Horizontal bars on a logarithmic scale.
pub fn bars(title: &str, bars: &[Bar], file: &Path) -> Result<()> {
    let height = TITLE + ROW * i32::try_from(bars.len())? + 30;
    let area = SVGBackend::new(file, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    text(&area, title, 16, INK, (12, TITLE / 2), None)?;
    let values = bars.iter().flat_map(|bar| [Some(bar.value), bar.mark]).flatten();
    let (least, most) = range(values);
    let scale = log_scale(least, most);
    let width = i32::try_from(WIDTH)? - LEFT - RIGHT;
    let x = |value: f64| LEFT + (scale(value) * f64::from(width)) as i32;
    for decade in decades(least, most) {
        stroke(&area, vec![(x(decade), TITLE), (x(decade), height - 26)], FAINT.stroke_width(1))?;
        text(&area, &amount(decade, ""), 12, INK, (x(decade) - 4, height - 12), None)?;
    }
    for (idx, bar) in bars.iter().enumerate() {
        let top = TITLE + ROW * i32::try_from(idx)?;
        let corners = [(LEFT, top + 5), (x(bar.value).max(LEFT + 1), top + ROW - 5)];
        area.draw(&Rectangle::new(corners, COLOURS[0].filled())).map_err(|error| anyhow!("{error}"))?;
        text(&area, &bar.label, 13, INK, (LEFT - 10, top + ROW / 2), Some(()))?;
        let mut beside = x(bar.value);
        if let Some(mark) = bar.mark {
            stroke(&area, vec![(x(mark), top + 2), (x(mark), top + ROW - 2)], COLOURS[1].stroke_width(3))?;
            beside = beside.max(x(mark));
        }
        text(&area, &bar.text, 13, INK, (beside + 8, top + ROW / 2), None)?;
    }
    area.present().map_err(|error| anyhow!("{error}"))
}

/// Lines over a logarithmic axis; upwards from nothing.
pub fn lines(title: &str, across: &str, upwards: &str, lines: &[Line], file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, (WIDTH, u32::try_from(LINES_HEIGHT)?)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    text(&area, title, 16, INK, (12, TITLE / 2), None)?;
    let points = || lines.iter().flat_map(|line| &line.points);
    let (least, most) = range(points().map(|(x, _)| *x));
    let (_, top) = range(points().map(|(_, y)| *y));
    let top = nice_above(top);
    let scale = log_scale(least, most);
    let (left, bottom) = (80, LINES_HEIGHT - 46);
    let width = i32::try_from(WIDTH)? - left - LEFT;
    let x = |value: f64| left + (scale(value) * f64::from(width)) as i32;
    let y = |value: f64| bottom - (value / top * f64::from(bottom - TITLE)) as i32;
    for quarter in 0..=4 {
        let value = top * f64::from(quarter) / 4.0;
        stroke(&area, vec![(left, y(value)), (left + width, y(value))], FAINT.stroke_width(1))?;
        text(&area, &amount(value, ""), 12, INK, (left - 8, y(value)), Some(()))?;
    }
    for decade in decades(least, most) {
        text(&area, &amount(decade, ""), 12, INK, (x(decade) - 6, bottom + 14), None)?;
    }
    text(&area, across, 12, INK, (left + width / 2 - 40, bottom + 34), None)?;
    text(&area, upwards, 12, INK, (12, TITLE - 6), None)?;
    for ((idx, line), colour) in lines.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let at: Vec<(i32, i32)> =
            line.points.iter().map(|(across, upwards)| (x(*across), y(*upwards))).collect();
        for (across, upwards) in &at {
            let corners = [(across - 3, upwards - 3), (across + 3, upwards + 3)];
            area.draw(&Rectangle::new(corners, colour.filled())).map_err(|error| anyhow!("{error}"))?;
        }
        stroke(&area, at, colour.stroke_width(2))?;
        let beside = (left + width + 14, TITLE + 16 + 20 * i32::try_from(idx)?);
        text(&area, &line.label, 13, *colour, beside, None)?;
    }
    area.present().map_err(|error| anyhow!("{error}"))
}

/// The next of 1, 2, 4, 8, 10, 20, … that is not below.
fn nice_above(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .map(|step| step * decade)
        .into_iter()
        .find(|top| *top >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_powers_of_ten() {
        let scale = log_scale(3.0, 450.0);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(scale(1.0), 0.0) && near(scale(1000.0), 1.0) && near(scale(10.0), 1.0 / 3.0));
        assert_eq!(decades(3.0, 450.0), [1.0, 10.0, 100.0, 1000.0]);
        assert!(near(nice_above(3.1), 4.0) && near(nice_above(0.081), 0.1) && near(nice_above(8.0), 8.0));
    }
}
