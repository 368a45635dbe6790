use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::segment;
use crate::{
    backend::{Backend, Lane, LaneError, Ticket, fake::FakeBackend},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::{BoxF, Letterbox},
    mask::Mask,
    model::ModelSpec,
    params::{MinSpan, Normalization, Params, Span, Thresholds, Tiling, TilingMode},
    segmentation::{
        AppliedNormalization, AppliedPolicy, NoticeCode, RawInstance, RawSegmentation, StageTimes,
    },
};

/// Discs: x, y, radius.
type Disc = (i32, i32, i32);

const DISCS: [Disc; 5] = [
    (100, 90, 20),
    (30, 30, 12),
    (64, 150, 25),
    (180, 100, 18),
    (150, 20, 9),
];

/// Bright discs on a ground of 1000 counts.
fn frame(width: u32, height: u32, pixel_size_um: Option<f64>) -> Frame {
    let count = |x: u32, y: u32| {
        let inside = |&(cx, cy, r): &Disc| (x as i32 - cx).pow(2) + (y as i32 - cy).pow(2) <= r * r;
        let bright = DISCS.iter().position(inside);
        bright.map_or(1000, |disc| 30_000 + disc as u16)
    };
    let counts = (0..height).flat_map(|y| (0..width).map(move |x| count(x, y)));
    let layout = Layout {
        format: PixelFormat::Mono16,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    let metadata = FrameMetadata {
        pixel_size_um,
        ..FrameMetadata::default()
    };
    let data: Vec<u8> = counts.flat_map(u16::to_le_bytes).collect();
    Frame::new(layout, Bytes::from(data), metadata, &FrameLimits::default()).unwrap()
}

/// A network of 64 x 64 pixels that sees each disc of a frame exactly, and what it was asked.
struct Rig {
    model: ModelSpec,
    asked: Arc<Mutex<Vec<(u32, u32, Params)>>>,
    lane: Box<dyn Lane>,
}

impl Rig {
    fn new(trained_um_per_px: Option<f64>) -> Rig {
        let asked: Arc<Mutex<Vec<(u32, u32, Params)>>> = Arc::default();
        let asks = Arc::clone(&asked);
        let backend = FakeBackend::new(move |frame, params, ticket| {
            ticket.look()?;
            let mut asks = asks.lock().unwrap();
            asks.push((frame.width(), frame.height(), params.clone()));
            if asks.len() == 3 && params.thresholds.iou == 0.125 {
                ticket.cancel();
            }
            Ok(discs_of(frame))
        });
        let model = ModelSpec {
            trained_um_per_px,
            ..(**backend.model()).clone()
        };
        let lane = backend.open_lane().unwrap();
        Rig { model, asked, lane }
    }

    fn segment(&mut self, frame: &Frame, params: &Params) -> Result<RawSegmentation, LaneError> {
        let ticket = Ticket::default();
        segment(&mut *self.lane, &self.model, frame, params, &ticket)
    }

    fn params(&self, mode: TilingMode) -> Params {
        Params {
            tiling: Tiling {
                mode,
                ..Tiling::default()
            },
            ..Params::new(
                Thresholds {
                    class_agnostic: true,
                    ..self.model.thresholds.clone()
                },
                Normalization::FullRange,
            )
        }
    }
}

/// One instance for each disc of which `frame` shows something; the class is the disc's number.
fn discs_of(frame: &Frame) -> RawSegmentation {
    let (width, height) = (frame.width(), frame.height());
    let mut masks = vec![Mask::empty(0, 0, width, height); DISCS.len()];
    for y in 0..height {
        for (x, sample) in (0..).zip(frame.row(y).as_chunks().0) {
            if let Some(disc) = u16::from_le_bytes(*sample).checked_sub(30_000) {
                masks[usize::from(disc)].set(x, y);
            }
        }
    }
    let instances = (0..).zip(masks).filter(|(_, mask)| !mask.is_empty());
    let instance = |(class_index, mask): (u32, Mask)| RawInstance {
        class_index,
        score: 0.9 - class_index as f32 / 100.0,
        detected_box: BoxF::default(),
        mask: mask.trim(),
    };
    RawSegmentation {
        width,
        height,
        instances: instances.map(instance).collect(),
        normalization: AppliedNormalization {
            low: 0.0,
            high: 65535.0,
            policy: AppliedPolicy::Window,
        },
        truncated: false,
        notices: Vec::new(),
        times: StageTimes {
            infer: std::time::Duration::from_millis(1),
            ..StageTimes::default()
        },
        own_span: None,
        tiles: 1,
    }
}

#[test]
fn a_tiled_frame_gives_the_cells_of_the_whole_one() {
    let frame = frame(200, 180, None);
    for overlap in [0.0, 0.2, 0.5] {
        let mut rig = Rig::new(None);
        let mut params = rig.params(TilingMode::On);
        params.tiling.overlap = overlap;
        let tiled = rig.segment(&frame, &params).unwrap();
        let whole = rig.segment(&frame, &rig.params(TilingMode::Off)).unwrap();
        assert!(tiled.tiles > 9, "{overlap}: {} tiles", tiled.tiles);
        assert_eq!(tiled.times.infer.as_millis(), u128::from(tiled.tiles));
        let masks = |raw: &RawSegmentation| -> Vec<(u32, Mask)> {
            let cells = raw.instances.iter();
            cells
                .map(|cell| (cell.class_index, cell.mask.clone()))
                .collect()
        };
        assert_eq!(masks(&tiled), masks(&whole), "{overlap}");
        assert_eq!((tiled.width, tiled.height), (200, 180));
    }
}

#[test]
fn tiles_are_cut_at_the_scale_that_was_chosen() {
    // Pixel size, target, trained; side of a tile of the network's 64 pixels.
    for (pixel_um, target_um, trained_um, side) in [
        (None, None, Some(0.5), 64),
        (Some(0.5), None, None, 64),
        (Some(0.5), None, Some(0.5), 64),
        (Some(0.25), None, Some(0.5), 128),
        (Some(0.8), None, Some(0.5), 40),
        (Some(0.5), Some(0.75), Some(0.5), 96),
    ] {
        let mut rig = Rig::new(trained_um);
        let mut params = rig.params(TilingMode::On);
        params.tiling.target_um_per_px = target_um;
        rig.segment(&frame(200, 180, pixel_um), &params).unwrap();
        let asked = rig.asked.lock().unwrap();
        let (width, height, of_tile) = &asked[0];
        let case = format!("{pixel_um:?} {target_um:?} {trained_um:?}");
        assert_eq!((*width, *height), (side, side), "{case}");
        let shown = Letterbox::at_most((side, side), (64, 64), of_tile.largest_scale).scale();
        let expected = 64.0 / f64::from(side);
        assert!((shown.0 - expected).abs() < 1e-9, "{case}: {shown:?}");
    }
}

#[test]
fn a_frame_smaller_than_a_tile_is_not_enlarged() {
    let mut rig = Rig::new(None);
    let answer = rig.segment(&frame(50, 40, None), &rig.params(TilingMode::On));
    assert_eq!(answer.unwrap().tiles, 1);
    let asked = rig.asked.lock().unwrap();
    assert_eq!((asked[0].0, asked[0].1), (50, 40));
    assert_eq!(asked[0].2.largest_scale, Some(1.0));
}

#[test]
fn by_itself_a_frame_is_tiled_where_its_cells_would_be_shrunk_to_less_than_half() {
    // The frame's longer side is 200: the network's 64 pixels show it at 0.32.
    for (pixel_um, trained_um, tiled) in [
        (Some(0.5), Some(0.7), true),
        (Some(0.5), Some(0.8), false),
        (None, Some(0.1), false),
        (Some(0.5), None, false),
    ] {
        let mut rig = Rig::new(trained_um);
        let params = rig.params(TilingMode::Auto);
        let answer = rig.segment(&frame(200, 180, pixel_um), &params).unwrap();
        let case = format!("{pixel_um:?} {trained_um:?}");
        assert_eq!(answer.tiles > 1, tiled, "{case}");
        assert!(answer.notices.is_empty(), "{case}: {:?}", answer.notices);
    }
}

#[test]
fn a_scale_far_from_the_trained_one_is_noted_when_it_was_asked_for() {
    let mut rig = Rig::new(Some(0.5));
    let mut params = rig.params(TilingMode::On);
    params.tiling.target_um_per_px = Some(1.1);
    let answer = rig.segment(&frame(200, 180, Some(0.6)), &params).unwrap();
    assert!(answer.tiles > 1);
    let [notice] = answer.notices.as_slice() else {
        panic!("{:?}", answer.notices)
    };
    assert_eq!(notice.code, NoticeCode::ScaleFarFromTrained);
}

#[test]
fn too_many_tiles_are_an_error_where_they_were_asked_for_and_a_notice_where_not() {
    let mut rig = Rig::new(Some(0.5));
    let large = frame(2000, 1800, Some(0.9));
    let error = rig.segment(&large, &rig.params(TilingMode::On));
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("tiling: tiles of 35x35 px: "), "{text}");
    let answer = rig.segment(&large, &rig.params(TilingMode::Auto)).unwrap();
    assert_eq!((answer.tiles, answer.notices.len()), (1, 1));
    let message = &answer.notices[0].message;
    assert!(
        message.starts_with("not tiled: tiles of 35x35"),
        "{message}"
    );

    let odd = frame(200, 180, Some(50.0));
    let error = rig.segment(&odd, &rig.params(TilingMode::On)).unwrap_err();
    assert!(
        error.to_string().contains("enlarged 100.0 times"),
        "{error}"
    );
}

#[test]
fn every_tile_is_shown_by_the_brightness_of_the_whole_frame() {
    let frame = frame(200, 180, None);
    let percentiles = Normalization::Percentiles {
        low: 1.0,
        high: 99.0,
        min_span: MinSpan::Counts(10.0),
    };
    let smoothed = Span {
        low: 900.0,
        high: 31_000.0,
    };
    for (smoothed, expected) in [
        (None, (1000.0, 30_003.0)),
        (Some(smoothed), (900.0, 31_000.0)),
    ] {
        let mut rig = Rig::new(None);
        let params = Params {
            normalization: percentiles,
            smoothed,
            ..rig.params(TilingMode::On)
        };
        let answer = rig.segment(&frame, &params).unwrap();
        let AppliedNormalization { low, high, policy } = answer.normalization;
        assert_eq!(
            ((low, high), policy),
            (expected, AppliedPolicy::Percentiles)
        );
        let own = answer.own_span.unwrap();
        assert_eq!((own.low, own.high), (1000.0, 30_003.0));
        let (low, high) = expected;
        for (_, _, of_tile) in &*rig.asked.lock().unwrap() {
            assert_eq!(of_tile.normalization, Normalization::Window { low, high });
            assert_eq!(of_tile.smoothed, None);
        }
    }
}

#[test]
fn a_cancelled_frame_is_given_up_between_two_tiles() {
    let mut rig = Rig::new(None);
    let mut params = rig.params(TilingMode::On);
    // The rig cancels at the third tile.
    params.thresholds.iou = 0.125;
    let answer = rig.segment(&frame(200, 180, None), &params);
    assert!(matches!(answer, Err(LaneError::Frame(why)) if why == "cancelled"));
    assert_eq!(rig.asked.lock().unwrap().len(), 3);
}
