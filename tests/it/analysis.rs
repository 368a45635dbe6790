//! What is made of the cells: identities, measurements, regions, growth; and brightness over time.

use std::sync::{Arc, Mutex};

use cellsegd::{
    backend::LaneError,
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
    params::Span,
    proto::{
        self as pb, failed, frame_reply::Outcome, normalization::Policy, notice,
        stream_reply::Reply, stream_request::Request,
    },
};

use crate::{
    client::{Session, outcome},
    daemon::{Daemon, Gate, Started},
};

const SIDE: u32 = 30;

fn pixels(width: u32, height: u32, value: u8) -> pb::RawPixels {
    pb::RawPixels {
        format: pb::PixelFormat::Mono8.into(),
        width,
        height,
        data: vec![value; (width * height) as usize].into(),
        ..Default::default()
    }
}

/// An even frame of `position` at time `t`.
fn at(id: u64, position: &str, t: u32) -> pb::Frame {
    let metadata = pb::FrameMetadata {
        index: [("t".to_owned(), t)].into(),
        position: position.to_owned(),
        elapsed_ms: Some(f64::from(t) * 3.6e6),
        ..Default::default()
    };
    pb::Frame {
        metadata: Some(metadata),
        ..crate::client::raw(id, pixels(SIDE, SIDE, id as u8))
    }
}

fn measured_on(id: u64, on: u64, value: u8) -> pb::Frame {
    pb::Frame {
        measure_on: Some(on),
        ..crate::client::raw(id, pixels(SIDE, SIDE, value))
    }
}

fn tracked() -> pb::SessionOptions {
    pb::SessionOptions {
        tracking: Some(pb::Tracking::default()),
        ..Default::default()
    }
}

fn segmentation(reply: &pb::FrameReply) -> &pb::Segmentation {
    match &reply.outcome {
        Some(Outcome::Segmentation(segmentation)) => segmentation,
        other => panic!("not segmented: {other:?}"),
    }
}

fn ids(reply: &pb::FrameReply) -> Vec<u64> {
    let cells = segmentation(reply).instances.iter();
    cells
        .map(|cell| cell.track.as_ref().map_or(0, |track| track.id))
        .collect()
}

fn codes(reply: &pb::FrameReply) -> Vec<notice::Code> {
    reply.notices.iter().map(pb::Notice::code).collect()
}

fn failure(reply: &pb::FrameReply) -> &pb::Failed {
    match &reply.outcome {
        Some(Outcome::Failed(failed)) => failed,
        other => panic!("not failed: {other:?}"),
    }
}

async fn send(session: &mut Session, frame: pb::Frame) {
    session.send(Request::Frame(frame)).await;
}

/// Frames as lanes have them, by their ids.
async fn started(gate: &Gate, n: usize) -> Vec<Started> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(gate.started().await);
    }
    all.sort_by_key(|started| started.frame.data()[0]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_follow_the_order_of_the_frames_whatever_lanes_finish_first() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 4);
    let (mut session, opened) = Session::open(&daemon, tracked()).await;
    let tracking = opened.settled.unwrap().tracking.unwrap();
    assert_eq!(
        (tracking.max_gap, tracking.divisions),
        (Some(2), Some(true))
    );
    for t in 0..4 {
        send(&mut session, at(u64::from(t), "A", t)).await;
    }
    // The second one is lost, and the first finds one cell less than those after it.
    let mut lanes = started(&gate, 4).await;
    lanes.remove(3).answer(7);
    lanes.remove(2).answer(6);
    lanes.remove(1).fail(LaneError::Frame("lost".to_owned()));
    lanes.remove(0).answer(5);
    let mut replies = Vec::new();
    for id in 0..4 {
        let reply = session.frame_reply().await;
        assert_eq!(reply.id, id);
        replies.push(reply);
    }
    assert_eq!(ids(&replies[0]), [1, 2, 3, 4, 5]);
    assert_eq!(outcome(&replies[1]), "Internal");
    assert_eq!(ids(&replies[2]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ids(&replies[3]), [1, 2, 3, 4, 5, 6, 7]);
    let track = segmentation(&replies[3]).instances[0].track.unwrap();
    assert_eq!((track.age, track.gap), (4, 0));
    assert!(
        segmentation(&replies[3])
            .summary
            .as_ref()
            .unwrap()
            .drift
            .is_some()
    );
    let closed = session.close().await;
    assert_eq!((closed.segmented, closed.failed), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_order_is_noted_and_a_position_may_start_afresh() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, tracked()).await;
    send(&mut session, at(1, "A", 5)).await;
    send(&mut session, at(2, "A", 4)).await;
    let update = pb::SessionUpdate {
        forget_positions: vec!["A".to_owned()],
        ..Default::default()
    };
    session.send(Request::Update(update)).await;
    send(&mut session, at(3, "A", 0)).await;
    assert_eq!(ids(&session.frame_reply().await)[..2], [1, 2]);
    let older = session.frame_reply().await;
    assert_eq!(codes(&older), [notice::Code::OutOfOrder]);
    assert_eq!(ids(&older)[..2], [0, 0]);
    assert!(matches!(session.reply().await, Reply::Changed(_)));
    let afresh = session.frame_reply().await;
    assert_eq!((codes(&afresh), ids(&afresh)[0]), (vec![], 10));
}

/// A cell of one pixel whose ring runs to the other end of a frame of `side`, and back.
fn spiked(id: u64, side: i32) -> pb::ResumedInstance {
    let ring = pb::Ring {
        // To (1, 0), (1, 1), (0, 1), (side, side) and (0, 1).
        xy_delta: vec![0, 0, 1, 0, 0, 1, -1, 0, side, side - 1, -side, 1 - side],
        ..Default::default()
    };
    let rings = pb::Rings { rings: vec![ring] };
    pb::ResumedInstance {
        track: Some(pb::Track {
            id,
            age: 1,
            ..Default::default()
        }),
        mask: Some(pb::resumed_instance::Mask::Rings(rings)),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_tiled_as_asked_is_the_client_s_to_mend() {
    let daemon = Daemon::instant();
    let options = pb::SessionOptions {
        tiling: Some(pb::Tiling {
            mode: pb::tiling::Mode::On.into(),
            target_um_per_px: Some(0.1),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    for (id, pixel_size_um) in [(1, Some(10.0)), (2, None)] {
        let mut frame = at(id, "A", id as u32);
        frame.metadata.as_mut().unwrap().pixel_size_um = pixel_size_um;
        send(&mut session, frame).await;
    }
    let reply = session.frame_reply().await;
    let failed = failure(&reply);
    assert_eq!(failed.code(), failed::Code::InvalidFrame, "{failed:?}");
    assert!(
        failed.message.starts_with("tiling: a tile would be 0x0 px"),
        "{failed:?}"
    );
    assert_eq!(outcome(&session.frame_reply().await), "9 cells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_the_ids_of_another() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, tracked()).await;
    send(&mut session, at(1, "A", 0)).await;
    send(&mut session, at(2, "A", 1)).await;
    session.frame_reply().await;
    let last = session.frame_reply().await;
    let instances = segmentation(&last).instances.iter().rev().map(|cell| {
        let Some(pb::instance::Mask::Rle(rle)) = cell.mask.clone() else {
            panic!("run lengths are the default");
        };
        pb::ResumedInstance {
            track: cell.track,
            class_index: cell.class_index,
            mask: Some(pb::resumed_instance::Mask::Rle(rle)),
            ..Default::default()
        }
    });
    let series = pb::ResumedSeries {
        metadata: last.metadata.clone(),
        width: SIDE,
        height: SIDE,
        next_id: 100,
        instances: instances.collect(),
    };
    let resuming = |series: Vec<pb::ResumedSeries>| pb::SessionOptions {
        tracking: Some(pb::Tracking {
            resume: Some(pb::Resume { series }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, resuming(vec![series.clone()])).await;
    assert!(opened.resumed);
    assert_eq!(opened.settled.unwrap().tracking.unwrap().resume, None);
    send(&mut session, at(3, "A", 2)).await;
    let next = session.frame_reply().await;
    assert_eq!(ids(&next), ids(&last));
    assert_eq!(segmentation(&next).instances[0].track.unwrap().age, 3);

    let with = |change: fn(&mut pb::ResumedSeries)| {
        let mut changed = series.clone();
        change(&mut changed);
        vec![changed]
    };
    let cases = [
        (vec![series.clone(); 2], "twice"),
        (
            with(|series| series.width = 9000),
            "9000x30 pixels: a side may be at most 8192",
        ),
        (with(|series| series.width = 29), "cell 9: "),
        (
            with(|series| series.instances[0].mask = None),
            "without its mask",
        ),
        (
            with(|series| series.instances[0].track = None),
            "without its track",
        ),
        (with(|series| series.next_id = 4), "next_id"),
        (
            with(|series| series.instances = vec![series.instances[0].clone(); 2]),
            "given twice",
        ),
        (
            with(|series| series.instances = vec![Default::default(); 60_001]),
            "60001 cells in a series: at most 60000",
        ),
        (
            with(|series| {
                (series.width, series.height) = (8192, 8192);
                series.instances = (1..20).map(|id| spiked(id, 8192)).collect();
            }),
            "the masks have over 67108864 bytes",
        ),
    ];
    for (series, text) in cases {
        let mut session = Session::new(&daemon).await;
        session.send(Request::Open(resuming(series))).await;
        let (code, message) = session.error().await;
        assert_eq!(code, tonic::Code::InvalidArgument, "{message}");
        assert!(
            message.starts_with("tracking.resume: ") && message.contains(text),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_measured_in_the_cells_of_an_earlier_one() {
    let (gate, backend) = Gate::new();
    let settings = Settings {
        limits: LimitSettings {
            frames_kept: 2,
            ..Default::default()
        },
        ..Default::default()
    };
    let daemon = Daemon::start(settings, backend, 2);
    let options = pb::SessionOptions {
        window: 16,
        ..tracked()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    assert_eq!(opened.limits.unwrap().frames_kept, 2);
    send(&mut session, at(1, "A", 0)).await;
    // Not segmented yet; and not there at all.
    send(&mut session, measured_on(2, 1, 77)).await;
    send(&mut session, measured_on(3, 9, 77)).await;
    let other = crate::client::raw(4, pixels(8, 8, 1));
    let other = pb::Frame {
        measure_on: Some(1),
        ..other
    };
    send(&mut session, other).await;
    // An id that is still in flight.
    send(&mut session, measured_on(2, 1, 1)).await;
    send(&mut session, at(5, "A", 1)).await;
    send(&mut session, at(6, "A", 2)).await;
    send(&mut session, measured_on(7, 1, 1)).await;
    send(&mut session, measured_on(8, 6, 5)).await;
    for cells in [2, 3, 4] {
        gate.started().await.answer(cells);
    }
    assert_eq!(ids(&session.frame_reply().await), [1, 2]);
    let reply = session.frame_reply().await;
    let Some(Outcome::Measured(measured)) = &reply.outcome else {
        panic!("not measured: {reply:?}");
    };
    assert_eq!(measured.measured_on, 1);
    let cells: Vec<_> = measured
        .instances
        .iter()
        .map(|cell| {
            (
                cell.label,
                cell.track_id,
                cell.intensity[0].mean,
                cell.intensity[0].integrated,
            )
        })
        .collect();
    assert_eq!(
        cells,
        [
            (1, Some(1), 77.0, 77.0 * 16.0),
            (2, Some(2), 77.0, 77.0 * 16.0)
        ]
    );
    assert_eq!(cells.len(), 2);
    let expected = [
        (3, "measure_on 9: no such frame among the last 2"),
        (4, "measure_on 1: that frame has 30x30 pixels, this one 8x8"),
        (2, "id 2: a frame of this id is still in flight"),
    ];
    for (id, text) in expected {
        let reply = session.frame_reply().await;
        assert_eq!(reply.id, id);
        let failed = failure(&reply);
        assert_eq!(failed.code(), failed::Code::InvalidFrame);
        assert!(failed.message.contains(text), "{}", failed.message);
    }
    session.frame_reply().await;
    session.frame_reply().await;
    // Two have been segmented since.
    let gone = session.frame_reply().await;
    assert!(
        failure(&gone).message.contains("(6, 5)"),
        "{}",
        failure(&gone).message
    );
    assert_eq!(outcome(&session.frame_reply().await), "measured");
    let closed = session.close().await;
    assert_eq!((closed.segmented, closed.failed), (5, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_carry_their_units_where_they_are_known() {
    let daemon = Daemon::instant();
    let options = pb::SessionOptions {
        measurements: Some(pb::Measurements {
            shape: true,
            intensity: true,
            neighbours: true,
            neighbour_radius_um: Some(4.0),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    let mut known = at(1, "A", 0);
    let metadata = known.metadata.as_mut().unwrap();
    metadata.pixel_size_um = Some(0.5);
    metadata.channel = "GFP".to_owned();
    metadata.pixel_to_stage = vec![0.5, 0.0, 0.0, 0.0, -0.5, 0.0];
    (metadata.x_um, metadata.y_um) = (Some(100.0), Some(200.0));
    send(&mut session, known).await;
    send(&mut session, at(2, "A", 1)).await;
    let reply = session.frame_reply().await;
    // Squares of 4 pixels, 6 pixels from one to the next.
    let measures = segmentation(&reply).instances[0].measures.as_ref().unwrap();
    assert_eq!((measures.area_px, measures.area_um2), (16, Some(4.0)));
    assert_eq!((measures.centroid_x_px, measures.centroid_y_px), (2.0, 2.0));
    assert_eq!(
        (measures.stage_x_um, measures.stage_y_um),
        (Some(101.0), Some(199.0))
    );
    let shape = measures.shape.as_ref().unwrap();
    assert_eq!(shape.perimeter_um, Some(shape.perimeter_px / 2.0));
    assert_eq!(measures.hull, None);
    assert_eq!(measures.intensity[0].channel, "GFP");
    assert_eq!(measures.intensity[0].mean, 1.0);
    let neighbours = measures.neighbours.as_ref().unwrap();
    assert_eq!(
        (neighbours.nearest_px, neighbours.nearest_um),
        (Some(6.0), Some(3.0))
    );
    assert_eq!(neighbours.within_radius, Some(2));
    let summary = segmentation(&reply).summary.as_ref().unwrap();
    assert_eq!(summary.nearest_neighbour_mean_um, Some(3.0));
    assert_eq!(codes(&reply), []);

    let reply = session.frame_reply().await;
    let measures = segmentation(&reply).instances[0].measures.as_ref().unwrap();
    assert_eq!((measures.area_um2, measures.stage_x_um), (None, None));
    assert_eq!(measures.neighbours.as_ref().unwrap().within_radius, None);
    assert_eq!(codes(&reply), [notice::Code::NoPixelSize]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_cuts_cells_and_a_frame_that_it_is_outside_of_fails_alone() {
    let daemon = Daemon::instant();
    let square = pb::Ring {
        xy_delta: vec![2, 2, 15, 0, 0, 15, -15, 0],
        hole: false,
    };
    let options = pb::SessionOptions {
        region: Some(pb::Region {
            rings: vec![square.clone()],
        }),
        thresholds: Some(pb::Thresholds {
            border: pb::BorderRule::Drop.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    assert_eq!(opened.settled.unwrap().region.unwrap().rings, [square]);
    send(&mut session, crate::client::raw(1, pixels(2, 2, 0))).await;
    send(&mut session, at(2, "A", 0)).await;
    let outside = session.frame_reply().await;
    assert_eq!(failure(&outside).code(), failed::Code::InvalidFrame);
    assert!(
        failure(&outside).message.contains("2x2"),
        "{}",
        failure(&outside).message
    );
    let reply = session.frame_reply().await;
    let summary = segmentation(&reply).summary.as_ref().unwrap();
    assert_eq!(summary.analysed_px, 225);
    // Squares of 4 pixels, 6 from one to the next: two lie inside, four at its edge.
    assert_eq!(
        (summary.count, summary.removed_at_border),
        (2, 4),
        "{summary:?}"
    );
    assert!(
        segmentation(&reply)
            .instances
            .iter()
            .all(|cell| !cell.touches_border)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_by_track_stay_with_their_cells() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let options = pb::SessionOptions {
        outputs: Some(pb::Outputs {
            label_image: Some(true),
            label_by: pb::LabelBy::Track.into(),
            ..Default::default()
        }),
        tracking: Some(pb::Tracking {
            resume: Some(pb::Resume {
                series: vec![pb::ResumedSeries {
                    metadata: at(0, "A", 0).metadata,
                    width: SIDE,
                    height: SIDE,
                    next_id: 70_000,
                    instances: Vec::new(),
                }],
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    for (id, position) in [(1, "A"), (2, "B")] {
        send(&mut session, at(id, position, 1)).await;
        gate.started().await.answer(2);
    }
    let labels = |reply: &pb::FrameReply| {
        let image = segmentation(reply).label_image.clone().unwrap();
        let first = |n: usize| image.data[n * image.bytes_per_pixel as usize..].to_vec();
        (
            image.bytes_per_pixel,
            first(0)[..2].to_vec(),
            first(6)[..2].to_vec(),
            first(5)[..2].to_vec(),
        )
    };
    let bytes = |label: u32| label.to_le_bytes()[..2].to_vec();
    let large = labels(&session.frame_reply().await);
    assert_eq!(large, (4, bytes(70_000), bytes(70_001), bytes(0)));
    let small = labels(&session.frame_reply().await);
    assert_eq!(small, (2, bytes(1), bytes(2), bytes(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_is_told_with_every_frame_of_a_well() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let options = pb::SessionOptions {
        growth: Some(pb::GrowthOptions::default()),
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    let growth = opened.settled.unwrap().growth.unwrap();
    assert_eq!(
        (growth.window_hours, growth.min_points),
        (Some(12.0), Some(5))
    );
    // Doubles every two hours, twice.
    let mut last = None;
    for (t, cells) in [(0, 4), (1, 6), (2, 8), (3, 11), (4, 16)] {
        send(&mut session, at(1, "A", t)).await;
        gate.started().await.answer(cells);
        let reply = session.frame_reply().await;
        last = segmentation(&reply).summary.as_ref().unwrap().growth;
    }
    let growth = last.unwrap();
    assert_eq!(
        (growth.points, growth.fields, growth.span_hours),
        (5, 1, 4.0)
    );
    let doubling = growth.count.unwrap().doubling_hours.unwrap();
    assert!((doubling - 2.0).abs() < 0.1, "{doubling}");
}

/// By what each of 24 frames of two series is shown, and the answers, with so many lanes.
async fn smoothed_with(lanes: usize) -> (Vec<(u8, Option<Span>)>, Vec<String>) {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let backend = FakeBackend::new(move |frame, params, _| {
        let id = frame.data()[0];
        seen.lock().unwrap().push((id, params.smoothed));
        // Lanes overtake one another.
        (0..u32::from(id) * 7 % 5 * 2000).for_each(|_| std::thread::yield_now());
        let low = f64::from(id % 7 * 10);
        let mut raw = fake::cells(frame, 1, 4);
        // Every fifth has too little contrast.
        raw.own_span = (id % 5 != 0).then_some(Span {
            low,
            high: low + 100.0,
        });
        Ok(raw)
    });
    let daemon = Daemon::start(Settings::default(), backend, lanes);
    let options = pb::SessionOptions {
        window: 3,
        normalization: Some(pb::Normalization {
            policy: Some(Policy::Percentiles(pb::normalization::Percentiles {
                low: 1.0,
                high: 99.0,
                smoothing: Some(0.5),
                min_span: None,
            })),
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    let requests = session.requests();
    tokio::spawn(async move {
        for id in 1..=24u64 {
            let position = ["A", "B"][id as usize % 2];
            let request = Some(Request::Frame(at(id, position, id as u32)));
            if requests.send(pb::StreamRequest { request }).await.is_err() {
                return;
            }
        }
    });
    let mut outcomes = Vec::new();
    for _ in 0..24 {
        outcomes.push(outcome(&session.frame_reply().await));
    }
    // The pool's warm-up is one more.
    let mut shown = std::mem::take(&mut *shown.lock().unwrap());
    shown.retain(|&(id, _)| (1..=24).contains(&id));
    shown.sort_by_key(|&(id, _)| id);
    (shown, outcomes)
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_lanes_nor_timing_show_in_a_brightness_smoothed_over_time() {
    let (one, outcomes) = smoothed_with(1).await;
    assert_eq!(outcomes, vec!["1 cells"; 24]);
    let first: Vec<u8> = one
        .iter()
        .filter(|(_, span)| span.is_some())
        .map(|&(id, _)| id)
        .take(2)
        .collect();
    // Each series by its own frames: the first that counts is its fourth.
    assert_eq!(first, [7, 8]);
    let third = one.iter().find(|(id, _)| *id == 9).unwrap().1.unwrap();
    // Frames 1 and 3 of its series: lows 10 and 30, the older one with half the weight.
    assert!(
        (third.low - (10.0 * 0.5 + 30.0) / 1.5).abs() < 1e-12,
        "{third:?}"
    );
    assert_eq!(smoothed_with(3).await, (one, outcomes));
}

#[tokio::test(flavor = "multi_thread")]
async fn light_is_made_even_before_anything_else_and_frames_of_another_size_fail() {
    let daemon = Daemon::instant();
    let mut flat = vec![100; (SIDE * SIDE) as usize];
    flat[0] = 50;
    let options = pb::SessionOptions {
        flat_field: Some(pb::FlatField {
            flat: Some(pb::flat_field::Flat::FlatRaw(pb::RawPixels {
                data: flat.into(),
                ..pixels(SIDE, SIDE, 0)
            })),
            dark: None,
        }),
        measurements: Some(pb::Measurements {
            intensity: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    assert!(opened.settled.unwrap().flat_field.is_some());
    send(&mut session, at(40, "A", 0)).await;
    send(&mut session, crate::client::raw(2, pixels(8, 8, 1))).await;
    let reply = session.frame_reply().await;
    let measures = segmentation(&reply).instances[0].measures.as_ref().unwrap();
    // Where the light is half, the count is doubled.
    let intensity = &measures.intensity[0];
    assert_eq!((intensity.min, intensity.max), (40.0, 80.0));
    let reply = session.frame_reply().await;
    assert!(
        failure(&reply).message.contains("8x8"),
        "{}",
        failure(&reply).message
    );
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_image_is_made_into_a_window_once() {
    let daemon = Daemon::instant();
    let reference = |data: Vec<u8>| pb::SessionOptions {
        normalization: Some(pb::Normalization {
            policy: Some(Policy::Reference(pb::normalization::Reference {
                image: Some(pb::normalization::reference::Image::Raw(pb::RawPixels {
                    data: data.into(),
                    ..pixels(101, 1, 0)
                })),
                low: 10.0,
                high: 90.0,
            })),
        }),
        ..Default::default()
    };
    let (_session, opened) = Session::open(&daemon, reference((100..=200).collect())).await;
    let window = pb::normalization::Window {
        low: 110.0,
        high: 190.0,
    };
    let settled = opened.settled.unwrap().normalization.unwrap();
    assert_eq!(settled.policy, Some(Policy::Window(window)));
    let mut session = Session::new(&daemon).await;
    session.send(Request::Open(reference(vec![7; 101]))).await;
    let (code, message) = session.error().await;
    assert_eq!(code, tonic::Code::InvalidArgument);
    assert!(
        message.starts_with("normalization.reference: "),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_one_pixel_the_whole_frame_and_five_thousand_are_all_answered() {
    // The value of the pixels says how many, of which side.
    let cases: [(u32, usize, u32); 4] = [(30, 0, 1), (30, 1, 1), (64, 1, 64), (500, 5000, 4)];
    let backend = FakeBackend::new(move |frame, _, _| {
        // The pool's warm-up is no case.
        let case = cases.get(usize::from(frame.data()[0]));
        let (count, side) = case.map_or((0, 1), |&(_, count, side)| (count, side));
        Ok(fake::cells(frame, count, side))
    });
    let daemon = Daemon::start(Settings::default(), backend, 2);
    let options = pb::SessionOptions {
        measurements: Some(pb::Measurements {
            shape: true,
            hull: true,
            intensity: true,
            background: true,
            neighbours: true,
            neighbour_radius_px: Some(7.0),
            ..Default::default()
        }),
        growth: Some(pb::GrowthOptions::default()),
        outputs: Some(pb::Outputs {
            label_image: Some(true),
            label_by: pb::LabelBy::Track.into(),
            ..Default::default()
        }),
        ..tracked()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    for time in 0..2 {
        for (case, (size, ..)) in cases.iter().enumerate() {
            let id = time * 10 + case as u64;
            let frame = pb::Frame {
                pixels: Some(pb::frame::Pixels::Raw(pixels(*size, *size, case as u8))),
                ..at(id, &case.to_string(), time as u32)
            };
            send(&mut session, frame).await;
        }
    }
    for time in 0..2 {
        for (size, count, side) in cases {
            let reply = session.frame_reply().await;
            let found = segmentation(&reply);
            assert_eq!(found.instances.len(), count);
            let expected: Vec<u64> = (1..=count as u64).collect();
            assert_eq!(ids(&reply), expected, "frame {time} of {size} pixels");
            for cell in &found.instances {
                let measures = cell.measures.as_ref().unwrap();
                assert_eq!(measures.area_px, side * side);
                let finite = [
                    measures.shape.as_ref().unwrap().circularity,
                    measures.shape.as_ref().unwrap().orientation_rad,
                    measures.hull.as_ref().unwrap().solidity,
                    measures.intensity[0].std,
                ];
                assert!(
                    finite.iter().all(|number| number.is_finite()),
                    "{measures:?}"
                );
            }
            let summary = found.summary.as_ref().unwrap();
            assert_eq!(summary.neighbours_mean.is_some(), 0 < count);
            assert_eq!(summary.nearest_neighbour_mean_px.is_some(), 1 < count);
        }
    }
}
