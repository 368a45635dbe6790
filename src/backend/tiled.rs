//! Large frames in pieces of the network's size, above any lane.
//!
//! A tile is a frame: a crop over the same bytes, shown by what the whole frame's brightness says. So lanes know nothing of tiles,
//! and a frame that is tiled on a GPU gives the cells that it gives on a CPU.

use std::time::Instant;

use super::{Lane, LaneError, Ticket};
use crate::{
    decode::Seams,
    frame::Frame,
    geometry::{Letterbox, Tile, tiles},
    model::ModelSpec,
    params::{Normalization, Params, Tiling, TilingMode},
    preprocess::{self, Shown, scale_notice},
    segmentation::{Notice, NoticeCode, RawSegmentation, StageTimes},
};

/// How a frame is cut.
#[derive(Debug)]
struct Plan {
    tiles: Vec<Tile>,
    /// Input pixels a camera pixel.
    scale: f64,
    /// An instance nearer to a tile's edge may be cut by it; camera pixels.
    clear_px: u32,
}

/// Below it a tile has no room for a cell and its surroundings.
const SMALLEST_TILE_PX: u32 = 32;

/// One frame from pixels to raw masks on `lane`, which runs `model`: whole, or in tiles as `params` say. A sign of life and a look
/// for cancellation for each tile, at least.
pub fn segment(
    lane: &mut dyn Lane,
    model: &ModelSpec,
    frame: &Frame,
    params: &Params,
    ticket: &Ticket,
) -> Result<RawSegmentation, LaneError> {
    let plan = match scale(model, frame, &params.tiling) {
        None => return lane.segment(frame, params, ticket),
        Some(scale) => Plan::new(model, frame, scale, params.tiling.overlap),
    };
    match plan {
        Ok(plan) if plan.tiles.len() == 1 => {
            let params = Params {
                largest_scale: Some(plan.scale),
                ..params.clone()
            };
            lane.segment(frame, &params, ticket)
        }
        Ok(plan) => plan.segment(lane, model, frame, params, ticket),
        Err(why) if params.tiling.mode == TilingMode::On => {
            Err(LaneError::Frame(format!("tiling: {why}")))
        }
        // Nobody asked for it: a wrong pixel size must not cost the frame.
        Err(why) => {
            let mut whole = lane.segment(frame, params, ticket)?;
            whole.notices.push(Notice {
                code: NoticeCode::ScaleFarFromTrained,
                message: format!("not tiled: {why}"),
            });
            Ok(whole)
        }
    }
}

/// Refuses a frame that is to be tiled and cannot be: before a lane is asked. `Err`: why not.
pub fn check(model: &ModelSpec, frame: &Frame, tiling: &Tiling) -> Result<(), String> {
    match scale(model, frame, tiling) {
        Some(scale) if tiling.mode == TilingMode::On => {
            let plan = Plan::new(model, frame, scale, tiling.overlap);
            plan.map(|_| ()).map_err(|why| format!("tiling: {why}"))
        }
        _ => Ok(()),
    }
}

/// Input pixels a camera pixel at which the frame is tiled; none: it is not.
fn scale(model: &ModelSpec, frame: &Frame, tiling: &Tiling) -> Option<f64> {
    let pixel_um = frame.metadata().pixel_size_um;
    let pixel_um = pixel_um.filter(|&um| 0.0 < um && um.is_finite());
    let target_um = tiling.target_um_per_px.or(model.trained_um_per_px);
    match tiling.mode {
        TilingMode::Off => None,
        TilingMode::On => Some(match (pixel_um, target_um) {
            (Some(pixel_um), Some(target_um)) => pixel_um / target_um,
            _ => 1.0,
        }),
        TilingMode::Auto => {
            let (pixel_um, trained_um) = (pixel_um?, model.trained_um_per_px?);
            let whole = Letterbox::new((frame.width(), frame.height()), input(model));
            let (shrunk, _) = whole.scale();
            let too_small = shrunk < 1.0 && pixel_um / shrunk > 2.0 * trained_um;
            too_small.then_some(pixel_um / target_um?)
        }
    }
}

impl Plan {
    fn new(model: &ModelSpec, frame: &Frame, scale: f64, overlap: f64) -> Result<Plan, String> {
        let side = |input: u32| (f64::from(input) / scale) as u32;
        let (width_in, height_in) = input(model);
        let (width, height) = (side(width_in), side(height_in));
        if width.min(height) < SMALLEST_TILE_PX {
            return Err(format!(
                "a tile would be {width}x{height} px of the frame, enlarged {scale:.1} times: at least {SMALLEST_TILE_PX} px; is \
                 pixel_size_um right?"
            ));
        }
        // A mask's edge is known to a cell of the prototypes.
        let shape = model.head.shape();
        let cell_in = width_in.div_ceil(shape.prototype_width.max(1) as u32);
        let clear_px = (f64::from(cell_in) / scale).ceil().max(1.0) as u32;
        // Less than that and no seam could be seen across.
        let shared = |side: u32| {
            let asked = (f64::from(side) * overlap).ceil() as u32;
            asked.max(clear_px.saturating_mul(2)).min(side / 2)
        };
        let tiles = tiles(
            (frame.width(), frame.height()),
            (width, height),
            (shared(width), shared(height)),
        )
        .map_err(|error| error.to_string())?;
        Ok(Plan {
            tiles,
            scale,
            clear_px,
        })
    }

    fn segment(
        &self,
        lane: &mut dyn Lane,
        model: &ModelSpec,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError> {
        ticket.look()?;
        let started = Instant::now();
        // Of the whole frame: an empty tile must not be stretched until it shows something.
        let Shown {
            applied,
            own_span,
            mut notices,
        } = preprocess::window(frame, &params.normalization, &mut Default::default())
            .by(params.smoothed);
        let mut times = StageTimes {
            preprocess: started.elapsed(),
            ..StageTimes::default()
        };
        notices.extend(self.scale_notice(model, frame));
        let of_tile = Params {
            normalization: Normalization::Window {
                low: applied.low,
                high: applied.high,
            },
            smoothed: None,
            largest_scale: Some(self.scale),
            ..params.clone()
        };

        let size = (frame.width(), frame.height());
        let mut seams = Seams::new(size, &self.tiles, self.clear_px, &params.thresholds);
        let mut truncated = false;
        let batch = lane.batch().max(1);
        for (first, batch_of) in (0..).step_by(batch).zip(self.tiles.chunks(batch)) {
            let crops: Vec<Frame> = batch_of
                .iter()
                .map(|&tile| frame.crop(tile))
                .collect::<Option<_>>()
                .expect("tiles lie in their frame, at multiples of 4");
            let answers = lane.segment_many(&crops, &of_tile, ticket)?;
            for (tile, answer) in (first..).zip(answers) {
                truncated |= answer.truncated;
                times = times + answer.times;
                seams.add(tile, answer.instances);
            }
        }

        let started = Instant::now();
        let decoded = seams.finish(|| ticket.look())?;
        times.decode += started.elapsed();
        Ok(RawSegmentation {
            width: frame.width(),
            height: frame.height(),
            instances: decoded.instances,
            normalization: applied,
            own_span,
            truncated: truncated | decoded.truncated,
            notices,
            times,
            tiles: self.tiles.len() as u32,
        })
    }

    /// By the first tile: all are shown at one scale.
    fn scale_notice(&self, model: &ModelSpec, frame: &Frame) -> Option<Notice> {
        let Tile { width, height, .. } = *self.tiles.first()?;
        let letterbox = Letterbox::at_most((width, height), input(model), Some(self.scale));
        scale_notice(
            frame.metadata().pixel_size_um?,
            &letterbox,
            model.trained_um_per_px?,
        )
    }
}

fn input(model: &ModelSpec) -> (u32, u32) {
    (model.input_width, model.input_height)
}

#[cfg(test)]
mod tests;
