//! Options, updates and revisions; thresholds of one frame.

use cellsegd::{
    config::Settings,
    params::{MinSpan, Normalization},
    proto::{self as pb, normalization::Policy, stream_reply::Reply, stream_request::Request},
};

use crate::{
    client::{Session, frame},
    daemon::{Daemon, Gate},
};

fn confidence(confidence: f32) -> pb::Thresholds {
    pb::Thresholds {
        confidence: Some(confidence),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_opening_states_every_default() {
    let daemon = Daemon::instant();
    let (_session, opened) = Session::open(&daemon, Default::default()).await;
    let settled = opened.settled.unwrap();
    let thresholds = settled.thresholds.unwrap();
    assert_eq!(
        (thresholds.confidence, thresholds.iou),
        (Some(0.25), Some(0.7))
    );
    assert_eq!(
        (thresholds.class_agnostic, thresholds.max_cells),
        (Some(false), Some(5000))
    );
    let outputs = settled.outputs.unwrap();
    assert_eq!(outputs.masks(), pb::MaskEncoding::CocoRle);
    assert_eq!(
        (outputs.label_image, outputs.raw_masks),
        (Some(false), Some(false))
    );
    assert_eq!(
        settled.normalization.unwrap().policy,
        Some(Policy::FullRange(pb::normalization::FullRange {}))
    );
    assert_eq!(settled.delivery, i32::from(pb::Delivery::Lossless));
    assert_eq!(settled.priority, i32::from(pb::Priority::Normal));
    assert_eq!(
        (settled.model.as_str(), opened.backend.as_str()),
        ("fake", "fake")
    );
    assert_eq!((opened.revision, opened.resumed), (1, false));
    let limits = opened.limits.unwrap();
    assert_eq!((limits.max_frame_bytes, limits.max_side), (64 << 20, 8192));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_answered_in_order_and_holds_for_the_frames_after_it() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    let percentiles = pb::normalization::Percentiles {
        low: 1.0,
        high: 99.0,
        smoothing: None,
        min_span: Some(7.0),
    };
    let update = pb::SessionUpdate {
        thresholds: Some(confidence(0.5)),
        normalization: Some(pb::Normalization {
            policy: Some(Policy::Percentiles(percentiles)),
        }),
        ..Default::default()
    };
    session.send(Request::Update(update)).await;
    session.send(Request::Frame(frame(2))).await;
    session
        .send(Request::Frame(pb::Frame {
            thresholds: Some(confidence(0.9)),
            ..frame(3)
        }))
        .await;
    session.send(Request::Frame(frame(4))).await;

    let mut seen = Vec::new();
    for _ in 0..4 {
        let started = gate.started().await;
        let params = &started.params;
        seen.push((params.thresholds.confidence, params.thresholds.iou));
        if seen.len() == 2 {
            let min_span = MinSpan::Counts(7.0);
            assert_eq!(
                params.normalization,
                Normalization::Percentiles {
                    low: 1.0,
                    high: 99.0,
                    min_span
                }
            );
        }
        started.answer(1);
    }
    assert_eq!(seen, [(0.25, 0.7), (0.5, 0.7), (0.9, 0.7), (0.5, 0.7)]);

    let first = session.frame_reply().await;
    assert_eq!((first.id, first.revision), (1, 1));
    match session.reply().await {
        Reply::Changed(changed) => {
            assert_eq!((changed.revision, changed.why.as_str()), (2, "update"));
            assert_eq!(
                changed.settled.unwrap().thresholds.unwrap().confidence,
                Some(0.5)
            );
            assert_eq!(changed.model.unwrap().name, "fake");
        }
        other => panic!("not the change: {other:?}"),
    }
    for id in 2..=4 {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, reply.revision), (id, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_echoed() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let metadata = pb::FrameMetadata {
        index: [("t".to_owned(), 3), ("p".to_owned(), 1)].into(),
        channel: "Phase".to_owned(),
        pixel_size_um: Some(0.65),
        pixel_to_stage: vec![0.65, 0.0, 10.0, 0.0, 0.65, 20.0],
        captured_at: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        }),
        properties: [("incubator".to_owned(), "A".to_owned())].into(),
        ..Default::default()
    };
    session
        .send(Request::Frame(pb::Frame {
            metadata: Some(metadata.clone()),
            ..frame(1)
        }))
        .await;
    let reply = session.frame_reply().await;
    assert_eq!(reply.metadata, Some(metadata));
    assert!(reply.received_at.is_some());
    assert!(reply.timing.unwrap().total > 0);
}
