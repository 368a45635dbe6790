//! Whose cells are summed to one growth curve, and the curves.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::SystemTime,
};

use super::{
    MAX_SERIES, MOST_BYTES,
    moment::{Clock, Moment},
};
use crate::{
    frame::{FrameMetadata, SeriesKey},
    growth::Curve,
    params::GrowthOptions,
    segmentation::{Notice, NoticeCode, Segmentation},
};

/// What is summed to one growth curve: the fields of a well in one light, else one series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Well {
    Named {
        plate: String,
        well: String,
        camera: String,
        channel: String,
    },
    Alone(SeriesKey),
}

/// The growth of a session's wells. Bounded as its series are: the one that was longest without a frame starts afresh.
#[derive(Debug)]
pub(super) struct Wells {
    options: GrowthOptions,
    wells: BTreeMap<Well, Grown>,
    bytes: usize,
    /// Frames so far.
    clock: u64,
}

/// The growth of a well.
#[derive(Debug)]
struct Grown {
    curve: Curve,
    clock: Clock,
    /// Hashes of what tells fields apart; their places are their numbers.
    fields: Vec<u64>,
    bytes: usize,
    used: u64,
}

impl Well {
    pub(super) fn of(metadata: &FrameMetadata) -> Self {
        match metadata.well.is_empty() {
            true => Well::Alone(metadata.series()),
            false => Well::Named {
                plate: metadata.plate.clone(),
                well: metadata.well.clone(),
                camera: metadata.camera.clone(),
                channel: metadata.channel.clone(),
            },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Well::Alone(series) => series.bytes(),
            Well::Named {
                plate,
                well,
                camera,
                channel,
            } => plate.len() + well.len() + camera.len() + channel.len(),
        }
    }
}

impl Wells {
    pub(super) fn new(options: GrowthOptions) -> Self {
        Wells {
            options,
            wells: BTreeMap::new(),
            bytes: 0,
            clock: 0,
        }
    }

    /// Takes the cells that a frame of `well` lists into its curve, after `missed` frames that say nothing, and tells its growth.
    pub(super) fn grow(
        &mut self,
        (well, missed): (Well, u32),
        metadata: &FrameMetadata,
        received_at: SystemTime,
        settled: &mut Segmentation,
    ) {
        let moment = Moment::of(metadata);
        if moment.clock() == Clock::Received {
            let message =
                "no elapsed_ms and no captured_at: for growth its time is that of its arrival";
            settled.notices.push(Notice {
                code: NoticeCode::NoTime,
                message: message.to_owned(),
            });
        }
        self.clock += 1;
        if !self.wells.contains_key(&well) && self.wells.len() == MAX_SERIES {
            self.remove_oldest();
        }
        let name_bytes = well.bytes();
        let grown = self.wells.entry(well).or_insert_with(|| Grown {
            curve: Curve::new(self.options),
            clock: moment.clock(),
            fields: Vec::new(),
            bytes: 0,
            used: 0,
        });
        grown.used = self.clock;
        (0..missed).for_each(|_| grown.curve.exclude());
        match moment.hours(grown.clock, received_at) {
            Some(hours) if !settled.truncated => {
                let field = grown.field(metadata);
                let count = settled.instances.len() as u32;
                grown.curve.add(field, hours, count, settled.confluence);
            }
            _ => grown.curve.exclude(),
        }
        settled.growth = Some(grown.curve.growth());
        let bytes = name_bytes + grown.curve.bytes() + size_of_val(&grown.fields[..]);
        let before = std::mem::replace(&mut grown.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
        while MOST_BYTES < self.bytes && 1 < self.wells.len() {
            self.remove_oldest();
        }
    }

    /// A frame of `well` says nothing.
    pub(super) fn exclude(&mut self, well: &Well) {
        if let Some(grown) = self.wells.get_mut(well) {
            grown.curve.exclude();
        }
    }

    pub(super) fn remove(&mut self, well: &Well) {
        if let Some(grown) = self.wells.remove(well) {
            self.bytes -= grown.bytes;
        }
    }

    fn remove_oldest(&mut self) {
        let oldest = self.wells.iter().min_by_key(|(_, grown)| grown.used);
        if let Some(well) = oldest.map(|(well, _)| well.clone()) {
            self.remove(&well);
        }
    }
}

impl Grown {
    /// The number of the field that a frame shows; of ever new ones, those past a bound share the last number.
    fn field(&mut self, metadata: &FrameMetadata) -> usize {
        let mut hasher = DefaultHasher::new();
        (metadata.series(), metadata.field).hash(&mut hasher);
        let field = hasher.finish();
        if let Some(index) = self.fields.iter().position(|known| *known == field) {
            return index;
        }
        if self.fields.len() < MAX_SERIES {
            self.fields.push(field);
        }
        self.fields.len() - 1
    }
}
