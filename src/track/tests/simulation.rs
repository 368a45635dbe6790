//! Cells that crawl, grow, divide, enter, leave and are sometimes not seen, in a specimen larger than the frame; who they really
//! are is known.

use crate::{mask::Mask, segmentation::Instance};

use super::instance;

/// What is simulated.
pub(super) struct Scene {
    pub seed: u64,
    pub size: (u32, u32),
    /// In the whole specimen, at first.
    pub cells: usize,
    /// Pixels.
    pub radius: f64,
    /// Of each step, along x and along y, pixels.
    pub step: f64,
    /// A cell divides in a frame with this probability.
    pub divides: f64,
    /// A cell is not seen in a frame with this probability.
    pub unseen: f64,
}

impl Scene {
    /// Cells that nearly touch.
    pub(super) fn crowded(seed: u64) -> Self {
        Scene {
            seed,
            size: (480, 440),
            cells: 320,
            radius: 11.0,
            step: 1.0,
            divides: 0.0,
            unseen: 0.01,
        }
    }

    /// A sparser culture that grows.
    pub(super) fn growing(seed: u64) -> Self {
        Scene {
            seed,
            size: (512, 480),
            cells: 120,
            radius: 13.0,
            step: 2.5,
            divides: 0.008,
            unseen: 0.02,
        }
    }
}

/// A specimen, two frames wide and high; the frame lies in its middle.
pub(super) struct World {
    scene: Scene,
    random: Random,
    cells: Vec<Cell>,
    next_id: u64,
    stage: (f64, f64),
}

struct Cell {
    id: u64,
    mother: Option<u64>,
    frames: u32,
    shown: bool,
    place: (f64, f64),
    velocity: (f64, f64),
    /// Of the area of a usual cell.
    size: f64,
    angle: f64,
    stretch: f64,
    /// Frames until it divides, once it has rounded up.
    rounding: Option<u32>,
}

/// One frame and what is true of it.
pub(super) struct Shown {
    pub size: (u32, u32),
    pub instances: Vec<Instance>,
    /// Of each instance.
    pub truth: Vec<Truth>,
    /// Cells shown in the frame before of which both daughters are here.
    pub divisions: usize,
}

pub(super) struct Truth {
    pub id: u64,
    pub mother: Option<u64>,
    /// It is shown for the first time, in the frame after its mother was.
    pub is_first: bool,
}

impl World {
    pub(super) fn new(scene: Scene) -> Self {
        let mut world = World {
            random: Random(scene.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            cells: Vec::new(),
            next_id: 1,
            stage: (0.0, 0.0),
            scene,
        };
        let (width, height) = (f64::from(world.scene.size.0), f64::from(world.scene.size.1));
        for _ in 0..world.scene.cells * 40 {
            if world.cells.len() == world.scene.cells {
                break;
            }
            let place = (
                world.random.between(-width / 2.0, 1.5 * width),
                world.random.between(-height / 2.0, 1.5 * height),
            );
            let size = world.random.between(0.6, 1.3);
            if world.is_free(place, size) {
                world.add(None, place, size);
            }
        }
        world
    }

    /// The next frame, with the picture moved by `jump`.
    pub(super) fn next(&mut self, jump: (f64, f64)) -> Shown {
        self.stage = (self.stage.0 + jump.0, self.stage.1 + jump.1);
        let seen_before: Vec<u64> = self
            .cells
            .iter()
            .filter(|cell| cell.shown)
            .map(|cell| cell.id)
            .collect();
        self.crawl();
        self.divide();
        let mut shown = Shown {
            size: self.scene.size,
            instances: Vec::new(),
            truth: Vec::new(),
            divisions: 0,
        };
        let mut occupied = crate::mask::Occupied::new(self.scene.size.0, self.scene.size.1);
        let mut born = Vec::new();
        for cell in &mut self.cells {
            cell.frames += 1;
            cell.shown = false;
            let jitter = |random: &mut Random, by: f64| 1.0 + random.between(-by, by);
            let radius = self.scene.radius * cell.size.sqrt() * jitter(&mut self.random, 0.05);
            let radii = (
                radius * cell.stretch,
                radius / cell.stretch * jitter(&mut self.random, 0.05),
            );
            let place = (
                cell.place.0 + self.stage.0 + self.random.between(-0.5, 0.5),
                cell.place.1 + self.stage.1,
            );
            let Some(mut mask) = ellipse(place, radii, cell.angle, self.scene.size) else {
                continue;
            };
            occupied.claim(&mut mask);
            if mask.area() < 30 || self.random.next() < self.scene.unseen {
                continue;
            }
            cell.shown = true;
            let is_first = cell.frames == 1
                && cell
                    .mother
                    .is_some_and(|mother| seen_before.contains(&mother));
            if let Some(mother) = cell.mother.filter(|_| is_first) {
                born.push(mother);
            }
            shown.instances.push(instance(mask.trim(), 0));
            shown.truth.push(Truth {
                id: cell.id,
                mother: cell.mother,
                is_first,
            });
        }
        born.sort_unstable();
        shown.divisions = born
            .chunk_by(|a, b| a == b)
            .filter(|sisters| sisters.len() == 2)
            .count();
        shown
    }

    /// Steps that keep some of their direction, and nobody through anybody.
    fn crawl(&mut self) {
        for i in 0..self.cells.len() {
            let step = self.scene.step;
            let kick = (self.random.normal() * step, self.random.normal() * step);
            let cell = &self.cells[i];
            let velocity = (
                0.5 * cell.velocity.0 + 0.85 * kick.0,
                0.5 * cell.velocity.1 + 0.85 * kick.1,
            );
            let place = (cell.place.0 + velocity.0, cell.place.1 + velocity.1);
            let before = self.least_distance(i, self.cells[i].place);
            let after = self.least_distance(i, place);
            let cell = &mut self.cells[i];
            cell.size = (cell.size * 1.004).min(1.3);
            cell.angle += self.random.between(-0.1, 0.1);
            cell.velocity = (0.0, 0.0);
            if after >= 1.0 || after >= before {
                cell.place = place;
                cell.velocity = velocity;
            }
        }
    }

    /// Cells round up for two frames, then are two, side by side.
    fn divide(&mut self) {
        for i in 0..self.cells.len() {
            let starts = self.random.next() < self.scene.divides && self.cells[i].size > 0.8;
            let cell = &mut self.cells[i];
            match cell.rounding {
                None if starts => {
                    cell.rounding = Some(2);
                    cell.stretch = 1.0;
                    cell.size *= 0.8;
                }
                None => {}
                Some(0) => {
                    let (mother, place, size) = (cell.id, cell.place, cell.size * 0.55);
                    let angle = self.random.between(0.0, std::f64::consts::TAU);
                    let apart = self.scene.radius * size.sqrt() * self.random.between(1.0, 1.25);
                    let way = (apart * angle.cos(), apart * angle.sin());
                    self.add(Some(mother), (place.0 + way.0, place.1 + way.1), size);
                    let other_size = size * self.random.between(0.85, 1.15);
                    self.add(Some(mother), (place.0 - way.0, place.1 - way.1), other_size);
                    self.cells[i].id = 0;
                }
                Some(frames) => cell.rounding = Some(frames - 1),
            }
        }
        self.cells.retain(|cell| cell.id != 0);
    }

    fn add(&mut self, mother: Option<u64>, place: (f64, f64), size: f64) {
        self.cells.push(Cell {
            id: self.next_id,
            mother,
            frames: 0,
            shown: false,
            place,
            velocity: (0.0, 0.0),
            size,
            angle: self.random.between(0.0, 3.0),
            stretch: self.random.between(1.0, 1.3),
            rounding: None,
        });
        self.next_id += 1;
    }

    fn is_free(&self, place: (f64, f64), size: f64) -> bool {
        self.cells.iter().all(|cell| {
            apart(cell.place, place) > self.scene.radius * (cell.size.sqrt() + size.sqrt()) * 0.95
        })
    }

    /// To the nearest other cell, of the distance at which they touch.
    fn least_distance(&self, i: usize, place: (f64, f64)) -> f64 {
        let own = self.cells[i].size.sqrt();
        let others = self
            .cells
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != i);
        let distances = others.map(|(_, cell)| {
            apart(cell.place, place) / (self.scene.radius * (cell.size.sqrt() + own))
        });
        distances.fold(f64::INFINITY, f64::min)
    }
}

fn apart(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// The pixels of a frame whose middles lie in an ellipse; none if there is none.
pub(super) fn ellipse(
    middle: (f64, f64),
    radii: (f64, f64),
    angle: f64,
    size: (u32, u32),
) -> Option<Mask> {
    let most = radii.0.max(radii.1) + 1.0;
    let range = |middle: f64, size: u32| {
        let (from, to) = (
            ((middle - most).max(0.0)) as u32,
            ((middle + most).max(0.0) as u32 + 1).min(size),
        );
        (from < to).then_some((from, to))
    };
    let ((left, right), (top, bottom)) = (range(middle.0, size.0)?, range(middle.1, size.1)?);
    let mut mask = Mask::empty(left, top, right - left, bottom - top);
    let (sin, cos) = angle.sin_cos();
    for y in top..bottom {
        for x in left..right {
            let (dx, dy) = (f64::from(x) + 0.5 - middle.0, f64::from(y) + 0.5 - middle.1);
            let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
            if (along / radii.0).powi(2) + (across / radii.1).powi(2) <= 1.0 {
                mask.set(x - left, y - top);
            }
        }
    }
    (!mask.is_empty()).then(|| mask.trim())
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    /// 0..1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }

    /// Sum of twelve: near enough to a normal distribution, and exact on every machine.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}
