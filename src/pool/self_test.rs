//! A frame with something in it, run through the lanes as any other before clients may send theirs.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{LanePool, Priority, Source, Work};
use crate::{
    backend::{LaneError, Ticket},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::ModelSpec,
    params::Params,
    segmentation::RawSegmentation,
};

/// The same frame so many times: the answers must be equal.
const RUNS: usize = 2;

/// A frame takes seconds on the slowest CPU; a lane that needs more is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

impl LanePool {
    /// Runs a frame twice: both answers must be sane and the same. Blocks. `Err` says what was wrong.
    pub fn self_test(&self) -> Result<(), String> {
        let (answers, received) = mpsc::channel();
        let test = Arc::new(SelfTest {
            left: Mutex::new(RUNS),
            frame: frame(self.model()),
            params: Arc::new(Params::new(
                self.model().thresholds.clone(),
                self.model().normalization,
            )),
            began: Instant::now(),
            answers,
        });
        let membership = self.join(Arc::clone(&test) as _, Priority::Normal);
        (0..RUNS).for_each(|_| membership.wake());
        let runs: Vec<RawSegmentation> = (0..RUNS)
            .map(|_| match received.recv_timeout(PATIENCE) {
                Ok(Ok(answer)) => sane(answer, self.model()),
                Ok(Err(error)) => Err(format!("the self-test's frame failed: {error}")),
                Err(_) => Err(format!(
                    "the self-test's frame was not answered within {} s",
                    PATIENCE.as_secs()
                )),
            })
            .collect::<Result<_, _>>()?;
        match runs
            .windows(2)
            .all(|pair| pair[0].instances == pair[1].instances)
        {
            true => Ok(()),
            false => Err("the same frame gave other cells the second time".to_owned()),
        }
    }
}

struct SelfTest {
    left: Mutex<usize>,
    frame: Frame,
    params: Arc<Params>,
    began: Instant,
    answers: mpsc::Sender<Result<RawSegmentation, LaneError>>,
}

impl Source for SelfTest {
    fn waiting_since(&self) -> Option<Instant> {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        (left > 0).then_some(self.began)
    }

    fn start(&self, _: Instant) -> Option<Work> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.checked_sub(1)?;
        let answers = self.answers.clone();
        Some(Work {
            frame: self.frame.clone(),
            params: Arc::clone(&self.params),
            ticket: Ticket::default(),
            // Nobody may wait any more.
            answer: Box::new(move |answer| drop(answers.send(answer))),
        })
    }
}

/// What any network must give: numbers that are numbers, in their ranges.
fn sane(answer: RawSegmentation, model: &ModelSpec) -> Result<RawSegmentation, String> {
    let (width, height) = (model.input_width, model.input_height);
    if (answer.width, answer.height) != (width, height) {
        return Err(format!(
            "the self-test's frame of {width} x {height} px was answered with {} x {} px",
            answer.width, answer.height
        ));
    }
    for cell in &answer.instances {
        let b = cell.detected_box;
        let finite = [b.x0, b.y0, b.x1, b.y1].iter().all(|edge| edge.is_finite());
        let in_range = (0.0..=1.0).contains(&cell.score);
        let known = (cell.class_index as usize) < model.classes.len();
        if !(finite && in_range && known) {
            return Err(format!(
                "the self-test found a cell of class {} with score {} in the box {b:?}: no network in order does",
                cell.class_index, cell.score
            ));
        }
    }
    Ok(answer)
}

/// Bright discs on a gradient, the same every time, of the model's own size.
fn frame(model: &ModelSpec) -> Frame {
    const PITCH: u32 = 40;
    const RADIUS_SQUARED: u32 = 14 * 14;
    let (width, height) = (model.input_width, model.input_height);
    let pixel = |x: u32, y: u32| {
        let from_centre = |at: u32| (at % PITCH).abs_diff(PITCH / 2).pow(2);
        match from_centre(x) + from_centre(y) < RADIUS_SQUARED {
            true => 200,
            false => 40 + (x * 40 / width) as u8,
        }
    };
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| pixel(x, y)))
        .collect();
    let layout = Layout {
        format: PixelFormat::Mono8,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    let limits = FrameLimits {
        max_frame_bytes: pixels.len() as u64,
        max_side: width.max(height),
    };
    Frame::new(
        layout,
        Bytes::from(pixels),
        FrameMetadata::default(),
        &limits,
    )
    .expect("a dense Mono8 frame of its own size is valid")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::backend::fake::{self, FakeBackend};

    #[test]
    fn answers_that_no_network_gives_are_refused() {
        let runs = AtomicUsize::new(0);
        type Spoil = fn(&mut RawSegmentation, usize);
        let cases: [(&str, Spoil); 6] = [
            ("", |_, _| ()),
            ("score NaN", |answer, _| {
                answer.instances[0].score = f32::NAN
            }),
            ("score 1.5", |answer, _| answer.instances[0].score = 1.5),
            ("class 7", |answer, _| answer.instances[0].class_index = 7),
            ("inf", |answer, _| {
                answer.instances[1].detected_box.x1 = f32::INFINITY;
            }),
            ("the second time", |answer, run| {
                answer.instances.truncate(1 + run % 2);
            }),
        ];
        let runs = Arc::new(runs);
        for (words, spoil) in cases {
            let runs = Arc::clone(&runs);
            let backend = FakeBackend::new(move |frame, _, _| {
                let mut answer = fake::cells(frame, 2, 4);
                spoil(&mut answer, runs.fetch_add(1, Ordering::Relaxed));
                Ok(answer)
            });
            let pool = LanePool::start(Arc::new(backend), 1).unwrap();
            match (pool.self_test(), words) {
                (Ok(()), "") => {}
                (Err(why), words) if !words.is_empty() => assert!(why.contains(words), "{why}"),
                (result, words) => panic!("{words:?}: {result:?}"),
            }
        }
    }
}
