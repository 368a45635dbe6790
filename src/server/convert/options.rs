//! A session's options: defaults filled in, refused where they cannot be meant.

use super::{Refusal, known, limits, model};
use crate::{
    backend::Description,
    config::LimitSettings,
    model::ModelSpec,
    params::{MinSpan, Normalization, Params, Thresholds},
    pool::Priority,
    proto as pb,
    session::Delivery,
};

/// Longest name of a session, bytes.
const MAX_NAME: usize = 256;

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
    /// What was asked for, updates included: settled again for another model.
    asked: pb::SessionOptions,
    model: String,
    n_classes: usize,
    max_cells: u32,
    default_min_span: MinSpan,
}

/// Which forms of a mask are sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Outputs {
    pub(in crate::server) masks: pb::MaskEncoding,
    pub(in crate::server) label_image: bool,
    /// None: by the image's size.
    pub(in crate::server) label_compression: Option<pb::Compression>,
    pub(in crate::server) raw_masks: bool,
}

impl Settled {
    pub(in crate::server) fn new(
        options: &pb::SessionOptions,
        spec: &ModelSpec,
        limits: &LimitSettings,
    ) -> Result<Self, Refusal> {
        refuse_unimplemented(options)?;
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
        let mut settled = Settled {
            params: Params {
                thresholds: Thresholds {
                    max_cells: spec.thresholds.max_cells.min(limits.max_cells),
                    ..spec.thresholds.clone()
                },
                normalization: spec.normalization,
            },
            outputs: Outputs {
                masks: pb::MaskEncoding::CocoRle,
                label_image: false,
                label_compression: None,
                raw_masks: false,
            },
            delivery,
            window: window.min(limits.window),
            priority,
            name: options.name.clone(),
            follow_reload: options.follow_reload,
            asked: options.clone(),
            model: spec.name.clone(),
            n_classes: spec.classes.len(),
            max_cells: limits.max_cells,
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
        Ok(settled)
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
        merge(&mut asked.thresholds, &update.thresholds, merge_thresholds);
        merge(&mut asked.outputs, &update.outputs, merge_outputs);
        if update.normalization.is_some() {
            asked.normalization = update.normalization;
        }
        Ok(())
    }

    /// The same wishes, settled for another model.
    pub(in crate::server) fn onto(
        &self,
        spec: &ModelSpec,
        limits: &LimitSettings,
    ) -> Result<Self, Refusal> {
        Settled::new(&self.asked, spec, limits)
    }

    /// The session's thresholds with those of one frame over them.
    pub(in crate::server) fn thresholds_with(
        &self,
        over: &pb::Thresholds,
    ) -> Result<Thresholds, Refusal> {
        if known::<pb::BorderRule>("thresholds.border", over.border)? as i32
            > pb::BorderRule::Keep as i32
        {
            return Err(Refusal::Unimplemented("thresholds.border other than KEEP"));
        }
        let base = &self.params.thresholds;
        let thresholds = Thresholds {
            confidence: over.confidence.unwrap_or(base.confidence),
            iou: over.iou.unwrap_or(base.iou),
            class_agnostic: over.class_agnostic.unwrap_or(base.class_agnostic),
            max_cells: over.max_cells.unwrap_or(base.max_cells),
            min_area_px: over.min_area_px.unwrap_or(base.min_area_px),
            min_area_um2: over.min_area_um2.or(base.min_area_um2),
            max_area_um2: over.max_area_um2.or(base.max_area_um2),
            classes: if over.classes.is_empty() {
                base.classes.clone()
            } else {
                over.classes.clone()
            },
            class_confidence: match over.class_confidence.is_empty() {
                true => base.class_confidence.clone(),
                false => over.class_confidence.clone(),
            },
        };
        thresholds.check(self.n_classes, self.max_cells)?;
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
            self.params.normalization = normalization_of(policy, self.default_min_span)?;
        }
        if let Some(outputs) = outputs {
            self.outputs = self.outputs.with(outputs)?;
        }
        Ok(())
    }

    /// As the contract tells it.
    pub(in crate::server) fn to_options(&self) -> pb::SessionOptions {
        let Thresholds {
            confidence,
            iou,
            class_agnostic,
            max_cells,
            ..
        } = self.params.thresholds;
        let thresholds = self.params.thresholds.clone();
        pb::SessionOptions {
            model: self.model.clone(),
            outputs: Some(pb::Outputs {
                masks: self.outputs.masks.into(),
                label_image: Some(self.outputs.label_image),
                label_by: pb::LabelBy::Instance.into(),
                label_compression: self.outputs.label_compression.unwrap_or_default().into(),
                raw_masks: Some(self.outputs.raw_masks),
            }),
            thresholds: Some(pb::Thresholds {
                confidence: Some(confidence),
                iou: Some(iou),
                class_agnostic: Some(class_agnostic),
                max_cells: Some(max_cells),
                min_area_um2: thresholds.min_area_um2,
                max_area_um2: thresholds.max_area_um2,
                min_area_px: Some(thresholds.min_area_px),
                border: pb::BorderRule::Keep.into(),
                classes: thresholds.classes,
                class_confidence: thresholds.class_confidence,
            }),
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
            normalization: Some(normalization_to(&self.params.normalization)),
            tiling: Some(pb::Tiling {
                mode: pb::tiling::Mode::Off.into(),
                ..Default::default()
            }),
            measurements: None,
            tracking: None,
            name: self.name.clone(),
            follow_reload: self.follow_reload,
            region: None,
        }
    }
}

impl Outputs {
    fn with(self, over: &pb::Outputs) -> Result<Self, Refusal> {
        if known::<pb::LabelBy>("outputs.label_by", over.label_by)? == pb::LabelBy::Track {
            return Err(Refusal::Unimplemented("outputs.label_by TRACK"));
        }
        let masks = match known("outputs.masks", over.masks)? {
            pb::MaskEncoding::Unspecified => self.masks,
            masks => masks,
        };
        let label_compression = match known("outputs.label_compression", over.label_compression)? {
            pb::Compression::Unspecified => self.label_compression,
            compression => Some(compression),
        };
        Ok(Outputs {
            masks,
            label_image: over.label_image.unwrap_or(self.label_image),
            label_compression,
            raw_masks: over.raw_masks.unwrap_or(self.raw_masks),
        })
    }
}

/// `update` over what was asked before.
fn merge<M: Clone>(asked: &mut Option<M>, update: &Option<M>, fields: impl Fn(&mut M, &M)) {
    match (asked, update) {
        (Some(asked), Some(update)) => fields(asked, update),
        (asked @ None, Some(update)) => *asked = Some(update.clone()),
        (_, None) => {}
    }
}

/// As [`Settled::thresholds_with`]: fields that are set replace those before.
fn merge_thresholds(asked: &mut pb::Thresholds, update: &pb::Thresholds) {
    fn set<T: Copy>(asked: &mut Option<T>, update: Option<T>) {
        *asked = update.or(*asked);
    }
    set(&mut asked.confidence, update.confidence);
    set(&mut asked.iou, update.iou);
    set(&mut asked.class_agnostic, update.class_agnostic);
    set(&mut asked.max_cells, update.max_cells);
    set(&mut asked.min_area_px, update.min_area_px);
    set(&mut asked.min_area_um2, update.min_area_um2);
    set(&mut asked.max_area_um2, update.max_area_um2);
    if !update.classes.is_empty() {
        asked.classes.clone_from(&update.classes);
    }
    if !update.class_confidence.is_empty() {
        asked.class_confidence.clone_from(&update.class_confidence);
    }
}

/// As [`Outputs::with`].
fn merge_outputs(asked: &mut pb::Outputs, update: &pb::Outputs) {
    if update.masks != pb::MaskEncoding::Unspecified as i32 {
        asked.masks = update.masks;
    }
    if update.label_compression != pb::Compression::Unspecified as i32 {
        asked.label_compression = update.label_compression;
    }
    asked.label_image = update.label_image.or(asked.label_image);
    asked.raw_masks = update.raw_masks.or(asked.raw_masks);
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
        resumed: false,
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

fn refuse_unimplemented(options: &pb::SessionOptions) -> Result<(), Refusal> {
    if let Some(tiling) = &options.tiling {
        if known::<pb::tiling::Mode>("tiling.mode", tiling.mode)? == pb::tiling::Mode::On {
            return Err(Refusal::Unimplemented("tiling.mode MODE_ON"));
        }
        if tiling.overlap.is_some() {
            return Err(Refusal::Unimplemented("tiling.overlap"));
        }
        if tiling.target_um_per_px.is_some() {
            return Err(Refusal::Unimplemented("tiling.target_um_per_px"));
        }
    }
    let asked = [
        (options.measurements.is_some(), "measurements"),
        (options.tracking.is_some(), "tracking"),
        (options.region.is_some(), "region"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, name)) => Err(Refusal::Unimplemented(name)),
        None => Ok(()),
    }
}

fn normalization_of(
    policy: &pb::normalization::Policy,
    default_min_span: MinSpan,
) -> Result<Normalization, Refusal> {
    use pb::normalization::Policy;
    let normalization = match policy {
        Policy::FullRange(_) => Normalization::FullRange,
        Policy::Window(window) => Normalization::Window {
            low: window.low,
            high: window.high,
        },
        Policy::Percentiles(percentiles) => {
            if percentiles
                .smoothing
                .is_some_and(|smoothing| smoothing != 0.0)
            {
                return Err(Refusal::Unimplemented(
                    "normalization.percentiles.smoothing other than 0",
                ));
            }
            let min_span = percentiles
                .min_span
                .map_or(default_min_span, MinSpan::Counts);
            Normalization::Percentiles {
                low: percentiles.low,
                high: percentiles.high,
                min_span,
            }
        }
    };
    normalization.check()?;
    Ok(normalization)
}

fn normalization_to(normalization: &Normalization) -> pb::Normalization {
    use pb::normalization::{FullRange, Percentiles, Policy, Window};
    let policy = match *normalization {
        Normalization::FullRange => Policy::FullRange(FullRange {}),
        Normalization::Window { low, high } => Policy::Window(Window { low, high }),
        Normalization::Percentiles {
            low,
            high,
            min_span,
        } => Policy::Percentiles(Percentiles {
            low,
            high,
            smoothing: Some(0.0),
            min_span: match min_span {
                MinSpan::Counts(counts) => Some(counts),
                // Known only with a frame's bits.
                MinSpan::OfFullRange(_) => None,
            },
        }),
    };
    pb::Normalization {
        policy: Some(policy),
    }
}
