//! One frame after the other through preprocessing, network and decoding.

use std::{sync::Arc, time::Instant};

use super::engine::Network;
use crate::{
    backend::{Lane, LaneError, Ticket},
    decode::{self, Bounds, Decoded},
    frame::Frame,
    geometry::Letterbox,
    model::ModelSpec,
    params::{Params, Span},
    preprocess,
    segmentation::{AppliedNormalization, Notice, RawSegmentation, StageTimes},
};

pub(super) struct CpuLane {
    model: Arc<ModelSpec>,
    pub(super) network: Network,
    preprocess: preprocess::Scratch,
    decode: decode::Scratch,
}

/// A frame whose raw outputs are in the network's buffers.
pub(super) struct Inferred {
    pub letterbox: Letterbox,
    pub normalization: AppliedNormalization,
    pub own_span: Option<Span>,
    pub notices: Vec<Notice>,
    pub times: StageTimes,
}

impl CpuLane {
    pub(super) fn new(model: Arc<ModelSpec>, network: Network) -> Self {
        CpuLane {
            model,
            network,
            preprocess: preprocess::Scratch::default(),
            decode: decode::Scratch::default(),
        }
    }

    /// As far as the network's raw outputs.
    pub(super) fn infer(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<Inferred, LaneError> {
        let mut times = StageTimes::default();
        ticket.look()?;
        let started = Instant::now();
        let letterbox = Letterbox::at_most(
            (frame.width(), frame.height()),
            (self.model.input_width, self.model.input_height),
            params.largest_scale,
        );
        let preprocess::Shown {
            applied,
            own_span,
            mut notices,
        } = preprocess::window(frame, &params.normalization, &mut self.preprocess)
            .by(params.smoothed);
        preprocess::letterbox(
            frame,
            &applied,
            &letterbox,
            self.network.input(),
            &mut self.preprocess,
        );
        let pixel_size_um = frame.metadata().pixel_size_um;
        if let Some((seen, trained)) = pixel_size_um.zip(self.model.trained_um_per_px) {
            notices.extend(preprocess::scale_notice(seen, &letterbox, trained));
        }
        times.preprocess = started.elapsed();

        ticket.look()?;
        let started = Instant::now();
        self.network.run().map_err(LaneError::Lane)?;
        times.infer = started.elapsed();
        Ok(Inferred {
            letterbox,
            normalization: applied,
            own_span,
            notices,
            times,
        })
    }
}

impl Lane for CpuLane {
    fn segment(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError> {
        let Inferred {
            letterbox,
            normalization,
            own_span,
            notices,
            mut times,
        } = self.infer(frame, params, ticket)?;

        ticket.look()?;
        let started = Instant::now();
        let Decoded {
            instances,
            truncated,
        } = decode::decode(
            &self.model.head,
            self.network.outputs(),
            &letterbox,
            &params.thresholds,
            &Bounds::default(),
            &mut self.decode,
        );
        times.decode = started.elapsed();
        ticket.beat();
        Ok(RawSegmentation {
            width: frame.width(),
            height: frame.height(),
            instances,
            normalization,
            truncated,
            notices,
            times,
            own_span,
            tiles: 1,
        })
    }
}
