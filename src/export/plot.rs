//! Growth curves as a picture: counts and confluence against hours, what was fitted to them, and the doubling time.

use std::{ops::Range, sync::LazyLock};

use image::RgbImage;
use plotters::prelude::*;

use super::{ExportError, text::FONT_FILE};
use crate::segmentation::{Growth, GrowthRate};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 760;
const FONT: &str = "sans-serif";
/// Hours that rounding may take away.
const ROUNDED: f64 = 1e-6;
/// Of Okabe and Ito's palette, which everybody can tell apart.
const COUNTS: RGBColor = RGBColor(0, 114, 178);
const COVERED: RGBColor = RGBColor(0, 158, 115);
const FITTED: RGBColor = RGBColor(213, 94, 0);

/// The font that comes with the program, under the name that plotters asks for.
static REGISTERED: LazyLock<bool> =
    LazyLock::new(|| plotters::style::register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok());

/// One frame of a series, or all fields of a well at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Since the start.
    pub hours: f64,
    /// Cells.
    pub count: u32,
    /// 0..1.
    pub confluence: f64,
}

/// One of the two curves.
struct Panel<'a> {
    title: String,
    what: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
    rate: Option<GrowthRate>,
    /// What the fit went through: the last `span_hours`, in so many points.
    fitted: u32,
    span_hours: f64,
}

/// Draws the growth of a series named `title`, in the order of time. `growth`: what was fitted to its last points.
pub fn growth(
    title: &str,
    points: &[Point],
    growth: Option<&Growth>,
) -> Result<RgbImage, ExportError> {
    if !*REGISTERED {
        return Err(ExportError::DoesNotFit(
            "the plot's font cannot be read".to_owned(),
        ));
    }
    let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
    {
        let whole = BitMapBackend::with_buffer(&mut pixels, (WIDTH, HEIGHT)).into_drawing_area();
        whole.fill(&WHITE).map_err(drawing)?;
        let curve = |value: fn(&Point) -> f64| {
            points
                .iter()
                .map(|point| (point.hours, value(point)))
                .collect()
        };
        let fitted = growth.map_or(0, |growth| growth.points);
        let span_hours = growth.map_or(0.0, |growth| growth.span_hours);
        let panels = [
            Panel {
                title: format!("{title}: number of cells"),
                what: "cells",
                colour: COUNTS,
                points: curve(|point| f64::from(point.count)),
                rate: growth.and_then(|growth| growth.count),
                fitted,
                span_hours,
            },
            Panel {
                title: format!("{title}: confluence"),
                what: "% of the area",
                colour: COVERED,
                points: curve(|point| 100.0 * point.confluence),
                rate: growth.and_then(|growth| growth.confluence),
                fitted,
                span_hours,
            },
        ];
        for (area, panel) in whole.split_evenly((2, 1)).iter().zip(&panels) {
            panel.draw(area)?;
        }
        whole.present().map_err(drawing)?;
    }
    Ok(RgbImage::from_vec(WIDTH, HEIGHT, pixels).expect("three bytes a pixel"))
}

impl Panel<'_> {
    fn draw(
        &self,
        area: &DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), ExportError> {
        let (hours, values) = self.ranges();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 22))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(hours.clone(), values.clone())
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 16))
            .x_desc("hours")
            .y_desc(self.what)
            .x_label_formatter(&|hours| number(*hours))
            .y_label_formatter(&|value| number(*value))
            .draw()
            .map_err(drawing)?;
        let line = LineSeries::new(self.points.iter().copied(), self.colour.mix(0.5));
        chart.draw_series(line).map_err(drawing)?;
        let dots = self
            .points
            .iter()
            .map(|&at| Circle::new(at, 3, self.colour.filled()));
        chart.draw_series(dots).map_err(drawing)?;
        if let Some(rate) = &self.rate {
            let fit = LineSeries::new(self.fit(rate.per_hour), FITTED.stroke_width(2));
            chart.draw_series(fit).map_err(drawing)?;
        }
        let words = self.words();
        let at = (hours.start, values.end);
        let style = (FONT, 16).into_font().color(&FITTED);
        let words = EmptyElement::at(at) + Text::new(words, (8, 6), style);
        chart.draw_series([words]).map_err(drawing)?;
        Ok(())
    }

    /// Some room around the points; never empty.
    fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let hours = self.points.iter().map(|(hours, _)| *hours);
        let first = hours.clone().fold(f64::INFINITY, f64::min);
        let last = hours.fold(f64::NEG_INFINITY, f64::max);
        let most = self
            .points
            .iter()
            .map(|(_, value)| *value)
            .fold(0.0, f64::max);
        let hours = match first < last {
            true => first..last + 0.02 * (last - first),
            false if first.is_finite() => first - 0.5..first + 0.5,
            false => 0.0..1.0,
        };
        (hours, 0.0..if most > 0.0 { 1.25 * most } else { 1.0 })
    }

    /// The line of the fit through the mean of the points in its window: least squares passes it. Where frames come fast the fit
    /// goes through some of them only, so the window is told by its hours.
    fn fit(&self, per_hour: f64) -> Vec<(f64, f64)> {
        let last = self.points.last().map_or(0.0, |(hours, _)| *hours);
        let from = last - self.span_hours - ROUNDED;
        let window: Vec<_> = self
            .points
            .iter()
            .filter(|(hours, value)| from <= *hours && *value > 0.0)
            .collect();
        let n = window.len() as f64;
        let mean_hours = window.iter().map(|(hours, _)| hours).sum::<f64>() / n;
        let mean_ln = window.iter().map(|(_, value)| value.ln()).sum::<f64>() / n;
        let at = |hours: f64| (hours, (mean_ln + per_hour * (hours - mean_hours)).exp());
        window.iter().map(|(hours, _)| at(*hours)).collect()
    }

    fn words(&self) -> String {
        let Some(rate) = &self.rate else {
            return "no growth rate: it needs 5 points over 2 hours".to_owned();
        };
        let per_hour = format!("rate {:+.4} per hour", rate.per_hour);
        match rate.doubling_hours {
            Some((hours, low, high)) => {
                let what = if hours < 0.0 { "halving" } else { "doubling" };
                let (hours, low, high) = (
                    hours.abs(),
                    low.abs().min(high.abs()),
                    low.abs().max(high.abs()),
                );
                format!(
                    "{what} time {hours:.1} h (95 %: {low:.1} – {high:.1} h), {per_hour}, {} points",
                    self.fitted
                )
            }
            None => format!(
                "no doubling time: the rate's 95 % interval includes 0; {per_hour}, {} points",
                self.fitted
            ),
        }
    }
}

/// Without zeros that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn drawing(error: impl std::fmt::Display) -> ExportError {
    ExportError::DoesNotFit(format!("the plot cannot be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubling_every_ten_hours() -> Vec<Point> {
        let point = |i: u32| Point {
            hours: f64::from(i) * 0.5,
            count: (100.0 * 2f64.powf(f64::from(i) / 20.0)).round() as u32,
            confluence: 0.2 * 2f64.powf(f64::from(i) / 20.0),
        };
        (0..24).map(point).collect()
    }

    fn pixels_of(image: &RgbImage, RGBColor(r, g, b): RGBColor) -> usize {
        image.pixels().filter(|pixel| pixel.0 == [r, g, b]).count()
    }

    #[test]
    fn the_fit_is_drawn_over_the_points() {
        let points = doubling_every_ten_hours();
        let rate = GrowthRate {
            per_hour: 2f64.ln() / 10.0,
            doubling_hours: Some((10.0, 9.5, 10.6)),
        };
        let fit = Growth {
            count: Some(rate),
            confluence: Some(rate),
            points: 24,
            span_hours: 11.5,
            ..Growth::default()
        };
        let with = growth("demo", &points, Some(&fit)).unwrap();
        let without = growth("demo", &points, None).unwrap();
        assert!(pixels_of(&with, COUNTS) > 300 && pixels_of(&with, COVERED) > 300);
        assert!(pixels_of(&with, FITTED) > pixels_of(&without, FITTED) + 1000);
    }

    #[test]
    fn the_fit_spans_its_hours_however_dense_the_frames() {
        let panel = Panel {
            title: String::new(),
            what: "cells",
            colour: COUNTS,
            points: (0..=1000).map(|i| (f64::from(i) / 100.0, 7.0)).collect(),
            rate: None,
            fitted: 50,
            span_hours: 5.0,
        };
        let fit = panel.fit(0.0);
        assert_eq!((fit[0].0, fit[fit.len() - 1].0), (5.0, 10.0));
    }

    #[test]
    fn few_points_and_none_are_no_reason_to_fail() {
        for points in [&[][..], &doubling_every_ten_hours()[..1]] {
            growth("empty", points, None).unwrap();
        }
    }
}
