//! A lane's thread: open, warm up, run frames, open again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
};

use bytes::Bytes;
use tracing::{error, info, warn};

use super::{
    REOPEN_AFTER, Work,
    queue::{Next, Queue},
};
use crate::{
    backend::{Backend, Lane, LaneError, Ticket},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::ModelSpec,
    params::Params,
    segmentation::RawSegmentation,
};

/// Runs until the queue ends. Reports once whether the lane could be opened.
pub(super) fn run(
    backend: &dyn Backend,
    queue: &Queue,
    report: mpsc::Sender<Result<(), LaneError>>,
) {
    let mut lane = match open(backend) {
        Ok(lane) => lane,
        Err(error) => {
            // The pool may have given up on an earlier lane already.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(()));
    drop(report);
    loop {
        match queue.next() {
            Next::End => return,
            Next::Fail(work, why) => (work.answer)(Err(LaneError::Device(why))),
            Next::Run(work) => {
                let fate = run_frame(&mut *lane, work);
                match fate {
                    Fate::Good => {}
                    Fate::Broken(why) => {
                        error!(%why, "lane lost, and the frame on it");
                        match reopen(backend, queue, lane) {
                            Some(open) => lane = open,
                            None => return,
                        }
                    }
                    Fate::DeviceLost(why) => {
                        error!(%why, "device lost");
                        queue.lose_device(&why);
                    }
                }
            }
        }
    }
}

enum Fate {
    Good,
    Broken(String),
    DeviceLost(String),
}

fn run_frame(lane: &mut dyn Lane, work: Work) -> Fate {
    let Work {
        frame,
        params,
        ticket,
        answer,
    } = work;
    let result = segment(lane, &frame, &params, &ticket);
    let fate = match &result {
        Ok(_) | Err(LaneError::Frame(_)) => Fate::Good,
        Err(LaneError::Lane(why)) => Fate::Broken(why.clone()),
        Err(LaneError::Device(why)) => Fate::DeviceLost(why.clone()),
    };
    // The pixels go before somebody is told: the answer makes room for the next frame.
    drop(frame);
    answer(result);
    fate
}

/// A panic is a lost lane: its buffers may be in any state.
fn segment(
    lane: &mut dyn Lane,
    frame: &Frame,
    params: &Params,
    ticket: &Ticket,
) -> Result<RawSegmentation, LaneError> {
    catch_unwind(AssertUnwindSafe(|| lane.segment(frame, params, ticket)))
        .unwrap_or_else(|panic| Err(LaneError::Lane(format!("panic: {}", panic_text(&*panic)))))
}

/// Opens a lane and runs a frame on it, so that the first client does not wait for what engines do on their first run.
fn open(backend: &dyn Backend) -> Result<Box<dyn Lane>, LaneError> {
    let opened = catch_unwind(AssertUnwindSafe(|| backend.open_lane()));
    let mut lane = opened.unwrap_or_else(|panic| {
        Err(LaneError::Lane(format!(
            "panic while opening: {}",
            panic_text(&*panic)
        )))
    })?;
    let model = backend.model();
    let params = Params {
        thresholds: model.thresholds.clone(),
        normalization: model.normalization,
    };
    segment(
        &mut *lane,
        &warm_up_frame(model),
        &params,
        &Ticket::default(),
    )?;
    Ok(lane)
}

fn reopen(backend: &dyn Backend, queue: &Queue, broken: Box<dyn Lane>) -> Option<Box<dyn Lane>> {
    queue.lane_is_up(false);
    if catch_unwind(AssertUnwindSafe(|| drop(broken))).is_err() {
        warn!("a broken lane panicked again while it was closed");
    }
    loop {
        match open(backend) {
            Ok(lane) => {
                info!("lane opened again");
                queue.lane_is_up(true);
                return Some(lane);
            }
            Err(LaneError::Device(why)) => {
                error!(%why, "device lost");
                queue.lose_device(&why);
                fail_all(queue);
                return None;
            }
            Err(error) => error!(%error, "lane cannot be opened, trying again"),
        }
        if queue.rest(REOPEN_AFTER) {
            return None;
        }
    }
}

/// Without a device every frame fails, until the pool ends.
fn fail_all(queue: &Queue) {
    loop {
        match queue.next() {
            Next::End => return,
            Next::Fail(work, why) => (work.answer)(Err(LaneError::Device(why))),
            // Taken just before the device was lost.
            Next::Run(work) => (work.answer)(Err(LaneError::Lane("no lane is open".to_owned()))),
        }
    }
}

/// A grey frame of the model's own size.
fn warm_up_frame(model: &ModelSpec) -> Frame {
    let (width, height) = (model.input_width, model.input_height);
    let layout = Layout {
        format: PixelFormat::Mono8,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    let bytes = u64::from(width) * u64::from(height);
    let limits = FrameLimits {
        max_frame_bytes: bytes,
        max_side: width.max(height),
    };
    Frame::new(
        layout,
        Bytes::from(vec![128; bytes as usize]),
        FrameMetadata::default(),
        &limits,
    )
    .expect("a dense Mono8 frame of its own size is valid")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
