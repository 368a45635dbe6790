//! Everything that is said, as numbers: `eval.json`.

use serde::Serialize;

use super::{
    dataset::Dataset,
    subject::{AtConfidence, Subject},
};
use crate::{
    eval::{Compared, Found, Labelled, Scores},
    params::Thresholds,
};

/// Of all models.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    cellsegd: &'static str,
    pub(super) n_images: usize,
    /// Labelled cells, without crowds.
    pub(super) labelled: usize,
    /// Of the labels.
    pub(super) classes: Vec<String>,
    pub(super) models: Vec<ModelReport>,
}

/// Of one model.
#[derive(Debug, Serialize)]
pub(super) struct ModelReport {
    /// What tells it from the others.
    pub(super) label: String,
    name: String,
    version: String,
    sha256: String,
    precision: String,
    backend: String,
    device: String,
    thresholds: Thresholds,
    pub(super) ms_per_image: f64,
    /// Of all images and classes.
    pub(super) all: Scores,
    pub(super) by_class: Vec<Named>,
    pub(super) by_image: Vec<Named>,
    /// Indices into the images, the worst first.
    #[serde(skip)]
    pub(super) worst: Vec<usize>,
    pub(super) worst_images: Vec<String>,
    /// Held against what the first model found, as if that were labelled; absent of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agreement: Option<Scores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sweep: Option<SweepReport>,
}

/// Figures of a class or an image.
#[derive(Debug, Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) scores: Scores,
}

#[derive(Debug, Serialize)]
pub(super) struct SweepReport {
    /// With the highest F1 at the first IoU, the lowest of equal ones; absent where there is no F1.
    pub(super) best_confidence: Option<f32>,
    pub(super) at: Vec<Swept>,
}

#[derive(Debug, Serialize)]
pub(super) struct Swept {
    pub(super) confidence: f32,
    pub(super) scores: Scores,
}

impl Report {
    pub(super) fn new(
        dataset: &Dataset,
        subjects: &[Subject],
        ious: &[f64],
        n_worst: usize,
    ) -> Report {
        let models = subjects.iter().enumerate().map(|(i, subject)| {
            let reference = (i > 0).then(|| &subjects[0]);
            ModelReport::new(dataset, subject, reference, ious, n_worst)
        });
        let cells = dataset.images.iter().flat_map(|image| &image.cells);
        Report {
            cellsegd: env!("CARGO_PKG_VERSION"),
            n_images: dataset.images.len(),
            labelled: cells.filter(|cell| !cell.crowd).count(),
            classes: dataset
                .classes
                .iter()
                .map(|class| class.name.clone())
                .collect(),
            models: models.collect(),
        }
    }
}

impl ModelReport {
    fn new(
        dataset: &Dataset,
        subject: &Subject,
        reference: Option<&Subject>,
        ious: &[f64],
        n_worst: usize,
    ) -> ModelReport {
        let compared: Vec<&[Compared]> = subject
            .images
            .iter()
            .map(|image| &*image.compared)
            .collect();
        let by_class = (0..).zip(&dataset.classes).map(|(i, class)| {
            let only: Vec<&[Compared]> = compared.iter().map(|classes| &classes[i..=i]).collect();
            Named {
                name: class.name.clone(),
                scores: Scores::of(&only, ious),
            }
        });
        let by_image: Vec<Named> = dataset
            .images
            .iter()
            .zip(&compared)
            .map(|(image, &classes)| Named {
                name: image.name.clone(),
                scores: Scores::of(&[classes], ious),
            })
            .collect();
        let worst = worst(&by_image, n_worst);
        let model = &subject.model;
        ModelReport {
            label: subject.label.clone(),
            name: model.name.clone(),
            version: model.version.clone(),
            sha256: model.sha256.clone(),
            precision: model.precision.clone(),
            backend: subject.description.backend.clone(),
            device: subject.description.device.clone(),
            thresholds: subject.thresholds.clone(),
            ms_per_image: subject.ms_per_image,
            all: Scores::of(&compared, ious),
            by_class: by_class.collect(),
            worst_images: worst.iter().map(|&i| by_image[i].name.clone()).collect(),
            worst,
            by_image,
            agreement: reference.map(|reference| agreement(dataset, reference, subject, ious)),
            sweep: (!subject.sweep.is_empty()).then(|| SweepReport::new(&subject.sweep, ious)),
        }
    }
}

impl SweepReport {
    fn new(sweep: &[AtConfidence], ious: &[f64]) -> SweepReport {
        let at: Vec<Swept> = sweep
            .iter()
            .map(|at| {
                let images: Vec<&[Compared]> = at.images.iter().map(Vec::as_slice).collect();
                Swept {
                    confidence: at.confidence,
                    scores: Scores::of(&images, ious),
                }
            })
            .collect();
        let f1 = |swept: &Swept| swept.scores.at.first().and_then(|at| at.f1);
        // `max_by` takes the last of equals.
        let best = at
            .iter()
            .rev()
            .filter_map(|swept| Some((f1(swept)?, swept.confidence)))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        SweepReport {
            best_confidence: best.map(|(_, confidence)| confidence),
            at,
        }
    }
}

/// What `subject` found, with what `reference` found as labels.
fn agreement(dataset: &Dataset, reference: &Subject, subject: &Subject, ious: &[f64]) -> Scores {
    let label = |cell: &Found| Labelled {
        class: cell.class,
        mask: cell.mask.clone(),
        crowd: false,
    };
    let pairs = reference.images.iter().zip(&subject.images);
    let compared: Vec<Vec<Compared>> = pairs
        .map(|(reference, own)| {
            let labels: Vec<Labelled> = reference.found.iter().map(label).collect();
            (0..dataset.classes.len())
                .map(|class| Compared::of_class(&labels, &own.found, class))
                .collect()
        })
        .collect();
    let compared: Vec<&[Compared]> = compared.iter().map(Vec::as_slice).collect();
    Scores::of(&compared, ious)
}

/// By the lowest F1 at the first IoU, then the lowest panoptic quality; images without any cell are never bad.
fn worst(images: &[Named], n: usize) -> Vec<usize> {
    let rank = |scores: &Scores| Some((scores.at.first()?.f1?, scores.pq.unwrap_or(0.0)));
    let mut ranked: Vec<(usize, (f64, f64))> = (0..)
        .zip(images)
        .filter_map(|(i, image)| Some((i, rank(&image.scores)?)))
        .collect();
    ranked.sort_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    ranked.into_iter().take(n).map(|(i, _)| i).collect()
}
