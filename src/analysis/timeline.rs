//! What is made of a session's frames one after the other: identities and growth, series by series.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    AnalysisError, Analyst,
    moment::Moment,
    wells::{Well, Wells},
};
use crate::{
    frame::{FrameMetadata, SeriesKey},
    params::{Analysis, Distance, Thresholds, Tracking},
    segmentation::{Notice, NoticeCode, Segmentation},
    track::{ResumeError, Resumed, Tracker},
};

/// Series, and wells, of which a session's identities and growth are kept; of more, the one that was longest without a frame
/// starts afresh, with ids that were never given.
pub(super) const MAX_SERIES: usize = 1024;

/// Bytes that a session's identities hold on to, and as many its growth curves; past them series start afresh in the same way.
pub const MOST_BYTES: usize = 64 << 20;

/// The identities and the growth of a session's series.
#[derive(Debug)]
pub struct Timeline {
    tracking: Option<Tracking>,
    growth: Option<Wells>,
    series: BTreeMap<SeriesKey, Series>,
    /// What all series hold.
    bytes: usize,
    /// A series that starts afresh takes its ids from here on, so that none comes twice.
    next_id: u64,
    /// Frames so far: tells who was longest without one.
    clock: u64,
}

/// What a timeline has to know of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Followed<'a> {
    /// Its own.
    pub metadata: &'a FrameMetadata,
    /// When it came: for those that do not say when they were taken.
    pub received_at: SystemTime,
    /// Which of its cells are hidden.
    pub thresholds: &'a Thresholds,
}

/// One series.
#[derive(Debug, Default)]
struct Series {
    tracker: Option<Tracker>,
    /// What its name and its tracker hold.
    bytes: usize,
    last: Option<Moment>,
    /// Known with its first frame.
    well: Option<Well>,
    /// Frames that were missed before that.
    missed: u32,
    used: u64,
}

impl Timeline {
    /// Before the first frame.
    pub fn new(wishes: &Analysis) -> Self {
        Timeline {
            tracking: wishes.tracking,
            growth: wishes.growth.map(Wells::new),
            series: BTreeMap::new(),
            bytes: 0,
            next_id: 1,
            clock: 0,
        }
    }

    /// The series of `metadata` goes on where an earlier session stopped; `metadata` is of its last frame.
    pub fn resume(
        &mut self,
        metadata: &FrameMetadata,
        resumed: Resumed,
    ) -> Result<(), AnalysisError> {
        let key = metadata.series();
        if self.series.contains_key(&key) {
            let text = format!("the series of {key} is resumed twice: name each once");
            return Err(ResumeError(text).into());
        }
        if self.series.len() == MAX_SERIES {
            let text = format!("over {MAX_SERIES} series: resume at most so many in one session");
            return Err(ResumeError(text).into());
        }
        let tracker = Tracker::resume(self.tracking.unwrap_or_default(), resumed)?;
        let bytes = key.bytes() + tracker.bytes();
        if MOST_BYTES < self.bytes + bytes {
            let text = format!(
                "the cells of all series hold over {MOST_BYTES} bytes: resume fewer series or cells"
            );
            return Err(ResumeError(text).into());
        }
        self.bytes += bytes;
        let series = Series {
            bytes,
            tracker: Some(tracker),
            last: Some(Moment::of(metadata)),
            ..Series::default()
        };
        self.series.insert(key, series);
        Ok(())
    }

    /// Says who the cells of the next frame are, hides those that its thresholds hide, and takes the others into its growth curve.
    pub fn follow(&mut self, analyst: &Analyst, frame: &Followed<'_>, settled: &mut Segmentation) {
        let Followed {
            metadata,
            received_at,
            thresholds,
        } = *frame;
        let is_next = self.is_asked() && self.is_next(metadata, settled);
        if is_next {
            self.identify(metadata, settled);
        }
        analyst.hide(settled, thresholds, metadata.pixel_size_um);
        if is_next {
            self.grow(metadata, received_at, settled);
        }
    }

    /// A frame of the series `key` was dropped or failed.
    pub fn missed(&mut self, key: &SeriesKey) {
        if !self.is_asked() {
            return;
        }
        let series = self.series_of(key);
        if let Some(tracker) = &mut series.tracker {
            tracker.missed();
        }
        self.exclude(key);
    }

    /// A frame of the series `key` says nothing of growth.
    fn exclude(&mut self, key: &SeriesKey) {
        let series = self.series_of(key);
        match &series.well {
            None => series.missed = series.missed.saturating_add(1),
            Some(well) => {
                let well = well.clone();
                if let Some(wells) = &mut self.growth {
                    wells.exclude(&well);
                }
            }
        }
    }

    /// The series of the stage position called `position`, and the wells that it is in, start afresh.
    pub fn forget(&mut self, position: &str) {
        let at_position = |key: &&SeriesKey| key.is_at(position);
        let gone: Vec<SeriesKey> = self.series.keys().filter(at_position).cloned().collect();
        for key in gone {
            let removed = self.remove(&key);
            if let Some((well, wells)) = removed
                .and_then(|series| series.well)
                .zip(self.growth.as_mut())
            {
                wells.remove(&well);
            }
        }
    }

    /// `series` starts afresh: what is known of it may be wrong.
    pub fn give_up(&mut self, series: &SeriesKey) {
        self.remove(series);
    }

    fn is_asked(&self) -> bool {
        self.tracking.is_some() || self.growth.is_some()
    }

    /// Whether a frame goes on from its series' last one; if not a notice says why.
    fn is_next(&mut self, metadata: &FrameMetadata, settled: &mut Segmentation) -> bool {
        let z_plane = self.tracking.unwrap_or_default().z_plane;
        if let Some(&z) = metadata.index.get("z")
            && z != z_plane
        {
            settled.notices.push(Notice {
                code: NoticeCode::ZNotTracked,
                message: format!(
                    "plane z {z} is neither tracked nor counted for growth: z_plane is {z_plane}"
                ),
            });
            return false;
        }
        let moment = Moment::of(metadata);
        let key = metadata.series();
        let series = self.series_of(&key);
        if let Some(why) = series.last.and_then(|last| moment.before(&last)) {
            settled.notices.push(Notice {
                code: NoticeCode::OutOfOrder,
                message: format!("not tracked and not counted for growth: {why} of its series"),
            });
            self.exclude(&key);
            return false;
        }
        series.last = Some(moment);
        true
    }

    fn identify(&mut self, metadata: &FrameMetadata, settled: &mut Segmentation) {
        let Some(options) = self.tracking else {
            return;
        };
        let next_id = self.next_id;
        let key = metadata.series();
        let series = self.series_of(&key);
        let tracker = series
            .tracker
            .get_or_insert_with(|| Tracker::starting_at(options, next_id));
        let size = (settled.width, settled.height);
        let um = metadata.pixel_size_um;
        settled.drift_px = tracker.follow(size, um, &mut settled.instances);
        if um.is_none() && matches!(options.max_distance, Some(Distance::Um(_))) {
            settled.notices.push(Notice {
                code: NoticeCode::NoPixelSize,
                message: "cells are linked within the default distance, not max_distance_um: the frame has no pixel_size_um".to_owned(),
            });
        }
        let bytes = key.bytes() + tracker.bytes();
        let before = std::mem::replace(&mut series.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
        while MOST_BYTES < self.bytes && 1 < self.series.len() {
            self.remove_oldest();
        }
    }

    fn grow(
        &mut self,
        metadata: &FrameMetadata,
        received_at: SystemTime,
        settled: &mut Segmentation,
    ) {
        if self.growth.is_none() {
            return;
        }
        let well = Well::of(metadata);
        let series = self.series_of(&metadata.series());
        series.well = Some(well.clone());
        let missed = std::mem::take(&mut series.missed);
        if let Some(wells) = &mut self.growth {
            wells.grow((well, missed), metadata, received_at, settled);
        }
    }

    /// The state of a series, made where there is none.
    fn series_of(&mut self, key: &SeriesKey) -> &mut Series {
        self.clock += 1;
        if !self.series.contains_key(key) && self.series.len() == MAX_SERIES {
            self.remove_oldest();
        }
        let bytes = &mut self.bytes;
        let series = self.series.entry(key.clone()).or_insert_with(|| {
            *bytes += key.bytes();
            Series {
                bytes: key.bytes(),
                ..Series::default()
            }
        });
        series.used = self.clock;
        series
    }

    fn remove_oldest(&mut self) {
        let oldest = self.series.iter().min_by_key(|(_, series)| series.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &SeriesKey) -> Option<Series> {
        let removed = self.series.remove(key)?;
        self.bytes -= removed.bytes;
        if let Some(tracker) = &removed.tracker {
            self.next_id = self.next_id.max(tracker.next_id());
        }
        Some(removed)
    }
}
