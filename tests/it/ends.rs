//! The exact list of what ends a stream, each with its code and its words.

use cellsegd::{
    config::{LimitSettings, Settings},
    proto::{
        self as pb, normalization::Policy, segmenter_client::SegmenterClient, stream_reply::Reply,
        stream_request::Request,
    },
};
use tonic::Code;

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, Gate, PATIENCE, let_it_be_read},
};

type Options = pb::SessionOptions;

fn thresholds(thresholds: pb::Thresholds) -> Options {
    Options {
        thresholds: Some(thresholds),
        ..Default::default()
    }
}

fn outputs(outputs: pb::Outputs) -> Options {
    Options {
        outputs: Some(outputs),
        ..Default::default()
    }
}

fn normalization(policy: Policy) -> Options {
    Options {
        normalization: Some(pb::Normalization {
            policy: Some(policy),
        }),
        ..Default::default()
    }
}

fn percentiles(low: f64, high: f64, smoothing: Option<f64>) -> Options {
    normalization(Policy::Percentiles(pb::normalization::Percentiles {
        low,
        high,
        smoothing,
        min_span: None,
    }))
}

/// Options that cannot be meant, and what is said.
fn bad_options() -> Vec<(Options, Code, &'static str)> {
    use Code::{InvalidArgument, NotFound};
    let confidence = |confidence| {
        thresholds(pb::Thresholds {
            confidence: Some(confidence),
            ..Default::default()
        })
    };
    let tiling = |mode: pb::tiling::Mode, overlap| Options {
        tiling: Some(pb::Tiling {
            mode: mode.into(),
            overlap,
            target_um_per_px: None,
        }),
        ..Default::default()
    };
    vec![
        (
            Options {
                model: "nobody".to_owned(),
                ..Default::default()
            },
            NotFound,
            "no model \"nobody\"; there are: fake",
        ),
        (
            confidence(f32::NAN),
            InvalidArgument,
            "thresholds.confidence NaN: must be 0 to 1",
        ),
        (
            confidence(-0.1),
            InvalidArgument,
            "thresholds.confidence -0.1: must be 0 to 1",
        ),
        (
            thresholds(pb::Thresholds {
                iou: Some(f32::INFINITY),
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.iou inf: must be 0 to 1",
        ),
        (
            thresholds(pb::Thresholds {
                max_cells: Some(0),
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.max_cells 0: must be 1 to 20000",
        ),
        (
            thresholds(pb::Thresholds {
                min_area_um2: Some(f32::NAN),
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.min_area_um2 NaN: must be 0 or more",
        ),
        (
            thresholds(pb::Thresholds {
                classes: vec![2],
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.classes 2: the model has classes 0 to 1",
        ),
        (
            thresholds(pb::Thresholds {
                classes: vec![0; 3],
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.classes with 3 entries: the model has 2 classes",
        ),
        (
            thresholds(pb::Thresholds {
                border: 9,
                ..Default::default()
            }),
            InvalidArgument,
            "thresholds.border 9: no such value",
        ),
        (
            normalization(Policy::Window(pb::normalization::Window {
                low: 9.0,
                high: 9.0,
            })),
            InvalidArgument,
            "normalization.window 9..9: low must be below high",
        ),
        (
            normalization(Policy::Window(pb::normalization::Window {
                low: 0.0,
                high: 1e7,
            })),
            InvalidArgument,
            "normalization.window 0..10000000: low must be below high, both -1000000 to 1000000 counts",
        ),
        (
            normalization(Policy::Percentiles(pb::normalization::Percentiles {
                low: 1.0,
                high: 99.0,
                smoothing: None,
                min_span: Some(1e308),
            })),
            InvalidArgument,
            "must be 0 to 1000000",
        ),
        (
            Options {
                tiling: Some(pb::Tiling {
                    mode: pb::tiling::Mode::On.into(),
                    overlap: None,
                    target_um_per_px: Some(1e308),
                }),
                ..Default::default()
            },
            InvalidArgument,
            "must be 0.000001 to 1000000",
        ),
        (
            percentiles(-1.0, 99.0, None),
            InvalidArgument,
            "normalization.percentiles -1..99: must be 0 to 100",
        ),
        (
            percentiles(f64::NAN, 99.0, None),
            InvalidArgument,
            "normalization.percentiles NaN..99: must be 0 to 100",
        ),
        (
            percentiles(1.0, 99.0, Some(1.0)),
            InvalidArgument,
            "normalization.percentiles.smoothing 1: must be 0 or more, below 1",
        ),
        (
            tiling(pb::tiling::Mode::Auto, Some(0.6)),
            InvalidArgument,
            "tiling.overlap 0.6: must be 0 to 0.5",
        ),
        (
            Options {
                growth: Some(pb::GrowthOptions {
                    window_hours: Some(1e300),
                    ..Default::default()
                }),
                ..Default::default()
            },
            InvalidArgument,
            "must be 2 to 8760",
        ),
        (
            Options {
                region: Some(Default::default()),
                ..Default::default()
            },
            InvalidArgument,
            "region has no rings",
        ),
        (
            Options {
                measurements: Some(pb::Measurements {
                    neighbour_radius_um: Some(f64::NAN),
                    ..Default::default()
                }),
                ..Default::default()
            },
            InvalidArgument,
            "measurements.neighbour_radius_um NaN: must be above 0",
        ),
        (
            Options {
                tracking: Some(pb::Tracking {
                    max_gap: Some(51),
                    ..Default::default()
                }),
                ..Default::default()
            },
            InvalidArgument,
            "tracking.max_gap 51: must be 0 to 50",
        ),
        (
            outputs(pb::Outputs {
                label_by: pb::LabelBy::Track.into(),
                ..Default::default()
            }),
            InvalidArgument,
            "outputs.label_by TRACK",
        ),
        (
            outputs(pb::Outputs {
                masks: 77,
                ..Default::default()
            }),
            InvalidArgument,
            "outputs.masks 77: no such value",
        ),
        (
            Options {
                delivery: 9,
                ..Default::default()
            },
            InvalidArgument,
            "delivery 9: no such value",
        ),
        (
            Options {
                name: "x".repeat(257),
                ..Default::default()
            },
            InvalidArgument,
            "name has 257 bytes: at most 256",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_options_end_the_stream_by_name() {
    let daemon = Daemon::instant();
    for (options, code, text) in bad_options() {
        let mut session = Session::new(&daemon).await;
        session.send(Request::Open(options)).await;
        let (got, message) = session.error().await;
        assert_eq!(got, code, "{message}");
        assert!(message.contains(text), "{message:?} should say {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_update_ends_the_stream_after_the_answers() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    let thresholds = pb::Thresholds {
        iou: Some(2.0),
        ..Default::default()
    };
    session
        .send(Request::Update(pb::SessionUpdate {
            thresholds: Some(thresholds),
            ..Default::default()
        }))
        .await;
    assert_eq!(outcome(&session.frame_reply().await), "9 cells");
    assert_eq!(
        session.error().await,
        (
            Code::InvalidArgument,
            "thresholds.iou 2: must be 0 to 1".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_must_open() {
    let daemon = Daemon::instant();
    for (request, kind) in [
        (Request::Frame(frame(1)), "a frame"),
        (Request::Update(Default::default()), "an update"),
        (Request::Cancel(Default::default()), "a cancel"),
    ] {
        let mut session = Session::new(&daemon).await;
        session.send(request).await;
        let text = format!("the first message must be `open`, but it was {kind}");
        assert_eq!(session.error().await, (Code::InvalidArgument, text));
    }
    let mut session = Session::new(&daemon).await;
    session.half_close();
    let text = "the first message must be `open`, but it was none".to_owned();
    assert_eq!(session.error().await, (Code::InvalidArgument, text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_ends_the_stream_after_the_answers() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    session.send(Request::Open(Default::default())).await;
    assert_eq!(session.frame_reply().await.id, 1);
    let (code, text) = session.error().await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("a second `open`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_ends_the_stream() {
    let limits = LimitSettings {
        max_frame_bytes: 1 << 20,
        ..Default::default()
    };
    let daemon = Daemon::limited(limits);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    let image = pb::EncodedImage {
        data: vec![0; 3 << 20].into(),
        page: 0,
    };
    let too_large = pb::Frame {
        pixels: Some(pb::frame::Pixels::Encoded(image)),
        ..frame(2)
    };
    session.send(Request::Frame(too_large)).await;
    assert_eq!(session.frame_reply().await.id, 1);
    let (code, text) = session.error().await;
    assert_eq!(code, Code::OutOfRange, "{text}");
    assert!(text.contains("2097152"), "{text:?} names the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sessions_than_the_settings_allow() {
    let limits = LimitSettings {
        sessions: 2,
        ..Default::default()
    };
    let daemon = Daemon::limited(limits);
    let (first, _) = Session::open(&daemon, Default::default()).await;
    let (_second, _) = Session::open(&daemon, Default::default()).await;
    let mut third = Session::new(&daemon).await;
    // The daemon may say no before it is asked.
    third.try_send(Request::Open(Default::default())).await;
    let (code, text) = third.error().await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.starts_with("2 sessions are open"), "{text}");
    first.close().await;
    Session::open(&daemon, Default::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_opens_is_told() {
    let limits = LimitSettings {
        first_message_s: 0,
        ..Default::default()
    };
    let daemon = Daemon::limited(limits);
    let mut session = Session::new(&daemon).await;
    assert_eq!(
        session.error().await,
        (
            Code::DeadlineExceeded,
            "no first message within 0 s".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_answers_what_is_in_flight() {
    let (gate, backend) = Gate::new();
    let mut daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for id in 1..=2 {
        session.send(Request::Frame(frame(id))).await;
    }
    let running = gate.started().await;
    session.send(Request::Update(Default::default())).await;
    let_it_be_read().await;
    daemon.stop();
    running.answer(3);
    gate.started().await.answer(4);
    for cells in ["3 cells", "4 cells"] {
        assert_eq!(outcome(&session.frame_reply().await), cells);
    }
    assert!(matches!(session.reply().await, Reply::Changed(_)));
    let (code, text) = session.error().await;
    assert_eq!(code, Code::Unavailable);
    assert!(text.contains("draining"), "{text}");
    assert_eq!(daemon.ended().await, cellsegd::server::Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_answers_a_frame_without_a_stream() {
    let (gate, backend) = Gate::new();
    let mut daemon = Daemon::start(Settings::default(), backend, 1);
    let address = daemon.address.clone();
    let asked = tokio::spawn(async move {
        let mut client = SegmenterClient::connect(address).await.unwrap();
        let request = pb::SegmentRequest {
            options: None,
            frame: Some(frame(1)),
        };
        client.segment(request).await
    });
    let running = gate.started().await;
    daemon.stop();
    let_it_be_read().await;
    running.answer(3);
    let reply = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let reply = reply.unwrap().unwrap().into_inner();
    assert_eq!(outcome(&reply.frame.unwrap()), "3 cells");
    assert_eq!(daemon.ended().await, cellsegd::server::Ended::Drained);
}
