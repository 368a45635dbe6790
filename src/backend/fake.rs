//! Lanes that do what a closure says: for tests of everything above, and for measuring the daemon without an engine.

use std::{collections::BTreeMap, sync::Arc};

use super::{Backend, Description, Lane, LaneError, OnGpu, Ticket};
use crate::{
    frame::Frame,
    geometry::BoxF,
    mask::Mask,
    model::{Head, HeadShape, ModelSpec, Tensors},
    params::{Normalization, Params, Thresholds},
    segmentation::{AppliedNormalization, AppliedPolicy, RawInstance, RawSegmentation, StageTimes},
};

type Answer = dyn Fn(&Frame, &Params, &Ticket) -> Result<RawSegmentation, LaneError> + Send + Sync;

/// A backend whose lanes answer with a closure.
pub struct FakeBackend {
    model: Arc<ModelSpec>,
    description: Description,
    answer: Arc<Answer>,
}

impl FakeBackend {
    /// `answer` runs on the lanes' threads; it may wait, fail and panic.
    pub fn new(
        answer: impl Fn(&Frame, &Params, &Ticket) -> Result<RawSegmentation, LaneError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let description = Description {
            backend: "fake".to_owned(),
            device: "none".to_owned(),
            ..Description::default()
        };
        FakeBackend {
            model: Arc::new(model()),
            description,
            answer: Arc::new(answer),
        }
    }
}

impl FakeBackend {
    /// The same, as if its model was meant for a GPU.
    pub fn meant_for_a_gpu(mut self, gpu: OnGpu) -> Self {
        self.description.gpu = gpu;
        self.description.degraded =
            (gpu == OnGpu::No).then(|| "the CPU runs it instead of a GPU".to_owned());
        self
    }

    /// The same under another name, of other files and with other classes, as a reload finds it.
    pub fn called(mut self, name: &str, identity: &str, classes: &[&str]) -> Self {
        self.model = Arc::new(ModelSpec {
            name: name.to_owned(),
            version: identity.to_owned(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            ..model()
        });
        self.description.identity = identity.to_owned();
        self
    }
}

impl Backend for FakeBackend {
    fn open_lane(&self) -> Result<Box<dyn Lane>, LaneError> {
        Ok(Box::new(FakeLane(Arc::clone(&self.answer))))
    }

    fn model(&self) -> &Arc<ModelSpec> {
        &self.model
    }

    fn description(&self) -> &Description {
        &self.description
    }
}

struct FakeLane(Arc<Answer>);

impl Lane for FakeLane {
    fn segment(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError> {
        (self.0)(frame, params, ticket)
    }
}

/// `count` square cells of `side` pixels on a grid, as many as fit, scores falling from 1.
pub fn cells(frame: &Frame, count: usize, side: u32) -> RawSegmentation {
    let pitch = side + 2;
    let columns = (frame.width() / pitch).max(1);
    let corners = (0..count as u32).map(|i| (i % columns * pitch, i / columns * pitch));
    let fits =
        corners.take_while(|&(x, y)| x + side <= frame.width() && y + side <= frame.height());
    let instances = fits.enumerate().map(|(i, (x, y))| {
        let mut mask = Mask::empty(x, y, side, side);
        (0..side).for_each(|row| (0..side).for_each(|column| mask.set(column, row)));
        let (x1, y1) = ((x + side) as f32, (y + side) as f32);
        RawInstance {
            class_index: i as u32 % 2,
            score: 1.0 - i as f32 / (count as f32 + 1.0),
            detected_box: BoxF {
                x0: x as f32,
                y0: y as f32,
                x1,
                y1,
            },
            mask,
        }
    });
    RawSegmentation {
        width: frame.width(),
        height: frame.height(),
        instances: instances.collect(),
        normalization: AppliedNormalization {
            low: 0.0,
            high: f64::from(frame.max_value()),
            policy: AppliedPolicy::FullRange,
        },
        truncated: false,
        notices: Vec::new(),
        times: StageTimes::default(),
        own_span: None,
        tiles: 1,
    }
}

fn model() -> ModelSpec {
    ModelSpec {
        name: "fake".to_owned(),
        version: "1".to_owned(),
        input_width: 64,
        input_height: 64,
        classes: vec!["cell".to_owned(), "nucleus".to_owned()],
        trained_um_per_px: None,
        sha256: "0".repeat(64),
        head: Head::YoloSeg(HeadShape {
            classes: 2,
            coefficients: 32,
            anchors: 84,
            prototype_width: 16,
            prototype_height: 16,
        }),
        precision: "none".to_owned(),
        thresholds: Thresholds {
            confidence: 0.25,
            iou: 0.7,
            class_agnostic: false,
            max_cells: 5000,
            min_area_px: 0,
            min_area_um2: None,
            max_area_um2: None,
            classes: Vec::new(),
            class_confidence: BTreeMap::new(),
            border: Default::default(),
        },
        normalization: Normalization::FullRange,
        tensors: Tensors {
            input: "images".to_owned(),
            detections: "output0".to_owned(),
            prototypes: "output1".to_owned(),
        },
    }
}
