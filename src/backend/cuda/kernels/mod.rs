//! Our own kernels: what runs on the GPU before and after the engine.
//!
//! Each repeats a function of [`crate::preprocess`] or [`crate::decode`] bit for bit; those say what is computed, `*.cu` how it is
//! spread over threads. The committed PTX is made from them by `tools/ptx`, and the driver compiles it for its device.
//!
//! All take one [`LaneArgs`] by value, filled once when the lane opens. What differs from frame to frame goes up with the pixels
//! ([`fill`]), so a graph of these launches serves every frame. A thread takes every nth piece of the work, and how much there is
//! it reads from counters on the device: results depend on no grid and no order of threads.
//!
//! Why so, where one would expect otherwise:
//! - Pools have fixed sizes, those of [`crate::decode::Bounds`], and never grow: no frame costs a reallocation and a new graph, and
//!   CPU and GPU cut at the same cell.
//! - `paint` writes masks straight into the host's pinned memory while it computes; `export_answer` adds what is small. A copy
//!   of their own would come after everything else and take as long again.
//! - End-to-end heads share all kernels but two with the others: a second way to rank and select would be a second truth.
//! - `percentile` is one thread: it looks at four times 16 sums, where a search over 65,536 bins would need barriers.
//! - A candidate's rank is counted against all others, the square of their number: 72 million operations for 6,000 of them, and no
//!   sorting network. An input of 1,280 pixels whose every anchor passes would take 16 times as long as one of 640.

mod answer;
#[cfg(test)]
mod element;
mod layout;
mod upload;

pub(super) use answer::{Answer, read};
pub(super) use layout::{Addresses, LaneArgs, Sizes};
pub(super) use upload::{fill, fill_pixels, is_dense};

use crate::model::Head;

/// All kernels, for compute capability 7.5 and newer, PTX ISA 8.2 (CUDA 12.2).
pub(super) const PTX: &str = include_str!("cellsegd.ptx");

/// Some launches of one kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launch {
    /// As the PTX calls it.
    pub name: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// How often, one after the other.
    pub times: u32,
    blocks: Blocks,
}

#[derive(Clone, Copy, Debug)]
enum Blocks {
    One,
    /// As many as the device runs at once.
    Fill,
    /// A thread for each group of 16 histogram bins.
    BinGroups,
    Anchors,
    Candidates,
}

impl Launch {
    const fn new(name: &'static str, threads: u32, blocks: Blocks) -> Self {
        Launch {
            name,
            threads,
            times: 1,
            blocks,
        }
    }

    /// Blocks, all in one dimension.
    pub(super) fn grid(&self, sizes: &Sizes) -> u32 {
        match self.blocks {
            Blocks::One => 1,
            Blocks::Fill => sizes.blocks,
            Blocks::BinGroups => layout::BIN_GROUPS.div_ceil(self.threads),
            Blocks::Anchors => sizes.anchors.div_ceil(self.threads).max(1),
            Blocks::Candidates => sizes.max_candidates.div_ceil(self.threads).max(1),
        }
    }
}

/// Frame to the engine's input.
const BEFORE: [Launch; 5] = [
    Launch::new("prepare", 256, Blocks::Fill),
    Launch::new("survey", 256, Blocks::Fill),
    Launch::new("fold", 64, Blocks::BinGroups),
    Launch::new("percentile", 1, Blocks::One),
    Launch::new("letterbox", 256, Blocks::Fill),
];

/// The engine's outputs to masks, where NMS is ours.
const AFTER_DENSE: [Launch; 11] = [
    Launch::new("score", 128, Blocks::Anchors),
    Launch::new("rank", 256, Blocks::Fill),
    Launch::new("scatter", 128, Blocks::Anchors),
    Launch::new("overlap", 256, Blocks::Fill),
    Launch {
        times: 8,
        ..Launch::new("nms_round", 128, Blocks::Candidates)
    },
    Launch::new("nms_finish", 1, Blocks::One),
    SELECT,
    OFFSETS,
    LOGITS,
    PAINT,
    EXPORT,
];

/// The engine's outputs to masks, where NMS was the network's.
const AFTER_END_TO_END: [Launch; 9] = [
    Launch::new("score_end_to_end", 128, Blocks::Anchors),
    Launch::new("rank", 256, Blocks::Fill),
    Launch::new("scatter", 128, Blocks::Anchors),
    Launch::new("keep_all", 128, Blocks::Candidates),
    SELECT,
    OFFSETS,
    LOGITS,
    PAINT,
    EXPORT,
];

const SELECT: Launch = Launch::new("select_kept", 64, Blocks::Candidates);
const OFFSETS: Launch = Launch::new("offsets", 64, Blocks::Candidates);
const LOGITS: Launch = Launch::new("logits", 256, Blocks::Fill);
const PAINT: Launch = Launch::new("paint", 256, Blocks::Fill);
const EXPORT: Launch = Launch::new("export_answer", 64, Blocks::Candidates);

/// What to launch, in this order, before the engine. `_head` alters nothing yet.
pub(super) fn before_engine(_head: &Head) -> &'static [Launch] {
    &BEFORE
}

/// What to launch, in this order, after the engine.
pub(super) fn after_engine(head: &Head) -> &'static [Launch] {
    match head {
        Head::YoloSeg(_) => &AFTER_DENSE,
        Head::YoloSegEndToEnd(_) => &AFTER_END_TO_END,
    }
}

#[cfg(test)]
mod tests;
