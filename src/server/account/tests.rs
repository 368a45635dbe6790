use super::*;

fn reply(outcome: Outcome, total: u32) -> pb::FrameReply {
    pb::FrameReply {
        outcome: Some(outcome),
        timing: Some(pb::Timing {
            total,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn an_account_tells_what_became_of_the_frames() {
    let accounts = Accounts::new(Arc::default(), Traces::default());
    let who = Who {
        name: "scope-2".to_owned(),
        ..Default::default()
    };
    let account = accounts.open(who, &Parent::default(), "cell", 1);
    let now = Instant::now();
    for _ in 0..5 {
        account.arrived(None, now);
    }
    let summary = pb::FrameSummary {
        count: 7,
        confluence: 0.25,
        ..Default::default()
    };
    let segmentation = pb::Segmentation {
        summary: Some(summary),
        ..Default::default()
    };
    account.answered(&reply(Outcome::Segmentation(segmentation), 1500));
    let reason = pb::dropped::Reason::Deadline.into();
    account.answered(&reply(Outcome::Dropped(pb::Dropped { reason }), 0));
    for _ in 0..2 {
        let code = pb::failed::Code::LaneLost.into();
        let failed = pb::Failed {
            code,
            ..Default::default()
        };
        account.answered(&reply(Outcome::Failed(failed), 0));
    }
    account.changed("newer", 2);
    let status = account.status(now + Duration::from_secs(3));
    let counts = pb::SessionClosed {
        frames: 5,
        segmented: 1,
        dropped: 1,
        failed: 2,
    };
    assert_eq!(status.counts, Some(counts));
    assert_eq!((status.cells, status.confluence), (7, 0.25));
    assert_eq!((status.p50_us, status.p95_us), (1500, 1500));
    assert_eq!((status.model.as_str(), status.revision), ("newer", 2));
    assert_eq!(status.since_last_frame.map(|since| since.seconds), Some(3));
    assert_eq!(accounts.all().len(), 1);
    account.close();
    assert_eq!(accounts.all().len(), 0);
    let totals = Totals {
        segmented: 1,
        dropped: 1,
        failed: 2,
    };
    assert_eq!(accounts.totals(), totals, "they outlive the session");
    let text = accounts.metrics.text();
    let line = "cellsegd_frames_total{model=\"cell\",outcome=\"failed\",reason=\"LANE_LOST\"} 2";
    assert!(text.contains(line), "{text}");
}
