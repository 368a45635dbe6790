//! A model run over all images.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::dataset::{Dataset, Labels, read_image};
use crate::{
    backend::{Backend, Description, Lane, LaneError, Ticket, tiled},
    cli::{
        choices::{Choices, EngineFlags},
        daemon,
    },
    config::Settings,
    decode::{as_decoded, settle},
    eval::{Compared, Found},
    frame::{Frame, FrameLimits, FrameMetadata},
    model::ModelSpec,
    params::{Params, Thresholds},
    segmentation::{AppliedNormalization, RawSegmentation},
};

/// What is the same for every model.
pub(super) struct Plan<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) engine: &'a EngineFlags,
    pub(super) choices: &'a Choices,
    pub(super) sweep: bool,
    pub(super) pixel_size_um: Option<f64>,
}

/// A model and what it found.
pub(super) struct Subject {
    /// What tells it from the others.
    pub(super) label: String,
    pub(super) model: Arc<ModelSpec>,
    pub(super) description: Description,
    pub(super) thresholds: Thresholds,
    /// In the order of the dataset's.
    pub(super) images: Vec<Segmented>,
    /// Empty where it was not asked for.
    pub(super) sweep: Vec<AtConfidence>,
    /// Median of an image's time on the lane.
    pub(super) ms_per_image: f64,
}

/// One image.
pub(super) struct Segmented {
    /// Falling score.
    pub(super) found: Vec<Found>,
    /// One a class of the labels.
    pub(super) compared: Vec<Compared>,
    /// What the network saw.
    pub(super) normalization: AppliedNormalization,
}

/// All images at a confidence.
pub(super) struct AtConfidence {
    pub(super) confidence: f32,
    /// Of each image, one a class of the labels.
    pub(super) images: Vec<Vec<Compared>>,
}

/// A model on its lane.
struct Runner<'a> {
    plan: &'a Plan<'a>,
    backend: Arc<dyn Backend>,
    lane: Box<dyn Lane>,
    params: Params,
    limits: FrameLimits,
    /// Of each class of the model the class of the labels.
    classes: Vec<Option<usize>>,
    times: Vec<Duration>,
}

/// Paths as given, each with a name that tells it from the others: the file's, else all of the path.
pub(super) fn labels(paths: &[PathBuf]) -> Vec<(Option<PathBuf>, String)> {
    let file_name = |path: &PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let mut seen: BTreeMap<Option<String>, usize> = BTreeMap::new();
    paths
        .iter()
        .for_each(|path| *seen.entry(file_name(path)).or_default() += 1);
    if paths.is_empty() {
        return vec![(None, "bundled".to_owned())];
    }
    let label = |path: &PathBuf| match file_name(path) {
        Some(name) if seen.get(&Some(name.clone())) == Some(&1) => name,
        _ => path.display().to_string(),
    };
    paths
        .iter()
        .map(|path| (Some(path.clone()), label(path)))
        .collect()
}

/// 0.05, 0.1 .. 0.95.
fn confidences() -> impl Iterator<Item = f32> {
    (1u8..20).map(|twentieth| f32::from(twentieth) / 20.0)
}

impl Subject {
    /// Opens the model, runs it over every image and closes it.
    pub(super) fn of_model(
        path: Option<PathBuf>,
        label: String,
        plan: &Plan<'_>,
    ) -> Result<Subject> {
        let started = Instant::now();
        let mut runner = Runner::open(path, plan).with_context(|| label.clone())?;
        let mut sweep: Vec<AtConfidence> = Vec::new();
        if plan.sweep {
            sweep.extend(confidences().map(|confidence| AtConfidence {
                confidence,
                images: Vec::new(),
            }));
        }
        let mut images = Vec::new();
        for labels in &plan.dataset.images {
            let segmented = read(labels, plan.pixel_size_um, &runner.limits)
                .and_then(|frame| runner.image(labels, &frame, &mut sweep))
                .with_context(|| format!("{label}: {}", labels.path.display()))?;
            images.push(segmented);
        }
        eprintln!(
            "{label}: {} images in {:.1} s, on {}, {}",
            images.len(),
            started.elapsed().as_secs_f64(),
            runner.backend.description().backend,
            runner.backend.description().device,
        );
        Ok(Subject {
            label,
            model: Arc::clone(runner.backend.model()),
            description: runner.backend.description().clone(),
            thresholds: runner.params.thresholds.clone(),
            images,
            sweep,
            ms_per_image: median_ms(runner.times),
        })
    }
}

impl<'a> Runner<'a> {
    fn open(path: Option<PathBuf>, plan: &'a Plan<'a>) -> Result<Runner<'a>> {
        let settings = Settings {
            lanes: 1,
            ..Settings::load(None, &plan.engine.overrides(path))?
        };
        let backend = daemon::backends(&settings)?.swap_remove(0);
        let params = plan
            .choices
            .settle(backend.model(), settings.limits.max_cells)?;
        Ok(Runner {
            classes: plan.dataset.classes_of(&backend.model().classes)?,
            plan,
            lane: backend.open_lane()?,
            backend,
            params,
            limits: settings.limits.frame(),
            times: Vec::new(),
        })
    }

    /// Segments an image, once where that is enough, and adds what there is at each confidence of `sweep`.
    ///
    /// Candidates are taken by falling score, and none is suppressed, cut or painted over by one with a lower score. So what a run
    /// at a higher confidence finds is the first part of what a run at a lower one finds: but not where classes have confidences
    /// of their own, nor where the pieces of a frame in tiles were merged, since a piece of low score may have been merged into
    /// one of high score. Such frames are segmented anew.
    fn image(
        &mut self,
        labels: &Labels,
        frame: &Frame,
        sweep: &mut [AtConfidence],
    ) -> Result<Segmented> {
        let asked = self.params.thresholds.clone();
        let raw = self.segment(frame, &asked)?;
        let found = self.found(&raw, frame, &asked);
        if !sweep.is_empty() {
            let alike = |confidence: f32| Thresholds {
                confidence,
                class_confidence: BTreeMap::new(),
                ..asked.clone()
            };
            let mut lowest: Option<Vec<Compared>> = None;
            for at in sweep {
                let compared = match &lowest {
                    Some(all) => all.iter().map(|class| class.above(at.confidence)).collect(),
                    None => {
                        let thresholds = alike(at.confidence);
                        let raw = self.segment(frame, &thresholds)?;
                        let compared = self.compared(labels, &self.found(&raw, frame, &thresholds));
                        if raw.tiles <= 1 {
                            lowest = Some(compared.clone());
                        }
                        compared
                    }
                };
                at.images.push(compared);
            }
        }
        Ok(Segmented {
            compared: self.compared(labels, &found),
            found,
            normalization: raw.normalization,
        })
    }

    fn segment(&mut self, frame: &Frame, thresholds: &Thresholds) -> Result<RawSegmentation> {
        let params = Params {
            thresholds: thresholds.clone(),
            ..self.params.clone()
        };
        let started = Instant::now();
        let raw = tiled::segment(
            &mut *self.lane,
            self.backend.model(),
            frame,
            &params,
            &Ticket::default(),
        )
        .map_err(|error| match error {
            LaneError::Frame(why) => anyhow::Error::msg(why),
            error => error.into(),
        })?;
        self.times.push(started.elapsed());
        Ok(raw)
    }

    /// By falling score; classes that are not labelled have no part.
    fn found(&self, raw: &RawSegmentation, frame: &Frame, thresholds: &Thresholds) -> Vec<Found> {
        let cells = match self.plan.choices.raw_masks {
            true => as_decoded(raw),
            false => settle(raw, thresholds, frame.metadata().pixel_size_um).instances,
        };
        let class = |index: u32| self.classes.get(index as usize).copied().flatten();
        cells
            .into_iter()
            .filter_map(|cell| {
                Some(Found {
                    class: class(cell.class_index)?,
                    mask: cell.mask,
                    score: cell.score,
                })
            })
            .collect()
    }

    fn compared(&self, labels: &Labels, found: &[Found]) -> Vec<Compared> {
        (0..self.plan.dataset.classes.len())
            .map(|class| Compared::of_class(&labels.cells, found, class))
            .collect()
    }
}

/// An image as a frame; refuses one of another size than its labels.
pub(super) fn read(
    labels: &Labels,
    pixel_size_um: Option<f64>,
    limits: &FrameLimits,
) -> Result<Frame> {
    let (layout, pixels, said_um) = read_image(&labels.path, limits)?;
    if (layout.width, layout.height) != (labels.width, labels.height) {
        bail!(
            "{}x{} pixels, but its labels in {} are {}x{}",
            layout.width,
            layout.height,
            labels.source.display(),
            labels.width,
            labels.height
        );
    }
    let metadata = FrameMetadata {
        pixel_size_um: pixel_size_um.or(said_um),
        ..FrameMetadata::default()
    };
    Ok(Frame::new(layout, pixels, metadata, limits)?)
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    median.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_the_same_file_name_are_told_apart_by_their_folders() {
        let names = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            labels(&paths)
                .into_iter()
                .map(|(_, label)| label)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&["a/m.onnx", "a/m.engine"]), ["m.onnx", "m.engine"]);
        assert_eq!(
            names(&["a/m.onnx", "b/m.onnx", "b/n.onnx"]),
            ["a/m.onnx", "b/m.onnx", "n.onnx"]
        );
        assert_eq!(names(&[]), ["bundled"]);
    }

    #[test]
    fn confidences_are_the_numbers_that_people_write() {
        let all: Vec<f32> = confidences().collect();
        assert_eq!((all[0], all[6], all[18]), (0.05, 0.35, 0.95));
    }
}
