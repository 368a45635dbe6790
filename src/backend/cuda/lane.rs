//! One frame after the other on one CUDA stream; tiles of a frame as many at a time as the engine takes.
//!
//! Everything is allocated and captured when the lane opens, for the largest frame that the settings allow: the graph depends on
//! no frame, so a client that sends another shape each time costs nothing. For a frame: parameters and pixels into page-locked
//! memory, one copy, one launch of the graph, one wait; the answer lies in mapped host memory then.

mod seat;
mod sequence;

use std::{
    hint,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracing::warn;

use self::{
    seat::Seat,
    sequence::{Marks, Sequence},
};
use super::{
    driver::{self, DeviceBuffer, Event, Graph, HostBuffer, Stream},
    kernels::{self, Addresses, Answer, LaneArgs},
    loaded::{Loaded, Profile},
    trt,
};
use crate::{
    backend::{Lane, LaneError, Ticket},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::Element,
    params::Params,
    segmentation::{RawSegmentation, StageTimes},
};

/// A stream, its buffers, TensorRT's context and the graph over all of them.
///
/// **Invariant:** while work is under way nobody touches the buffers; `segment` returns after it is done, and `drop` waits.
pub(super) struct CudaLane {
    /// None: capturing failed, and everything is launched one by one.
    graph: Option<Graph>,
    /// There until the lane is dropped.
    engine: Option<trt::Context>,
    sequence: Sequence,
    /// After everything of a frame.
    done: Event,
    /// One for each frame that the engine takes at a time.
    seats: Vec<Seat>,
    /// What kernels and engine read and write; only their addresses are used.
    _device: Vec<DeviceBuffer>,
    loaded: Arc<Loaded>,
    _profile: Option<Profile>,
    /// Frames so far: each answer carries its number.
    n_frames: u64,
    /// Buffers that its thread had made when it was open.
    allocations: u64,
}

impl CudaLane {
    /// On the calling thread, where it stays.
    pub(super) fn open(loaded: &Arc<Loaded>) -> Result<Self, LaneError> {
        loaded.context.bind()?;
        let (context, sizes) = (&loaded.context, &loaded.sizes);
        let profile = loaded.profile()?;
        // Before the engine's context, which ends first if opening fails half-way.
        let stream = Stream::new(context, loaded.priority)?;
        let profile_index = profile.as_ref().map_or(0, Profile::index);
        // SAFETY: the lane's own stream, which runs the engine; it lives as long as the lane, and is waited for right here.
        let mut engine = unsafe {
            loaded
                .engine()
                .create_context(profile_index, stream.as_raw())
        }
        .map_err(lost)?;
        stream.synchronize()?;

        let mut device = Vec::new();
        let mut on_device = |n_bytes| {
            let buffer = DeviceBuffer::zeroed(context, n_bytes, &stream)?;
            let address = buffer.address();
            device.push(buffer);
            Ok::<u64, LaneError>(address)
        };
        let input = on_device(sizes.input)?;
        let detections = on_device(sizes.detections)?;
        let prototypes = on_device(sizes.prototypes)?;
        let tensors = &loaded.model.tensors;
        let mut addresses = vec![
            (tensors.input.clone(), input),
            (tensors.detections.clone(), detections),
            (tensors.prototypes.clone(), prototypes),
        ];
        // The engine writes all its outputs, also those that nobody reads.
        for tensor in loaded.engine().tensors() {
            if addresses.iter().all(|(name, _)| *name != tensor.name) {
                let n_bytes = bytes_of(tensor, loaded.storage.batch).map_err(LaneError::Lane)?;
                addresses.push((tensor.name.clone(), on_device(n_bytes)?));
            }
        }
        // Batch, height and width may be open in the plan.
        let dims = [
            loaded.storage.batch as i64,
            3,
            i64::from(loaded.model.input_height),
            i64::from(loaded.model.input_width),
        ];
        engine
            .set_input_shape(&tensors.input, &dims)
            .map_err(lost)?;
        for (name, address) in &addresses {
            // SAFETY: each buffer is as large as its tensor for this batch (`Sizes`, `bytes_of`), and lives in `device` until
            // the lane is dropped, which waits for the stream.
            unsafe { engine.set_tensor_address(name, *address) }.map_err(lost)?;
        }

        let (mut seats, mut args) = (Vec::new(), Vec::new());
        for place in 0..loaded.storage.batch as u64 {
            let seat = Seat {
                // First what a lane cannot do without.
                answer: HostBuffer::mapped(context, sizes.answer)?,
                upload: HostBuffer::to_send(context, sizes.upload)?,
                frame: DeviceBuffer::zeroed(context, sizes.upload, &stream)?,
                sequence: 0,
                n_bytes: 0,
                direct: None,
            };
            // A tensor's frames lie one after the other.
            let of = |tensor: u64, n_bytes: usize| {
                tensor + place * (n_bytes / loaded.storage.batch) as u64
            };
            args.push(LaneArgs::new(
                sizes,
                &Addresses {
                    upload: seat.frame.address(),
                    input: of(input, sizes.input),
                    detections: of(detections, sizes.detections),
                    prototypes: of(prototypes, sizes.prototypes),
                    workspace: on_device(sizes.workspace)?,
                    answer: seat.answer.device_address()?,
                },
            ));
            seats.push(seat);
        }
        let mut lane = CudaLane {
            graph: None,
            engine: Some(engine),
            sequence: Sequence {
                kernels: Arc::clone(&loaded.kernels),
                args,
                marks: Marks::new(context)?,
                stream,
            },
            done: Event::to_wait_for(context)?,
            seats,
            _device: device,
            loaded: Arc::clone(loaded),
            _profile: profile,
            n_frames: 0,
            allocations: 0,
        };
        lane.rehearse()?;
        lane.allocations = driver::allocations();
        Ok(lane)
    }

    /// Everything once, plainly: what is compiled or allocated at first use must not be so within a capture. Then the capture.
    fn rehearse(&mut self) -> Result<(), LaneError> {
        let blank = blank();
        let model = Arc::clone(&self.loaded.model);
        let params = Params::new(model.thresholds.clone(), model.normalization);
        self.fill(std::slice::from_ref(&blank), &params)?;
        self.start()?;
        self.wait()?;

        let engine = self.engine.as_mut().expect("there until it is dropped");
        // TensorRT-RTX compiled in that run.
        if let Err(error) = engine.save_kernels() {
            warn!(%error, "the next start compiles the engine's kernels again");
        }
        let sequence = &self.sequence;
        // SAFETY: kernels and engine touch the lane's buffers, and the marks are the lane's; all of them are dropped after the
        // graph (`drop`).
        let captured = unsafe {
            Graph::capture(&sequence.stream, || {
                sequence.ask(engine, Recording::InGraph)
            })
        };
        match captured {
            Ok(graph) => self.graph = Some(graph),
            Err(error @ LaneError::Device(_)) => return Err(error),
            Err(error) => {
                if !self.loaded.warned.swap(true, Ordering::Relaxed) {
                    warn!(%error, "no CUDA graph: kernels are launched one by one, which is slower");
                }
                // A capture that failed half-way may have left the engine in any state: a lane that cannot do this is broken.
                self.fill(std::slice::from_ref(&blank), &params)?;
                self.start()?;
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Parameters and pixels into the memory that goes up. There are at most as many frames as seats: the others get a pixel.
    fn fill(&mut self, frames: &[Frame], params: &Params) -> Result<(), LaneError> {
        let Loaded { sizes, model, .. } = &*self.loaded;
        let blank = blank();
        for (place, seat) in self.seats.iter_mut().enumerate() {
            self.n_frames += 1;
            let frame = frames.get(place).unwrap_or(&blank);
            // SAFETY: no copy is under way: the frames before were waited for, or the lane is not used any more.
            unsafe { seat.fill(self.n_frames, frame, params, sizes, model) }
                .map_err(LaneError::Frame)?;
        }
        Ok(())
    }

    /// Asks for everything that the frames in the seats need.
    fn start(&mut self) -> Result<(), LaneError> {
        let sequence = &self.sequence;
        let stream = &sequence.stream;
        sequence.marks.start.record(stream)?;
        for seat in &self.seats {
            // SAFETY: the lane touches no seat before `wait` has succeeded, and `drop` waits for the stream.
            unsafe { seat.copy_up(stream) }?;
        }
        sequence.marks.copied.record(stream)?;
        match &self.graph {
            // SAFETY: as for the copy.
            Some(graph) => unsafe { graph.launch(stream) }?,
            None => {
                let engine = self.engine.as_mut().expect("there until it is dropped");
                sequence.ask(engine, Recording::Plain)?;
            }
        }
        self.done.record(stream)?;
        Ok(())
    }

    /// Until the answer is there.
    fn wait(&self) -> Result<(), LaneError> {
        if !self.loaded.spins() {
            return Ok(self.done.wait()?);
        }
        while !self.done.is_done()? {
            hint::spin_loop();
        }
        Ok(())
    }
}

impl Lane for CudaLane {
    fn segment(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError> {
        let mut answers = self.run(std::slice::from_ref(frame), params, ticket)?;
        Ok(answers.swap_remove(0))
    }

    fn batch(&self) -> usize {
        self.seats.len()
    }

    fn segment_many(
        &mut self,
        tiles: &[Frame],
        params: &Params,
        ticket: &Ticket,
    ) -> Result<Vec<RawSegmentation>, LaneError> {
        let mut answers = Vec::with_capacity(tiles.len());
        for together in tiles.chunks(self.seats.len()) {
            answers.extend(self.run(together, params, ticket)?);
        }
        Ok(answers)
    }
}

impl CudaLane {
    /// As many frames as there are seats, at once.
    fn run(
        &mut self,
        frames: &[Frame],
        params: &Params,
        ticket: &Ticket,
    ) -> Result<Vec<RawSegmentation>, LaneError> {
        ticket.look()?;
        let started = Instant::now();
        self.fill(frames, params)?;
        let filled = started.elapsed();

        ticket.look()?;
        self.start()?;
        self.wait()?;
        ticket.beat();
        self.seats.iter_mut().for_each(|seat| seat.direct = None);

        let times = self.sequence.marks.times(filled)?;
        let read = frames.iter().zip(&self.seats).enumerate();
        let answers = read.map(|(place, (frame, seat))| {
            // All went through together: their time is counted once.
            let times = match place {
                0 => times,
                _ => StageTimes::default(),
            };
            self.read(frame, seat, params, times)
        });
        let answers = answers.collect();
        debug_assert_eq!(
            driver::allocations(),
            self.allocations,
            "an open lane makes no buffers"
        );
        answers
    }

    /// A seat's answer, after everything was waited for.
    fn read(
        &self,
        frame: &Frame,
        seat: &Seat,
        params: &Params,
        times: StageTimes,
    ) -> Result<RawSegmentation, LaneError> {
        // SAFETY: the device has done what it was asked for, and is asked again by `&mut self` only.
        let answer = unsafe { seat.answer.bytes() };
        let Loaded { sizes, model, .. } = &*self.loaded;
        let Answer {
            instances,
            normalization,
            own_span,
            truncated,
            notices,
        } = kernels::read(answer, sizes, seat.sequence, frame, params, model)
            .map_err(LaneError::Lane)?;
        Ok(RawSegmentation {
            width: frame.width(),
            height: frame.height(),
            instances,
            normalization,
            own_span,
            truncated,
            notices,
            times,
            tiles: 1,
        })
    }
}

impl Drop for CudaLane {
    /// First the work, then what would start more of it, then what it touched.
    fn drop(&mut self) {
        driver::report(self.sequence.stream.synchronize());
        drop(self.graph.take());
        drop(self.engine.take());
        // Buffers, marks and the stream follow in any order: nothing of them depends on another.
    }
}

/// Whether work is recorded as it runs or for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recording {
    Plain,
    InGraph,
}

impl Marks {
    /// `filled`: what the CPU needed to put the frame into memory that goes up.
    fn times(&self, filled: Duration) -> Result<StageTimes, LaneError> {
        Ok(StageTimes {
            copy_up: filled + self.copied.since(&self.start)?,
            preprocess: self.preprocessed.since(&self.copied)?,
            infer: self.inferred.since(&self.preprocessed)?,
            decode: self.decoded.since(&self.inferred)?,
            copy_down: self.exported.since(&self.decoded)?,
        })
    }
}

fn lost(error: trt::TrtError) -> LaneError {
    LaneError::Lane(error.to_string())
}

/// Of an output that nobody reads.
fn bytes_of(tensor: &trt::TensorInfo, batch: usize) -> Result<usize, String> {
    let element: usize = match tensor.element {
        Element::I8 | Element::U8 | Element::Bool => 1,
        Element::F16 | Element::Bf16 => 2,
        Element::F32 | Element::I32 => 4,
        // Nothing that TensorRT knows is wider.
        Element::F64 | Element::I64 | Element::Other(_) => 8,
    };
    let sides = tensor.dims.iter().enumerate().map(|(i, &dim)| match dim {
        -1 if i == 0 => Some(batch),
        dim => usize::try_from(dim).ok(),
    });
    let odd = |why| {
        format!(
            "output {} has the shape {:?}: {why}",
            tensor.name, tensor.dims
        )
    };
    let sides: Vec<usize> = sides
        .collect::<Option<_>>()
        .ok_or_else(|| odd("only the batch may be open"))?;
    sides
        .iter()
        .try_fold(element, |n, &side| n.checked_mul(side))
        .ok_or_else(|| odd("no memory holds that"))
}

/// The smallest frame that is one: every limit admits it.
fn blank() -> Frame {
    let layout = Layout {
        format: PixelFormat::Mono8,
        width: 1,
        height: 1,
        row_stride: 0,
        significant_bits: 0,
    };
    let limits = FrameLimits {
        max_frame_bytes: 1,
        max_side: 1,
    };
    Frame::new(
        layout,
        Bytes::from_static(&[0]),
        FrameMetadata::default(),
        &limits,
    )
    .expect("one pixel of one byte is a frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(dims: &[i64], element: Element) -> trt::TensorInfo {
        trt::TensorInfo {
            name: "extra".to_owned(),
            io: trt::Io::Output,
            element,
            dims: dims.to_vec(),
            on_host: false,
            vectorised: false,
            profiles: Vec::new(),
        }
    }

    #[test]
    fn an_output_that_nobody_reads_gets_its_room() {
        for (dims, element, n_bytes) in [
            (vec![1, 32, 160, 160], Element::F32, Ok(3_276_800)),
            (vec![-1, 10], Element::F16, Ok(40)),
            (vec![], Element::I8, Ok(1)),
        ] {
            assert_eq!(bytes_of(&output(&dims, element), 2), n_bytes, "{dims:?}");
        }
        let why = bytes_of(&output(&[1, -1], Element::F32), 1).unwrap_err();
        assert!(why.contains("extra") && why.contains("[1, -1]"), "{why}");
        // What overflows must not become a small buffer.
        for dims in [vec![1, 1 << 62], vec![1 << 32, 1 << 32]] {
            let why = bytes_of(&output(&dims, Element::F32), 1).unwrap_err();
            assert!(why.contains("no memory holds that"), "{why}");
        }
    }
}
