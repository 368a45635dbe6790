//! Overlays and plots of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use image::RgbImage;

use super::{
    folder::{Loaded, RunFolder, Series},
    to_file,
};
use crate::{
    cli::{
        UsageError,
        inputs::{Plane, Reader},
        record::{Fate, FrameRecord},
    },
    export::{
        FrameCells, overlay,
        picture::{self, Film},
        plot::{self, Point},
    },
    frame::{Frame, FrameLimits},
    growth::Curve,
    params::GrowthOptions,
    segmentation::Growth,
};

/// Takes the pictures of a series, one after the other.
type Show<'a> = &'a mut dyn FnMut(&RgbImage) -> Result<()>;

/// A picture a frame, and a film a series.
pub(super) fn overlay(run: &RunFolder, out: &Path, images: Option<&Path>) -> Result<String> {
    let mut reader = Reader::new(FrameLimits {
        max_frame_bytes: 1 << 31,
        max_side: 1 << 16,
    });
    let (mut n_pictures, mut n_films) = (0, 0);
    for series in run.series() {
        let answered: Vec<&FrameRecord> = series
            .frames
            .iter()
            .copied()
            .filter(|record| matches!(record.fate, Fate::Segmented(_)))
            .collect();
        let mut each = |mut film: Option<Show<'_>>| -> Result<()> {
            for record in &answered {
                let Some(loaded) = run.load(record)? else {
                    continue;
                };
                let picture = draw(&mut reader, &loaded, images)?;
                let path = out.join(format!("{}.overlay.png", record.image_id));
                to_file(&path, |file| {
                    Ok(picture::png(file, &picture, &run.provenance)?)
                })?;
                n_pictures += 1;
                if let Some(film) = &mut film {
                    film(&picture)?;
                }
            }
            Ok(())
        };
        if !series.timed || answered.len() < 2 {
            each(None)?;
            continue;
        }
        n_films += 1;
        to_file(
            &out.join(format!("{}.timelapse.png", series.file_name)),
            |file| {
                let mut film: Option<Film<_>> = None;
                let mut file = Some(file);
                each(Some(&mut |picture| {
                    if let Some(file) = file.take() {
                        film = Some(Film::new(
                            file,
                            answered.len() as u32,
                            picture,
                            &run.provenance,
                        )?);
                    }
                    Ok(film.iter_mut().try_for_each(|film| film.add(picture))?)
                }))?;
                Ok(film.map_or(Ok(()), Film::finish)?)
            },
        )?;
    }
    Ok(match n_films {
        0 => format!("{n_pictures} overlays"),
        _ => format!("{n_pictures} overlays, {n_films} animated"),
    })
}

fn draw(reader: &mut Reader, loaded: &Loaded, images: Option<&Path>) -> Result<RgbImage> {
    let cells = loaded.cells();
    let said = Path::new(cells.file);
    let path = match (images, said.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => PathBuf::from(said),
    };
    let mut read = || -> Result<Frame> {
        ensure!(
            path.is_file(),
            "there is none: name the folder of the images with --images"
        );
        let frame = reader.read(&Plane {
            path: path.clone(),
            page: loaded.record.page,
            in_stack: cells.stack,
            image_id: cells.image_id.to_owned(),
            metadata: cells.metadata.clone(),
        })?;
        let (width, height) = (cells.segmentation.width, cells.segmentation.height);
        ensure!(
            (frame.width(), frame.height()) == (width, height),
            "has {}x{} pixels, but {width}x{height} were segmented",
            frame.width(),
            frame.height()
        );
        Ok(frame)
    };
    let frame = read().with_context(|| format!("cannot read the image {}", path.display()))?;
    let mut picture = overlay::draw(&frame, cells.segmentation);
    if let Some(ms) = cells.metadata.elapsed_ms {
        overlay::caption(&mut picture, &format!("{:.2} h", ms / 3_600_000.0));
    }
    Ok(picture)
}

/// A picture a series that has times.
pub(super) fn plot(run: &RunFolder, out: &Path) -> Result<String> {
    let mut written = Vec::new();
    for series in run.series() {
        let (points, recorded) = points(run, &series)?;
        if points.is_empty() {
            continue;
        }
        let growth = recorded.unwrap_or_else(|| {
            let mut curve = Curve::new(GrowthOptions::default());
            for point in &points {
                curve.add(0, point.hours, point.count, point.confluence);
            }
            curve.growth()
        });
        let picture = plot::growth(&series.name, &points, Some(&growth))?;
        let name = format!("{}.growth.png", series.file_name);
        to_file(&out.join(&name), |file| {
            Ok(picture::png(file, &picture, &run.provenance)?)
        })?;
        written.push(name);
    }
    if written.is_empty() {
        return Err(UsageError(
            "no frame has a time: a growth curve needs elapsed_ms or captured_at, which segment reads from OME-TIFF and Micro-Manager's metadata"
                .to_owned(),
        )
        .into());
    }
    Ok(written.join(", "))
}

/// The points of a series, hours from its first; and the growth that the run itself found last, of this series alone. Truncated
/// frames do not count, as in the run.
fn points(run: &RunFolder, series: &Series) -> Result<(Vec<Point>, Option<Growth>)> {
    let mut points = Vec::new();
    let mut growth = None;
    let mut start = None;
    for record in &series.frames {
        let Some(loaded) = run.load(record)? else {
            continue;
        };
        let cells = loaded.cells();
        let Some(hours) = hours(&cells, &mut start) else {
            continue;
        };
        if !cells.segmentation.truncated {
            points.push(Point {
                hours,
                count: cells.segmentation.instances.len() as u32,
                confluence: cells.segmentation.confluence,
            });
        }
        growth = cells
            .segmentation
            .growth
            .filter(|it| it.fields <= 1)
            .or(growth);
    }
    Ok((points, growth))
}

fn hours(cells: &FrameCells, start: &mut Option<std::time::SystemTime>) -> Option<f64> {
    if let Some(ms) = cells.metadata.elapsed_ms {
        return Some(ms / 3_600_000.0);
    }
    let at = cells.metadata.captured_at?;
    let since = at.duration_since(*start.get_or_insert(at));
    since.ok().map(|since| since.as_secs_f64() / 3600.0)
}
