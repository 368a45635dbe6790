//! Large frames in pieces.

use super::super::{Refusal, known};
use crate::{
    params::{Tiling, TilingMode},
    proto::{self as pb, tiling::Mode},
};

/// With defaults where nothing was asked for.
pub(super) fn settled(asked: Option<&pb::Tiling>) -> Result<Tiling, Refusal> {
    let default = Tiling::default();
    let Some(asked) = asked else {
        return Ok(default);
    };
    let tiling = Tiling {
        mode: match known("tiling.mode", asked.mode)? {
            Mode::Unspecified | Mode::Auto => TilingMode::Auto,
            Mode::Off => TilingMode::Off,
            Mode::On => TilingMode::On,
        },
        overlap: asked.overlap.unwrap_or(default.overlap),
        target_um_per_px: asked.target_um_per_px,
    };
    tiling.check()?;
    Ok(tiling)
}

/// As the contract tells it, for a model trained at `trained_um_per_px`.
pub(super) fn told(tiling: &Tiling, trained_um_per_px: Option<f64>) -> pb::Tiling {
    let mode = match tiling.mode {
        TilingMode::Auto => Mode::Auto,
        TilingMode::Off => Mode::Off,
        TilingMode::On => Mode::On,
    };
    pb::Tiling {
        mode: mode.into(),
        overlap: Some(tiling.overlap),
        target_um_per_px: tiling.target_um_per_px.or(trained_um_per_px),
    }
}
