//! A lane's thread: open, warm up, run frames, open again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
};

use bytes::Bytes;
use tracing::{error, info, warn};

use super::{
    REOPEN_AFTER, Work,
    beats::Chore,
    queue::{Next, Queue},
};
use crate::{
    backend::{Backend, Lane, LaneError, Ticket, tiled},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::ModelSpec,
    params::Params,
    segmentation::RawSegmentation,
};

/// Runs until the queue ends. Reports once whether the lane could be opened.
pub(super) fn run(
    backend: &dyn Backend,
    queue: &Queue,
    index: usize,
    report: mpsc::Sender<Result<(), LaneError>>,
) {
    let _alive = Alive(queue, index);
    queue.running().chore(index, Some(Chore::Opens));
    let opened = open(backend);
    queue.running().chore(index, None);
    let lane = match opened {
        Ok(lane) => lane,
        Err(error) => {
            // The pool may have given up on an earlier lane already.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(()));
    drop(report);
    run_frames(backend, queue, index, lane);
}

/// The same for a lane that is not up yet and may take its time: frames wait.
pub(super) fn run_when_it_opens(backend: &dyn Backend, queue: &Queue, index: usize) {
    let _alive = Alive(queue, index);
    if let Some(lane) = open_again(backend, queue, index) {
        run_frames(backend, queue, index, lane);
    }
}

fn run_frames(backend: &dyn Backend, queue: &Queue, index: usize, mut lane: Box<dyn Lane>) {
    loop {
        match queue.next() {
            Next::End => {
                // Until the thread is over.
                queue.running().chore(index, Some(Chore::Closes));
                return;
            }
            Next::Fail(work, why) => (work.answer)(Err(LaneError::Device(why))),
            Next::Run(work) => {
                let fate = run_frame(&mut *lane, backend.model(), queue, index, work);
                match fate {
                    Fate::Good => {}
                    Fate::Broken(why) => {
                        error!(%why, "lane lost, and the frame on it");
                        match reopen(backend, queue, index, lane) {
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

/// Tells the queue that the thread is over, however it ends.
struct Alive<'a>(&'a Queue, usize);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.running().chore(self.1, None);
        self.0.lane_ended();
    }
}

enum Fate {
    Good,
    Broken(String),
    DeviceLost(String),
}

fn run_frame(
    lane: &mut dyn Lane,
    model: &ModelSpec,
    queue: &Queue,
    index: usize,
    work: Work,
) -> Fate {
    let Work {
        frame,
        params,
        ticket,
        answer,
    } = work;
    queue.running().begin(index, ticket.clone(), answer);
    let result = segment(lane, model, &frame, &params, &ticket);
    let answer = queue.running().end(index);
    let fate = match &result {
        Ok(_) | Err(LaneError::Frame(_)) => Fate::Good,
        Err(LaneError::Lane(why)) => Fate::Broken(why.clone()),
        Err(LaneError::Device(why)) => Fate::DeviceLost(why.clone()),
    };
    // The pixels go before somebody is told: the answer makes room for the next frame.
    drop(frame);
    if let Some(answer) = answer {
        answer(result);
    }
    fate
}

/// A panic is a lost lane: its buffers may be in any state.
fn segment(
    lane: &mut dyn Lane,
    model: &ModelSpec,
    frame: &Frame,
    params: &Params,
    ticket: &Ticket,
) -> Result<RawSegmentation, LaneError> {
    let segment = || tiled::segment(lane, model, frame, params, ticket);
    catch_unwind(AssertUnwindSafe(segment))
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
    let params = Params::new(model.thresholds.clone(), model.normalization);
    segment(
        &mut *lane,
        model,
        &warm_up_frame(model),
        &params,
        &Ticket::default(),
    )?;
    Ok(lane)
}

fn reopen(
    backend: &dyn Backend,
    queue: &Queue,
    index: usize,
    broken: Box<dyn Lane>,
) -> Option<Box<dyn Lane>> {
    queue.lane_is_up(false);
    queue.running().chore(index, Some(Chore::Closes));
    if catch_unwind(AssertUnwindSafe(|| drop(broken))).is_err() {
        warn!("a broken lane panicked again while it was closed");
    }
    open_again(backend, queue, index)
}

/// Tries until it opens. None: the pool ended, or the device is lost.
fn open_again(backend: &dyn Backend, queue: &Queue, index: usize) -> Option<Box<dyn Lane>> {
    loop {
        queue.running().chore(index, Some(Chore::Opens));
        let opened = open(backend);
        queue.running().chore(index, None);
        match opened {
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

/// Fails the frames that wait now: the device is lost, and there may be no lane to do it.
pub(super) fn fail_waiting(queue: &Queue) {
    while let Some(next) = queue.try_next() {
        if let Next::Fail(work, why) = next {
            (work.answer)(Err(LaneError::Device(why)));
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
