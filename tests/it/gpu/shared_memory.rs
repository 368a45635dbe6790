//! Regions that the driver knows: frames go up from the controller's own memory.

use std::time::{Duration, Instant};

use cellsegd::proto::{
    self as pb, frame::Pixels, shared_memory_client::SharedMemoryClient, stream_request::Request,
};

use super::{
    machine::{Machine, Served, TRT_10},
    models,
    same_cells::{assert_same, cells, segmented},
};
use crate::{
    client::Session,
    daemon::PATIENCE,
    shared_memory::{Memory, has_none},
};

const PLAN: &str = "tensorrt=10.3.0\ncompute=8.9";

/// A daemon on emulated GPUs that registers regions with them.
fn machine() -> Option<Machine> {
    if has_none() {
        return None;
    }
    let machine = Machine::new(TRT_10)?;
    let key = "CELLSEGD_SHARED_MEMORY__KEYS";
    let machine = machine.with(key, "/cellsegd-it-*");
    Some(machine.with("CELLSEGD_SHARED_MEMORY__REGISTER_WITH_CUDA", "true"))
}

async fn controller(served: &Served) -> SharedMemoryClient<tonic::transport::Channel> {
    SharedMemoryClient::new(served.channel().await.unwrap())
}

/// The replies to the model's frames, each in a slot of its own.
async fn in_slots(session: &mut Session, memory: &Memory) -> Vec<pb::FrameReply> {
    let mut offset = 1;
    let mut replies = Vec::new();
    for (id, frame) in (0..).zip(models::frames()) {
        memory.write(offset, frame.data());
        let mut message = models::message(id, &frame);
        let Some(Pixels::Raw(mut layout)) = message.pixels.take() else {
            panic!("raw frames are sent raw");
        };
        layout.data.clear();
        message.pixels = Some(Pixels::Shared(pb::SharedSlot {
            region: "cam".to_owned(),
            offset: offset as u64,
            layout: Some(layout),
        }));
        session.send(Request::Frame(message)).await;
        replies.push(session.frame_reply().await);
        offset += frame.data().len() + 1;
    }
    replies
}

fn room() -> usize {
    let frames = models::frames();
    frames
        .iter()
        .map(|frame| frame.data().len() + 1)
        .sum::<usize>()
        + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_up_from_a_registered_region_and_give_the_same_cells() {
    let Some(machine) = machine() else {
        return;
    };
    let engine = machine.engine(PLAN);
    let served = machine
        .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
        .await;
    let memory = Memory::new(room());
    let mut controller = controller(&served).await;
    let wanted = memory.registration("cam", room());
    controller.register(wanted.clone()).await.unwrap();
    assert_eq!(machine.count("live_registered"), 1);
    let (mut session, _) = served.open(Default::default()).await;
    let found = in_slots(&mut session, &memory).await;
    let n_frames = models::frames().len() as i64;
    assert_eq!(machine.count("registered_copies"), n_frames);
    assert_same(&segmented(found), &cells(&served, &models::frames()).await);
    assert_eq!(machine.count("registered_copies"), n_frames);
    // Tiles are cut out of rows that are longer: they go up as ever.
    let tiled = pb::SessionOptions {
        tiling: Some(pb::Tiling {
            mode: pb::tiling::Mode::On.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = served.open(tiled).await;
    segmented(in_slots(&mut session, &memory).await);
    // Registered again it is another mapping; both are given back.
    controller.register(wanted).await.unwrap();
    controller
        .unregister(pb::UnregisterRegion::default())
        .await
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while machine.count("live_registered") > 0 {
        assert!(Instant::now() < until, "it stays registered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(machine.count("cuMemHostRegister"), 2);
    let (status, log) = served.stop();
    assert!(status.success(), "{status}\n{log}");
    machine.assert_nothing_is_left();
}

/// Also where the file was truncated: what the device reads is what it has locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_the_driver_cannot_take_or_that_goes_away_costs_its_frames_alone() {
    for (fault, copies) in [("register@host:1", 0), ("", 1)] {
        let Some(machine) = machine() else {
            return;
        };
        let machine = match copies {
            0 => machine.with_fault(fault),
            _ => machine,
        };
        let engine = machine.engine(PLAN);
        let served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
        let memory = Memory::new(room());
        let wanted = memory.registration("cam", room());
        controller(&served).await.register(wanted).await.unwrap();
        let (mut session, _) = served.open(Default::default()).await;
        let found = segmented(in_slots(&mut session, &memory).await);
        assert_eq!(machine.count("registered_copies").min(1), copies, "{fault}");
        memory.truncate();
        let gone = crate::shared_memory::slot(99, "cam", 0);
        session.send(Request::Frame(gone)).await;
        let reply = session.frame_reply().await;
        assert_eq!(crate::client::outcome(&reply), "InvalidFrame");
        assert_same(&found, &cells(&served, &models::frames()).await);
        let (status, log) = served.stop();
        assert!(status.success(), "{status}\n{log}");
        assert_eq!(log.contains("copied once more"), copies == 0, "{log}");
    }
}
