//! A session's options: defaults filled in, refused where they cannot be meant.

mod analysis;
mod asked;
mod normalization;
mod outputs;
mod resume;
mod thresholds;
mod tiling;

use std::sync::Arc;

pub use asked::Asked;
pub(in crate::server) use outputs::Outputs;
pub(in crate::server) use resume::resumed;

use super::{Refusal, known, limits, model, pixels::Pixels};
use crate::{
    backend::Description,
    config::LimitSettings,
    frame::{FlatField, Frame, FrameError, FrameLimits, FrameMetadata},
    model::ModelSpec,
    params::{Analysis, MinSpan, Normalization, Params, Thresholds},
    pool::Priority,
    proto as pb,
    session::Delivery,
};

/// Longest name of a session, bytes.
const MAX_NAME: usize = 256;

/// Most positions that one update makes start afresh, and bytes of their names.
const MAX_FORGOTTEN: usize = 1024;
const MAX_FORGOTTEN_BYTES: usize = 64 << 10;

/// Every option of a session with its default filled in.
#[derive(Clone, Debug)]
pub(in crate::server) struct Settled {
    pub(in crate::server) params: Params,
    pub(in crate::server) outputs: Outputs,
    pub(in crate::server) delivery: Delivery,
    pub(in crate::server) window: u32,
    pub(in crate::server) priority: Priority,
    pub(in crate::server) name: String,
    pub(in crate::server) follow_reload: bool,
    /// What is made of the cells; the same for a session's whole life.
    pub(in crate::server) analysis: Analysis,
    /// It goes on with the ids of an earlier one.
    pub(in crate::server) resumed: bool,
    /// Illumination that is divided out of every frame; likewise.
    pub(in crate::server) flat_field: Option<Arc<FlatField>>,
    /// What was asked for, updates included: settled again for another model. Without images and what was
    /// resumed: what they gave is kept in their place.
    asked: pb::SessionOptions,
    model: String,
    n_classes: usize,
    trained_um_per_px: Option<f64>,
    limits: LimitSettings,
    default_min_span: MinSpan,
}

impl Settled {
    pub(in crate::server) fn new(
        options: &pb::SessionOptions,
        spec: &ModelSpec,
        limits: &LimitSettings,
    ) -> Result<Self, Refusal> {
        if options.name.len() > MAX_NAME {
            let got = options.name.len();
            return Err(Refusal::Invalid(format!(
                "name has {got} bytes: at most {MAX_NAME}"
            )));
        }
        let delivery = match known("delivery", options.delivery)? {
            pb::Delivery::Unspecified | pb::Delivery::Lossless => Delivery::Lossless,
            pb::Delivery::Latest => Delivery::Latest,
        };
        let window = match (options.window, delivery) {
            (0, Delivery::Lossless) => 4,
            (0, Delivery::Latest) => 2,
            (asked, _) => asked,
        };
        let priority = match known("priority", options.priority)? {
            pb::Priority::Background => Priority::Background,
            pb::Priority::Unspecified | pb::Priority::Normal => Priority::Normal,
            pb::Priority::Urgent => Priority::Urgent,
        };
        let thresholds = Thresholds {
            max_cells: spec.thresholds.max_cells.min(limits.max_cells),
            ..spec.thresholds.clone()
        };
        let mut settled = Settled {
            params: Params {
                tiling: tiling::settled(options.tiling.as_ref())?,
                ..Params::new(thresholds, spec.normalization)
            },
            outputs: Outputs::default(),
            analysis: analysis::settled(options)?,
            resumed: resumes(options),
            flat_field: flat_field(options.flat_field.as_ref(), &limits.frame())?,
            delivery,
            window: window.min(limits.window),
            priority,
            name: options.name.clone(),
            follow_reload: options.follow_reload,
            asked: options.clone(),
            model: spec.name.clone(),
            n_classes: spec.classes.len(),
            trained_um_per_px: spec.trained_um_per_px,
            limits: limits.clone(),
            default_min_span: match spec.normalization {
                Normalization::Percentiles { min_span, .. } => min_span,
                Normalization::FullRange | Normalization::Window { .. } => MinSpan::Counts(0.0),
            },
        };
        settled.change(
            options.thresholds.as_ref(),
            options.normalization.as_ref(),
            options.outputs.as_ref(),
        )?;
        settled.asked.flat_field = None;
        if let Some(tracking) = &mut settled.asked.tracking {
            tracking.resume = None;
        }
        settled.keep_window(options.normalization.as_ref());
        Ok(settled)
    }

    /// Whether [`Settled::new`] takes milliseconds for these: images are decoded, masks are unpacked.
    pub(in crate::server) fn is_slow(options: &pb::SessionOptions) -> bool {
        options.flat_field.is_some()
            || resumes(options)
            || normalization::is_slow(options.normalization.as_ref())
    }

    /// Whether [`Settled::update`] takes milliseconds for this.
    pub(in crate::server) fn is_slow_update(update: &pb::SessionUpdate) -> bool {
        normalization::is_slow(update.normalization.as_ref())
    }

    /// What a reference image gave is what is asked of another model.
    fn keep_window(&mut self, asked: Option<&pb::Normalization>) {
        if normalization::is_slow(asked) {
            self.asked.normalization = Some(normalization::told(&self.params.normalization, 0.0));
        }
    }

    /// With no higher priority than `most`, whatever was asked for; with other models too.
    pub(in crate::server) fn capped(self, most: Priority) -> Self {
        let priority = self.priority.min(most);
        let mut capped = Settled { priority, ..self };
        // What is settled again for another model.
        capped.asked.priority = capped.to_options().priority;
        capped
    }

    /// Applies an update; what is unset stays as it is.
    pub(in crate::server) fn update(&mut self, update: &pb::SessionUpdate) -> Result<(), Refusal> {
        self.change(
            update.thresholds.as_ref(),
            update.normalization.as_ref(),
            update.outputs.as_ref(),
        )?;
        let asked = &mut self.asked;
        merge(&mut asked.thresholds, &update.thresholds, thresholds::merge);
        merge(&mut asked.outputs, &update.outputs, outputs::merge);
        if normalization::is_slow(update.normalization.as_ref()) {
            self.keep_window(update.normalization.as_ref());
        } else if update.normalization.is_some() {
            asked.normalization.clone_from(&update.normalization);
        }
        Ok(())
    }

    /// The same wishes, settled for another model.
    pub(in crate::server) fn onto(
        &self,
        spec: &ModelSpec,
        limits: &LimitSettings,
    ) -> Result<Self, Refusal> {
        let settled = Settled::new(&self.asked, spec, limits)?;
        Ok(Settled {
            flat_field: self.flat_field.clone(),
            ..settled
        })
    }

    /// The session's thresholds with those of one frame over them.
    pub(in crate::server) fn thresholds_with(
        &self,
        over: &pb::Thresholds,
    ) -> Result<Thresholds, Refusal> {
        let thresholds = thresholds::over(&self.params.thresholds, over)?;
        thresholds.check(self.n_classes, self.limits.max_cells)?;
        Ok(thresholds)
    }

    fn change(
        &mut self,
        thresholds: Option<&pb::Thresholds>,
        normalization: Option<&pb::Normalization>,
        outputs: Option<&pb::Outputs>,
    ) -> Result<(), Refusal> {
        if let Some(thresholds) = thresholds {
            self.params.thresholds = self.thresholds_with(thresholds)?;
        }
        if let Some(policy) = normalization.and_then(|normalization| normalization.policy.as_ref())
        {
            (self.params.normalization, self.params.smoothing) =
                normalization::settled(policy, self.default_min_span, &self.limits.frame())?;
        }
        if let Some(outputs) = outputs {
            self.outputs = self.outputs.with(outputs)?;
        }
        if self.outputs.label_by == pb::LabelBy::Track && self.analysis.tracking.is_none() {
            return Err(Refusal::Invalid(
                "outputs.label_by TRACK: needs tracking; ask for it when the session opens"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// As the contract tells it.
    pub(in crate::server) fn to_options(&self) -> pb::SessionOptions {
        let mut options = pb::SessionOptions {
            model: self.model.clone(),
            outputs: Some(self.outputs.told()),
            thresholds: Some(thresholds::told(&self.params.thresholds)),
            delivery: match self.delivery {
                Delivery::Lossless => pb::Delivery::Lossless,
                Delivery::Latest => pb::Delivery::Latest,
            }
            .into(),
            window: self.window,
            priority: match self.priority {
                Priority::Background => pb::Priority::Background,
                Priority::Normal => pb::Priority::Normal,
                Priority::Urgent => pb::Priority::Urgent,
            }
            .into(),
            normalization: Some(normalization::told(
                &self.params.normalization,
                self.params.smoothing,
            )),
            tiling: Some(tiling::told(&self.params.tiling, self.trained_um_per_px)),
            // That there is one: its images are the client's.
            flat_field: self.flat_field.is_some().then(pb::FlatField::default),
            name: self.name.clone(),
            follow_reload: self.follow_reload,
            ..Default::default()
        };
        analysis::tell(&self.analysis, &mut options);
        options
    }
}

/// Positions whose series an update makes start afresh. Bounded: they are held until the frames before it are answered.
pub(in crate::server) fn forgotten(update: &pb::SessionUpdate) -> Result<Vec<String>, Refusal> {
    let positions = &update.forget_positions;
    let bytes: usize = positions.iter().map(String::len).sum();
    match positions.len() <= MAX_FORGOTTEN && bytes <= MAX_FORGOTTEN_BYTES {
        true => Ok(positions.clone()),
        false => Err(Refusal::Invalid(format!(
            "forget_positions has {} names of {bytes} bytes: at most {MAX_FORGOTTEN} of {MAX_FORGOTTEN_BYTES} in one update",
            positions.len()
        ))),
    }
}

fn resumes(options: &pb::SessionOptions) -> bool {
    let tracking = options.tracking.as_ref();
    tracking.is_some_and(|tracking| tracking.resume.is_some())
}

fn flat_field(
    asked: Option<&pb::FlatField>,
    limits: &FrameLimits,
) -> Result<Option<Arc<FlatField>>, Refusal> {
    use pb::flat_field::{Dark, Flat};
    let Some(asked) = asked else {
        return Ok(None);
    };
    let flat = match &asked.flat {
        Some(Flat::FlatRaw(raw)) => Pixels::raw(raw.clone()),
        Some(Flat::FlatEncoded(file)) => Ok(Pixels::encoded(file.clone())),
        None => {
            return Err(Refusal::Invalid(
                "flat_field without a flat image: send flat_raw or flat_encoded".to_owned(),
            ));
        }
    };
    let dark = asked.dark.as_ref().map(|dark| match dark {
        Dark::DarkRaw(raw) => Pixels::raw(raw.clone()),
        Dark::DarkEncoded(file) => Ok(Pixels::encoded(file.clone())),
    });
    let flat = image(flat, "flat_field.flat", limits)?;
    let dark = dark
        .map(|dark| image(dark, "flat_field.dark", limits))
        .transpose()?;
    match FlatField::new(&flat, dark.as_ref()) {
        Ok(flat_field) => Ok(Some(Arc::new(flat_field))),
        Err(error) => Err(Refusal::Invalid(format!("flat_field: {error}"))),
    }
}

/// An image among the options. `Err` names its `field`.
fn image(
    pixels: Result<Pixels, FrameError>,
    field: &str,
    limits: &FrameLimits,
) -> Result<Frame, Refusal> {
    pixels
        .and_then(|pixels| pixels.into_frame(FrameMetadata::default(), limits))
        .map_err(|error| Refusal::Invalid(format!("{field}: {error}")))
}

/// `update` over what was asked before.
fn merge<M: Clone>(asked: &mut Option<M>, update: &Option<M>, fields: impl Fn(&mut M, &M)) {
    match (asked, update) {
        (Some(asked), Some(update)) => fields(asked, update),
        (asked @ None, Some(update)) => *asked = Some(update.clone()),
        (_, None) => {}
    }
}

/// What a session got.
pub(in crate::server) fn opened(
    settled: &Settled,
    spec: &ModelSpec,
    description: &Description,
    limit_settings: &LimitSettings,
) -> pb::SessionOpened {
    pb::SessionOpened {
        session: uuid::Uuid::new_v4().to_string(),
        model: Some(model(spec)),
        backend: description.backend.clone(),
        device: description.device.clone(),
        window: settled.window,
        settled: Some(settled.to_options()),
        limits: Some(limits(limit_settings)),
        revision: 1,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        resumed: settled.resumed,
    }
}

/// The same session with another model.
pub(in crate::server) fn reopened(
    opened: &mut pb::SessionOpened,
    spec: &ModelSpec,
    description: &Description,
) {
    opened.model = Some(model(spec));
    opened.backend.clone_from(&description.backend);
    opened.device.clone_from(&description.device);
}
