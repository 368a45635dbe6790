//! Every target on its corpus, on what once failed, and on changed copies of both: the same ones each time.
//!
//! `FUZZ_INPUTS=100000 cargo nextest run -p cellsegd-fuzz` tries more of them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let known = cellsegd_fuzz::TARGETS.map(|(name, _)| name);
            assert_eq!(known, [$(stringify!($name)),*]);
        }
    };
}

targets!(
    frame, image, compressed, stack, engine, onnx, manifest, rle, rings, session, messages,
    settings
);

fn replay(name: &str) {
    let target = cellsegd_fuzz::target(name).expect("a target of this name");
    let seeds: Vec<Vec<u8>> = ["corpus", "regressions"]
        .iter()
        .flat_map(|kind| files(kind, name))
        .map(|path| fs::read(path).expect("a readable seed"))
        .collect();
    assert!(!seeds.is_empty(), "no corpus for {name}");
    for seed in &seeds {
        run(name, target, seed);
    }
    let n_inputs = std::env::var("FUZZ_INPUTS").map_or(1500, |n| n.parse().expect("a number"));
    let mut random = Random(0x5eed);
    for _ in 0..n_inputs {
        let input = changed(&seeds, &mut random);
        run(name, target, &input);
    }
}

/// Sorted, so that a run is the same everywhere.
fn files(kind: &str, name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// An input that fails is kept, for `fuzz/regressions`.
fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let path = std::env::temp_dir().join(format!("cellsegd-fuzz-{name}"));
        fs::write(&path, input).expect("a writable temporary folder");
        eprintln!("{name} fails on {} bytes: {}", input.len(), path.display());
        resume_unwind(panic);
    }
}

/// A seed with a few changes of the kinds that parsers trip over.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 => {
                let number = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
                input[at..end].fill(number);
            }
            5 => {
                let bytes: Vec<u8> = (0..random.below(9)).map(|_| random.byte()).collect();
                input.splice(at..at, bytes);
            }
            _ if at < input.len() => input[at] ^= 1 << random.below(8),
            _ => input.push(random.byte()),
        }
    }
    input
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
