use proptest::prelude::*;

use super::{
    super::{
        Answer,
        element::{from_f16, to_f16},
    },
    F32, Random, model, noise, params,
    rig::{ORDERS, Rig, header},
    stored,
};
use crate::{
    decode::{Bounds, Decoded, Outputs, Scratch, decode},
    frame::{Frame, PixelFormat},
    geometry::Letterbox,
    model::{Head, HeadShape, Storage, Stored},
    params::{Normalization, Params},
};

/// A network's outputs, as a network may give them and as it may not.
struct Scene {
    head: Head,
    frame: Frame,
    params: Params,
    bounds: Bounds,
    detections: Vec<f32>,
    prototypes: Vec<f32>,
}

fn shape(classes: usize, anchors: usize) -> HeadShape {
    HeadShape {
        classes,
        coefficients: 5,
        anchors,
        prototype_width: 16,
        prototype_height: 24,
    }
}

const INPUT: (u32, u32) = (64, 96);

/// Holds whatever these scenes give.
const ROOMY: Bounds = Bounds {
    max_candidates: 8192,
    max_mask_words: 1 << 22,
    max_window_cells: 1 << 21,
};

impl Scene {
    /// `wild`: NaN, infinities and boxes that are none among the numbers.
    fn new(head: Head, seed: u64, wild: bool) -> Self {
        let mut random = Random(seed);
        let (width, height) = (1 + random.below(200), 1 + random.below(200));
        let frame = noise(
            PixelFormat::Mono8,
            (width as u32, height as u32),
            0,
            0,
            &mut random,
        );
        let s = *head.shape();
        let channels = match head {
            Head::YoloSeg(_) => 4 + s.classes + s.coefficients,
            Head::YoloSegEndToEnd(_) => 6 + s.coefficients,
        };
        let rows: Vec<Vec<f32>> = (0..s.anchors)
            .map(|_| {
                // Whole numbers and few scores: equal boxes, equal scores and overlaps at the threshold are common.
                let [x, y] = [INPUT.0, INPUT.1].map(|side| random.below(u64::from(side)) as f32);
                let [w, h] = [0, 1].map(|_| 2.0 + random.below(30) as f32);
                let mut row = match head {
                    Head::YoloSeg(_) => vec![x, y, w, h],
                    Head::YoloSegEndToEnd(_) => vec![x - w, y - h, x + w, y + h],
                };
                match head {
                    Head::YoloSeg(_) => {
                        row.extend((0..s.classes).map(|_| random.below(8) as f32 / 8.0))
                    }
                    Head::YoloSegEndToEnd(_) => row.extend([
                        random.below(8) as f32 / 8.0,
                        random.below(s.classes as u64 + 1) as f32,
                    ]),
                }
                row.extend((0..s.coefficients).map(|_| random.between(-1.0, 1.0)));
                if wild && random.below(3) == 0 {
                    let odd = [
                        f32::NAN,
                        f32::INFINITY,
                        f32::NEG_INFINITY,
                        f32::MAX,
                        -1.0,
                        -0.0,
                        0.5,
                        1e-40,
                        4_294_967_296.0,
                    ];
                    let at = random.below(row.len() as u64) as usize;
                    row[at] = odd[random.below(odd.len() as u64) as usize];
                }
                row
            })
            .collect();
        let detections = match head {
            Head::YoloSeg(_) => (0..channels)
                .flat_map(|channel| rows.iter().map(move |row| row[channel]))
                .collect(),
            Head::YoloSegEndToEnd(_) => rows.concat(),
        };
        let n_cells = s.coefficients * s.prototype_width * s.prototype_height;
        let prototypes = (0..n_cells).map(|_| random.between(-1.0, 1.0)).collect();
        Scene {
            head,
            frame,
            params: params(Normalization::FullRange),
            bounds: ROOMY,
            detections,
            prototypes,
        }
    }

    fn expected(&self) -> Decoded {
        let cam = (self.frame.width(), self.frame.height());
        decode(
            &self.head,
            Outputs {
                detections: &self.detections,
                prototypes: &self.prototypes,
            },
            &Letterbox::new(cam, INPUT),
            &self.params.thresholds,
            &self.bounds,
            &mut Scratch::default(),
        )
    }

    /// None: no compiler. With what a lane was left with.
    fn on_device(&self, storage: &Storage, order: i32) -> Option<(Answer, Needed)> {
        let model = model(self.head, INPUT);
        let mut rig = Rig::new(&model, storage, &self.bounds)?;
        rig.order = order;
        rig.before(&self.frame, &self.params);
        match storage.detections {
            Stored::F16 => {
                let halves = |values: &[f32]| -> Vec<[u8; 2]> {
                    values.iter().map(|&v| to_f16(v).to_ne_bytes()).collect()
                };
                rig.detections.write(halves(&self.detections));
                rig.prototypes.write(halves(&self.prototypes));
            }
            Stored::I8 { scale } => {
                let bytes = |values: &[f32]| -> Vec<[u8; 1]> {
                    values.iter().map(|v| [(v / scale) as i8 as u8]).collect()
                };
                rig.detections.write(bytes(&self.detections));
                rig.prototypes.write(bytes(&self.prototypes));
            }
            _ => {
                let floats = |values: &[f32]| -> Vec<[u8; 4]> {
                    values.iter().map(|v| v.to_ne_bytes()).collect()
                };
                rig.detections.write(floats(&self.detections));
                rig.prototypes.write(floats(&self.prototypes));
            }
        }
        let answer = rig.after(&self.frame, &self.params);
        let needed = Needed {
            unsettled: rig.header(header::N_UNSETTLED),
            words: rig.header(header::N_WORDS) as usize,
            cells: rig.header(header::N_CELLS) as usize,
        };
        Some((answer, needed))
    }
}

/// What the header says beside the answer.
struct Needed {
    /// Candidates that the rounds of NMS left.
    unsettled: u32,
    words: usize,
    cells: usize,
}

/// Err: what differs.
fn compare(expected: &Decoded, got: &Answer) -> Result<(), String> {
    if got.truncated != expected.truncated {
        return Err(format!("truncated: {}", got.truncated));
    }
    if got.instances.len() != expected.instances.len() {
        let (n_got, n_expected) = (got.instances.len(), expected.instances.len());
        return Err(format!("{n_got} instances instead of {n_expected}"));
    }
    let pairs = got.instances.iter().zip(&expected.instances);
    for (i, (got, expected)) in pairs.enumerate() {
        // Through text, so that -0 is not 0.
        if format!("{got:?}") != format!("{expected:?}") {
            return Err(format!("instance {i}: {got:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

fn check(scene: &Scene, order: i32) -> Result<(), String> {
    match scene.on_device(&F32, order) {
        Some((answer, _)) => compare(&scene.expected(), &answer),
        None => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn masks_are_the_cpu_s_bit_for_bit(
        classes in 1usize..4,
        anchors in 1usize..400,
        end_to_end: bool,
        wild: bool,
        iou in prop::sample::select(vec![0.0f32, 0.25, 0.5, 0.7, 1.0]),
        class_agnostic: bool,
        confidence in prop::sample::select(vec![0.0f32, 0.3, 0.5, 0.99]),
        max_cells in prop::sample::select(vec![1u32, 7, 64, 1000]),
        bounds in prop::sample::select(vec![
            ROOMY,
            Bounds { max_candidates: 40, ..ROOMY },
            Bounds { max_mask_words: 500, ..ROOMY },
            Bounds { max_window_cells: 600, ..ROOMY },
        ]),
        order in prop::sample::select(ORDERS.to_vec()),
        seed in 1u64..1 << 40,
    ) {
        let shape = shape(classes, anchors);
        let head = if end_to_end { Head::YoloSegEndToEnd(shape) } else { Head::YoloSeg(shape) };
        let mut scene = Scene::new(head, seed, wild);
        scene.bounds = bounds;
        let thresholds = &mut scene.params.thresholds;
        (thresholds.iou, thresholds.class_agnostic) = (iou, class_agnostic);
        (thresholds.confidence, thresholds.max_cells) = (confidence, max_cells);
        let result = check(&scene, order);
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}

#[test]
fn classes_have_their_own_confidence_and_may_be_left_out() {
    for order in ORDERS {
        let mut scene = Scene::new(Head::YoloSeg(shape(3, 300)), 11, false);
        let thresholds = &mut scene.params.thresholds;
        thresholds.class_confidence.insert(1, 0.8);
        thresholds.classes = vec![1, 2];
        check(&scene, order).unwrap();
        let expected = scene.expected().instances;
        assert!(!expected.is_empty() && expected.iter().all(|cell| cell.class_index > 0));
    }
}

#[test]
fn nothing_found_is_an_answer() {
    let mut scene = Scene::new(Head::YoloSeg(shape(2, 100)), 5, false);
    scene.params.thresholds.confidence = 1.0;
    assert!(scene.expected().instances.is_empty());
    check(&scene, 0).unwrap();
}

/// Every candidate overlaps the next: each fate hangs on the one before, and eight rounds settle no more than nine.
#[test]
fn chains_longer_than_the_rounds_are_settled_too() {
    let n = 200;
    let mut scene = Scene::new(Head::YoloSeg(shape(1, n)), 9, false);
    for i in 0..n {
        // Boxes of 16 pixels, 4 apart: an IoU of 0.6 with the next, of 1/3 with the one after it.
        let row = [i as f32 * 4.0, 40.0, 16.0, 16.0, 1.0 - i as f32 / 512.0];
        for (channel, value) in row.into_iter().enumerate() {
            scene.detections[channel * n + i] = value;
        }
    }
    scene.frame = noise(PixelFormat::Mono8, (800, 96), 0, 0, &mut Random(1));
    scene.params.thresholds.confidence = 0.1;
    for order in ORDERS {
        check(&scene, order).unwrap();
    }
    // Backwards nobody's predecessor is settled in the same round.
    let Some((_, Needed { unsettled, .. })) = scene.on_device(&F32, 1) else {
        return;
    };
    assert!(unsettled > 100, "{unsettled} left to nms_finish");
}

#[test]
fn masks_that_just_fit_the_bounds_are_all_there_and_one_word_or_cell_less_is_too_little() {
    let mut scene = Scene::new(Head::YoloSeg(shape(2, 200)), 41, false);
    scene.params.thresholds.max_cells = 1000;
    let Some((_, Needed { words, cells, .. })) = scene.on_device(&F32, 0) else {
        return;
    };
    for (max_mask_words, max_window_cells, truncated) in [
        (words, cells, false),
        (words - 1, cells, true),
        (words, cells - 1, true),
    ] {
        scene.bounds = Bounds {
            max_candidates: 8192,
            max_mask_words,
            max_window_cells,
        };
        assert_eq!(scene.expected().truncated, truncated);
        check(&scene, 2).unwrap();
    }
}

#[test]
fn more_candidates_than_a_word_of_words_and_exactly_whole_words_are_right() {
    for anchors in [63, 64, 65, 128, 4096, 5000] {
        let mut scene = Scene::new(Head::YoloSeg(shape(2, anchors)), 21, false);
        scene.params.thresholds.confidence = 0.0;
        scene.params.thresholds.max_cells = 5000;
        scene.params.thresholds.iou = 0.9;
        check(&scene, 2).unwrap_or_else(|why| panic!("{anchors} anchors: {why}"));
    }
}

#[test]
fn halves_and_bytes_are_read_as_what_they_stand_for() {
    for head in [
        Head::YoloSeg(shape(2, 300)),
        Head::YoloSegEndToEnd(shape(2, 300)),
    ] {
        for stored_as in [Stored::F16, Stored::I8 { scale: 0.5 }] {
            let mut scene = Scene::new(head, 33, false);
            let Some((answer, _)) = scene.on_device(&stored(Stored::F32, stored_as), 0) else {
                return;
            };
            let read = |value: &mut f32| {
                *value = match stored_as {
                    Stored::I8 { scale } => f32::from((*value / scale) as i8) * scale,
                    _ => from_f16(to_f16(*value)),
                }
            };
            scene.detections.iter_mut().for_each(read);
            scene.prototypes.iter_mut().for_each(read);
            let expected = scene.expected();
            assert!(!expected.instances.is_empty());
            compare(&expected, &answer).unwrap();
        }
    }
}
