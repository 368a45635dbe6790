use std::{sync::Arc, time::UNIX_EPOCH};

use super::*;
use crate::{
    frame::{FrameLimits, Layout, PixelFormat},
    geometry::BoxF,
    mask::{Mask, Ring},
    params::{BorderRule, Distance, GrowthOptions, Measurements, Thresholds, Tracking},
    segmentation::{AppliedNormalization, AppliedPolicy, RawInstance, StageTimes},
};

fn metadata(t: u32) -> FrameMetadata {
    FrameMetadata {
        index: [("t".to_owned(), t)].into(),
        elapsed_ms: Some(f64::from(t) * 3.6e6),
        ..FrameMetadata::default()
    }
}

fn frame(metadata: FrameMetadata) -> Frame {
    let layout = Layout {
        format: PixelFormat::Mono8,
        width: 40,
        height: 40,
        row_stride: 0,
        significant_bits: 0,
    };
    Frame::new(
        layout,
        vec![7; 1600].into(),
        metadata,
        &FrameLimits::default(),
    )
    .unwrap()
}

fn thresholds() -> Thresholds {
    Thresholds {
        confidence: 0.25,
        iou: 0.7,
        class_agnostic: false,
        max_cells: 5000,
        min_area_px: 0,
        min_area_um2: None,
        max_area_um2: None,
        classes: Vec::new(),
        class_confidence: Default::default(),
        border: BorderRule::Keep,
    }
}

fn tracked() -> Analysis {
    Analysis {
        tracking: Some(Tracking::default()),
        ..Analysis::default()
    }
}

/// `n` cells of 4x4 pixels, 6 pixels from one to the next.
fn cells(n: u32) -> RawSegmentation {
    let cell = |i: u32| {
        let (x, y) = (i % 6 * 6, i / 6 * 6);
        let mut mask = Mask::empty(x, y, 4, 4);
        (0..4).for_each(|row| mask.fill(row, 0..4));
        RawInstance {
            class_index: 0,
            score: 1.0 - i as f32 / 100.0,
            detected_box: BoxF {
                x0: x as f32,
                y0: y as f32,
                x1: x as f32 + 4.0,
                y1: y as f32 + 4.0,
            },
            mask,
        }
    };
    RawSegmentation {
        width: 40,
        height: 40,
        instances: (0..n).map(cell).collect(),
        normalization: AppliedNormalization {
            low: 0.0,
            high: 255.0,
            policy: AppliedPolicy::FullRange,
        },
        own_span: None,
        truncated: false,
        notices: Vec::new(),
        times: StageTimes::default(),
        tiles: 1,
    }
}

/// `n` cells of 4x4 pixels in a frame of that metadata, with everything that `wishes` make of it.
fn answer(order: &mut InOrder, metadata: FrameMetadata, n: u32) -> Segmentation {
    let frame = frame(metadata);
    let raw = cells(n);
    order
        .segmented(&raw, &frame, &thresholds(), UNIX_EPOCH)
        .unwrap()
}

fn order(wishes: &Analysis) -> InOrder {
    InOrder::new(Analyst::new(wishes).unwrap())
}

fn codes(segmentation: &Segmentation) -> Vec<NoticeCode> {
    let notices = segmentation.notices.iter();
    notices.map(|notice| notice.code).collect()
}

fn ids(segmentation: &Segmentation) -> Vec<Option<u64>> {
    let cells = segmentation.instances.iter();
    cells.map(|cell| cell.track.map(|track| track.id)).collect()
}

#[test]
fn a_distance_that_cannot_be_converted_is_said() {
    let mut wishes = tracked();
    wishes.tracking = Some(Tracking {
        max_distance: Some(Distance::Um(5.0)),
        ..Tracking::default()
    });
    let mut order = order(&wishes);
    let without = answer(&mut order, metadata(0), 3);
    assert_eq!(codes(&without), [NoticeCode::NoPixelSize]);
    let with = FrameMetadata {
        pixel_size_um: Some(0.5),
        ..metadata(1)
    };
    assert_eq!(codes(&answer(&mut order, with, 3)), []);
}

#[test]
fn cells_keep_their_ids_and_hidden_ones_too() {
    let mut order = order(&tracked());
    let first = answer(&mut order, metadata(0), 3);
    assert_eq!(ids(&first), [Some(1), Some(2), Some(3)]);
    // All are hidden, and known all the same.
    let frame = frame(metadata(1));
    let hides = Thresholds {
        min_area_px: 100,
        ..thresholds()
    };
    let raw = cells(3);
    let hidden = order.segmented(&raw, &frame, &hides, UNIX_EPOCH).unwrap();
    assert!(hidden.instances.is_empty());
    assert_eq!(hidden.removed_by_area, 3);
    assert_eq!(hidden.confluence, first.confluence);
    assert_eq!(ids(&answer(&mut order, metadata(2), 3)), ids(&first));
}

#[test]
fn what_is_older_or_of_another_plane_is_noted_and_gets_no_ids() {
    let mut order = order(&tracked());
    answer(&mut order, metadata(5), 2);
    let older = answer(&mut order, metadata(4), 2);
    assert_eq!(ids(&older), [None, None]);
    assert_eq!(codes(&older), [NoticeCode::OutOfOrder]);
    assert!(
        older.notices[0].message.contains("index t 4 comes after 5"),
        "{:?}",
        older.notices
    );
    let mut plane = metadata(6);
    plane.index.insert("z".to_owned(), 3);
    let plane = answer(&mut order, plane, 2);
    assert_eq!(codes(&plane), [NoticeCode::ZNotTracked]);
    assert_eq!(ids(&plane), [None, None]);
    let next = answer(&mut order, metadata(6), 2);
    assert_eq!(codes(&next), []);
    assert_eq!(ids(&next), [Some(1), Some(2)]);
}

#[test]
fn a_position_that_is_forgotten_starts_afresh_with_ids_that_were_never_given() {
    let mut timeline = Timeline::new(&tracked());
    let analyst = Analyst::new(&tracked()).unwrap();
    let follow = |timeline: &mut Timeline, t| {
        let mut metadata = metadata(t);
        metadata.position = "A".to_owned();
        let mut cells = analyst.settle(&cells(2), &metadata, None).unwrap();
        let followed = Followed {
            metadata: &metadata,
            received_at: UNIX_EPOCH,
            thresholds: &thresholds(),
        };
        timeline.follow(&analyst, &followed, &mut cells);
        ids(&cells)
    };
    assert_eq!(follow(&mut timeline, 3), [Some(1), Some(2)]);
    timeline.forget("B");
    assert_eq!(follow(&mut timeline, 4), [Some(1), Some(2)]);
    timeline.forget("A");
    // An earlier time, too: it is another plate.
    assert_eq!(follow(&mut timeline, 0), [Some(3), Some(4)]);
}

#[test]
fn a_series_is_resumed_once() {
    let mut order = order(&tracked());
    let resumed = || crate::track::Resumed {
        width: 40,
        height: 40,
        next_id: 9,
        cells: Vec::new(),
    };
    order.resume(&metadata(3), resumed()).unwrap();
    let error = order.resume(&metadata(3), resumed()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    assert_eq!(
        codes(&answer(&mut order, metadata(2), 1)),
        [NoticeCode::OutOfOrder]
    );
    assert_eq!(ids(&answer(&mut order, metadata(4), 1)), [Some(9)]);
}

#[test]
fn the_fields_of_a_well_are_one_curve_and_excluded_frames_are_counted() {
    let wishes = Analysis {
        growth: Some(GrowthOptions::default()),
        ..Analysis::default()
    };
    let mut order = order(&wishes);
    let field = |t: u32, field: u32| FrameMetadata {
        well: "B03".to_owned(),
        position: format!("B03-{field}"),
        ..metadata(t)
    };
    // Missed before anything was known of its well.
    order.missed(&field(0, 1));
    let mut last = None;
    for t in 0..8 {
        for f in 0..2 {
            let growth = answer(&mut order, field(t, f), 2 + t).growth;
            last = growth;
        }
    }
    order.missed(&field(8, 0));
    let growth = last.unwrap();
    assert_eq!((growth.fields, growth.excluded), (2, 1), "{growth:?}");
    assert!(
        growth.count.is_some_and(|rate| 0.0 < rate.per_hour),
        "{growth:?}"
    );
    let growth = answer(&mut order, field(9, 0), 3).growth.unwrap();
    assert_eq!(growth.excluded, 2);
}

#[test]
fn a_frame_that_comes_too_late_for_growth_is_counted() {
    let wishes = Analysis {
        growth: Some(GrowthOptions::default()),
        ..Analysis::default()
    };
    let mut order = order(&wishes);
    let first = answer(&mut order, metadata(5), 3).growth.unwrap();
    assert_eq!(first.excluded, 0);
    let late = answer(&mut order, metadata(4), 3);
    assert_eq!(codes(&late), [NoticeCode::OutOfOrder]);
    let next = answer(&mut order, metadata(6), 3).growth.unwrap();
    assert_eq!((next.excluded, next.points), (1, 2));
}

#[test]
fn a_frame_without_a_time_is_told_by_its_arrival_and_noted() {
    let wishes = Analysis {
        growth: Some(GrowthOptions::default()),
        ..Analysis::default()
    };
    let mut order = order(&wishes);
    let timeless = answer(&mut order, FrameMetadata::default(), 1);
    assert_eq!(codes(&timeless), [NoticeCode::NoTime]);
}

#[test]
fn the_region_cuts_cells_and_is_what_confluence_is_of() {
    let square = Ring {
        corners: vec![(0, 0), (8, 0), (8, 8), (0, 8)],
        hole: false,
    };
    let wishes = Analysis {
        region: Some(Arc::from([square])),
        ..Analysis::default()
    };
    let mut inside = order(&wishes);
    // At x 0 and 6: the second one is cut to half.
    let cut = answer(&mut inside, metadata(0), 2);
    let areas: Vec<u32> = cut.instances.iter().map(|cell| cell.area).collect();
    assert_eq!(areas, [16, 8]);
    assert_eq!((cut.analysed_px, cut.confluence), (64, 24.0 / 64.0));
    let drops = Thresholds {
        border: BorderRule::Drop,
        ..thresholds()
    };
    let frame = frame(metadata(1));
    let raw = cells(2);
    let dropped = inside.segmented(&raw, &frame, &drops, UNIX_EPOCH).unwrap();
    assert_eq!((dropped.instances.len(), dropped.removed_at_border), (0, 2));

    let far = Ring {
        corners: vec![(100, 100), (110, 100), (110, 110)],
        hole: false,
    };
    let wishes = Analysis {
        region: Some(Arc::from([far])),
        ..Analysis::default()
    };
    let error = order(&wishes).segmented(&raw, &frame, &thresholds(), UNIX_EPOCH);
    assert!(matches!(error, Err(AnalysisError::Region(_))));
}

#[test]
fn the_region_is_drawn_once_where_frames_of_several_sizes_take_turns() {
    let square = Ring {
        corners: vec![(0, 0), (8, 0), (8, 8), (0, 8)],
        hole: false,
    };
    let wishes = Analysis {
        region: Some(Arc::from([square])),
        ..Analysis::default()
    };
    let analyst = Analyst::new(&wishes).unwrap();
    let drawn = |side| analyst.region_in(side, side).unwrap().unwrap();
    let first: Vec<_> = (20..24).map(drawn).collect();
    assert!(
        (20..24)
            .zip(&first)
            .all(|(side, mask)| Arc::ptr_eq(&drawn(side), mask))
    );
    drawn(99);
    assert!(
        !Arc::ptr_eq(&drawn(20), &first[0]),
        "no more than some are kept"
    );
}

#[test]
fn what_was_not_asked_for_is_not_measured() {
    let nothing = answer(&mut order(&Analysis::default()), metadata(0), 2);
    assert!(nothing.instances.iter().all(|cell| cell.measures.is_none()));
    let wishes = Analysis {
        measurements: Measurements {
            intensity: true,
            ..Measurements::default()
        },
        ..Analysis::default()
    };
    let measured = answer(&mut order(&wishes), metadata(0), 2);
    let measures = measured.instances[0].measures.as_deref().unwrap();
    assert_eq!(measures.intensity[0].mean, 7.0);
    assert_eq!(measures.shape, None);
}
