//! What is asked of the stream for a frame, in order: kernels, engine, kernels, with marks between the stages.

use std::sync::Arc;

use super::Recording;
use crate::backend::{
    LaneError,
    cuda::{
        driver::{Context, CudaError, Event, Stream},
        kernels::LaneArgs,
        loaded::{Kernel, Kernels},
        trt,
    },
};

pub(super) struct Sequence {
    pub stream: Stream,
    pub kernels: Arc<Kernels>,
    /// Their one parameter, for each frame that the engine takes at a time.
    pub args: Vec<LaneArgs>,
    pub marks: Marks,
}

/// Between two stages each.
pub(super) struct Marks {
    pub start: Event,
    pub copied: Event,
    pub preprocessed: Event,
    pub inferred: Event,
    pub decoded: Event,
    pub exported: Event,
}

impl Marks {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, CudaError> {
        Ok(Marks {
            start: Event::timed(context)?,
            copied: Event::timed(context)?,
            preprocessed: Event::timed(context)?,
            inferred: Event::timed(context)?,
            decoded: Event::timed(context)?,
            exported: Event::timed(context)?,
        })
    }
}

impl Sequence {
    /// From the frame on the device to the answer on the host.
    pub(super) fn ask(
        &self,
        engine: &mut trt::Context,
        recording: Recording,
    ) -> Result<(), LaneError> {
        let Kernels {
            before,
            after,
            export,
        } = &*self.kernels;
        self.launch(before)?;
        self.mark(&self.marks.preprocessed, recording)?;
        // SAFETY: the stream lives, in the context that is current on the lane's thread.
        unsafe { engine.enqueue(self.stream.as_raw()) }
            .map_err(|error| self.engine_failed(&error, recording))?;
        self.mark(&self.marks.inferred, recording)?;
        self.launch(after)?;
        self.mark(&self.marks.decoded, recording)?;
        self.launch(export)?;
        self.mark(&self.marks.exported, recording)
    }

    fn launch(&self, kernels: &[Kernel]) -> Result<(), LaneError> {
        for (kernel, args) in kernels
            .iter()
            .flat_map(|kernel| self.args.iter().map(move |args| (kernel, args)))
        {
            for _ in 0..kernel.times {
                // SAFETY: every kernel takes one `LaneArgs` by value (`kernels`, tested against the source), which points into
                // the lane's buffers; those live until the lane has waited for the stream.
                unsafe {
                    self.stream
                        .launch(&kernel.function, kernel.blocks, kernel.threads, args)
                }?;
            }
        }
        Ok(())
    }

    fn mark(&self, mark: &Event, recording: Recording) -> Result<(), LaneError> {
        match recording {
            Recording::Plain => mark.record(&self.stream)?,
            // SAFETY: graph and marks are the lane's, which drops the graph first.
            Recording::InGraph => unsafe { mark.record_in_graph(&self.stream) }?,
        }
        Ok(())
    }

    /// TensorRT says that it failed, CUDA whether the device is lost.
    fn engine_failed(&self, error: &trt::TrtError, recording: Recording) -> LaneError {
        // A wait would spoil a capture, which failed on its own account.
        let device = match recording {
            Recording::Plain => self.stream.synchronize(),
            Recording::InGraph => Ok(()),
        };
        match device {
            Err(cuda) if cuda.is_sticky() => LaneError::Device(format!("{error}; {cuda}")),
            Err(cuda) => LaneError::Lane(format!("{error}; {cuda}")),
            Ok(()) => LaneError::Lane(error.to_string()),
        }
    }
}
