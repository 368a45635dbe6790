use std::{
    collections::VecDeque,
    sync::{Mutex, mpsc},
};

use bytes::Bytes;

use super::*;
use crate::{
    backend::fake::{self, FakeBackend},
    frame::{FrameLimits, FrameMetadata, Layout, PixelFormat},
};

const PATIENCE: Duration = Duration::from_secs(10);

type Answers = mpsc::Receiver<(u8, Result<usize, String>)>;

/// Frames of one byte: the byte tells what the lane does and whose frame it was.
struct Frames {
    waiting: Mutex<VecDeque<(u8, Instant)>>,
    params: Arc<Params>,
    answers: mpsc::Sender<(u8, Result<usize, String>)>,
}

impl Frames {
    fn new(pool: &LanePool, bytes: &[u8]) -> (Arc<Self>, Answers) {
        let (answers, received) = mpsc::channel();
        let waiting = Mutex::new(bytes.iter().map(|&byte| (byte, Instant::now())).collect());
        let model = pool.model();
        let params = Params::new(model.thresholds.clone(), model.normalization);
        (
            Arc::new(Frames {
                waiting,
                params: Arc::new(params),
                answers,
            }),
            received,
        )
    }
}

impl Source for Frames {
    fn waiting_since(&self) -> Option<Instant> {
        self.waiting
            .lock()
            .unwrap()
            .front()
            .map(|(_, since)| *since)
    }

    fn start(&self, _: Instant) -> Option<Work> {
        let (byte, _) = self.waiting.lock().unwrap().pop_front()?;
        let answers = self.answers.clone();
        Some(Work {
            frame: frame(byte),
            params: Arc::clone(&self.params),
            ticket: Ticket::default(),
            answer: Box::new(move |result| {
                let result = result
                    .map(|raw| raw.instances.len())
                    .map_err(|error| error.to_string());
                let _ = answers.send((byte, result));
            }),
        })
    }
}

fn frame(byte: u8) -> Frame {
    let layout = Layout {
        format: PixelFormat::Mono8,
        width: 1,
        height: 1,
        row_stride: 0,
        significant_bits: 0,
    };
    Frame::new(
        layout,
        Bytes::from(vec![byte]),
        FrameMetadata::default(),
        &FrameLimits::default(),
    )
    .unwrap()
}

fn pool(
    lanes: usize,
    act: impl Fn(u8) -> Result<(), LaneError> + Send + Sync + 'static,
) -> LanePool {
    let backend = FakeBackend::new(move |frame, _, _| {
        act(frame.data()[0])?;
        Ok(fake::cells(frame, 1, 1))
    });
    LanePool::start(Arc::new(backend), lanes).unwrap()
}

fn collect(answers: &Answers, count: usize) -> Vec<(u8, Result<usize, String>)> {
    (0..count)
        .map(|_| {
            answers
                .recv_timeout(PATIENCE)
                .expect("an answer for each frame")
        })
        .collect()
}

#[test]
fn a_panic_fails_its_frame_and_the_lane_goes_on() {
    let pool = pool(1, |byte| match byte {
        1 => panic!("on order"),
        2 => Err(LaneError::Lane("on order".to_owned())),
        3 => Err(LaneError::Frame("on order".to_owned())),
        _ => Ok(()),
    });
    let (frames, answers) = Frames::new(&pool, &[0, 1, 2, 3, 4]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    let text = |text: &str| Err(text.to_owned());
    assert_eq!(
        collect(&answers, 5),
        [
            (0, Ok(1)),
            (1, text("lane lost: panic: on order")),
            (2, text("lane lost: on order")),
            (3, text("on order")),
            (4, Ok(1)),
        ]
    );
    assert_eq!(*pool.health().borrow(), Health::Serving);
}

#[test]
fn a_lost_device_fails_every_frame() {
    let pool = pool(2, |byte| match byte {
        1 => Err(LaneError::Device("on order".to_owned())),
        _ => Ok(()),
    });
    let (frames, answers) = Frames::new(&pool, &[1]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    collect(&answers, 1);
    let mut health = pool.health();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(health.wait_for(|health| *health == Health::DeviceLost))
        .unwrap();
    let (frames, answers) = Frames::new(&pool, &[0, 0]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    for (_, result) in collect(&answers, 2) {
        assert_eq!(result, Err("device lost: on order".to_owned()));
    }
}

#[test]
fn a_lane_that_cannot_be_opened_is_an_error_at_the_start() {
    let backend = FakeBackend::new(|_, _, _| panic!("no such device"));
    let error = LanePool::start(Arc::new(backend), 2)
        .err()
        .expect("an error");
    assert_eq!(error.to_string(), "lane lost: panic: no such device");
}

/// The order in which frames of several members start on one lane. The lane is held by a first frame until all have joined.
fn order(members: &[(&[u8], Priority)]) -> Vec<u8> {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let pool = pool(1, move |byte| {
        if byte == 255 {
            held.lock().unwrap().recv().expect("released");
        }
        Ok(())
    });
    let (blocker, _answers) = Frames::new(&pool, &[255]);
    let blocking = pool.join(blocker.clone(), Priority::Urgent);
    blocking.wake();
    while blocker.waiting_since().is_some() {
        std::thread::yield_now();
    }
    let (answers, received) = mpsc::channel();
    let joined: Vec<_> = members
        .iter()
        .map(|(bytes, priority)| {
            let (frames, _) = Frames::new(&pool, bytes);
            let frames = Arc::into_inner(frames).unwrap();
            pool.join(
                Arc::new(Frames {
                    answers: answers.clone(),
                    ..frames
                }),
                *priority,
            )
        })
        .collect();
    joined[0].wake();
    release.send(()).unwrap();
    let count = members.iter().map(|(bytes, _)| bytes.len()).sum();
    collect(&received, count)
        .into_iter()
        .map(|(byte, _)| byte)
        .collect()
}

#[test]
fn members_take_turns() {
    use Priority::Normal;
    let order = order(&[
        (&[10, 11, 12, 13], Normal),
        (&[20, 21], Normal),
        (&[30], Normal),
    ]);
    assert_eq!(order, [10, 20, 30, 11, 21, 12, 13]);
}

#[test]
fn an_urgent_frame_starts_first_and_background_last() {
    use Priority::{Background, Normal, Urgent};
    let order = order(&[
        (&[10], Background),
        (&[20, 21], Normal),
        (&[30, 31], Urgent),
    ]);
    assert_eq!(order, [30, 31, 20, 21, 10]);
}

#[test]
fn ending_the_pool_runs_what_waits() {
    let pool = pool(1, |_| Ok(()));
    let (frames, answers) = Frames::new(&pool, &[0; 20]);
    let member = pool.join(frames, Priority::Normal);
    drop(pool);
    drop(member);
    assert_eq!(collect(&answers, 20).len(), 20);
}

#[test]
fn a_lane_that_hangs_costs_the_device_and_holds_up_nobody() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = FakeBackend::new(move |frame, _, _| {
        if frame.data()[0] == 7 {
            // Until the test is over.
            let _ = held.lock().unwrap().recv();
        }
        Ok(fake::cells(frame, 1, 1))
    });
    let patience = Duration::from_millis(100);
    let pool = LanePool::start_with(Arc::new(backend), 1, patience).unwrap();
    let (frames, answers) = Frames::new(&pool, &[0, 7, 0, 0]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    assert_eq!(collect(&answers, 1), [(0, Ok(1))]);
    let why = "lane 0 gave no sign of life for 0.1 s";
    let lost = || Err(format!("device lost: {why}"));
    assert_eq!(
        collect(&answers, 3),
        [(7, lost()), (0, lost()), (0, lost())]
    );
    assert_eq!(*pool.health().borrow(), Health::DeviceLost);
    assert_eq!(pool.hung().as_deref(), Some(why));
    // The thread still waits: this must not.
    drop(pool);
    drop(release);
}

#[test]
fn a_slow_lane_that_beats_is_left_in_peace() {
    let backend = FakeBackend::new(|frame, _, ticket| {
        for _ in 0..40 {
            ticket.beat();
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(fake::cells(frame, 1, 1))
    });
    let patience = Duration::from_millis(200);
    let pool = LanePool::start_with(Arc::new(backend), 1, patience).unwrap();
    let (frames, answers) = Frames::new(&pool, &[0]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    assert_eq!(collect(&answers, 1), [(0, Ok(1))]);
    assert_eq!(pool.hung(), None);
}

#[test]
fn a_pool_that_was_abandoned_leaves_its_frames() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let pool = pool(1, move |byte| {
        if byte == 7 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(())
    });
    let (frames, _answers) = Frames::new(&pool, &[7]);
    let member = pool.join(frames.clone(), Priority::Normal);
    member.wake();
    while frames.waiting_since().is_some() {
        std::thread::yield_now();
    }
    pool.abandon();
    drop(pool);
    drop(release);
}

/// Lanes that never close.
struct NeverCloses(FakeBackend, Arc<Mutex<mpsc::Receiver<()>>>);

struct Stuck(
    Box<dyn crate::backend::Lane>,
    Arc<Mutex<mpsc::Receiver<()>>>,
);

impl Backend for NeverCloses {
    fn open_lane(&self) -> Result<Box<dyn crate::backend::Lane>, LaneError> {
        Ok(Box::new(Stuck(self.0.open_lane()?, Arc::clone(&self.1))))
    }

    fn model(&self) -> &Arc<ModelSpec> {
        self.0.model()
    }

    fn description(&self) -> &Description {
        self.0.description()
    }
}

impl crate::backend::Lane for Stuck {
    fn segment(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError> {
        self.0.segment(frame, params, ticket)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Until the test is over.
        let _ = self.1.lock().unwrap().recv();
    }
}

#[test]
fn a_lane_that_does_not_close_costs_the_device_and_nobody_waits_for_it() {
    let (release, held) = mpsc::channel::<()>();
    let fake = FakeBackend::new(|frame, _, _| match frame.data()[0] {
        9 => Err(LaneError::Lane("on order".to_owned())),
        _ => Ok(fake::cells(frame, 1, 1)),
    });
    let backend = Arc::new(NeverCloses(fake, Arc::new(Mutex::new(held))));
    let start = || LanePool::start_with(backend.clone(), 1, Duration::from_millis(10)).unwrap();
    let why = "lane 0 did not close within 0.1 s";
    // While it is paused,
    let pool = start();
    pool.pause();
    assert_eq!(pool.hung().as_deref(), Some(why));
    assert_eq!(*pool.health().borrow(), Health::DeviceLost);
    assert!(matches!(pool.resume(), Err(LaneError::Device(_))));
    drop(pool);
    // when its last user goes,
    drop(start());
    // and when it broke, before it is opened again.
    let pool = start();
    let (frames, answers) = Frames::new(&pool, &[9, 0]);
    let member = pool.join(frames, Priority::Normal);
    member.wake();
    assert_eq!(
        collect(&answers, 2)[1],
        (0, Err(format!("device lost: {why}")))
    );
    assert_eq!(pool.hung().as_deref(), Some(why));
    drop(pool);
    drop(release);
}
