//! A lane without its engine, and what tests feed it.

use std::{env, sync::Arc};

use crate::{
    backend::cuda::{
        device::{Device, probe},
        driver::{Context, CudaError, DeviceBuffer, HostBuffer, Stream},
        kernels::{self, Addresses, Answer, LaneArgs, Sizes},
        loaded::{Kernel, Kernels},
    },
    config::GpuPriority,
    decode::{self, Bounds, Outputs},
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    geometry::Letterbox,
    model::{ModelSpec, Storage, Stored, bundled},
    params::{MinSpan, Normalization, Params},
};

/// A lane without its engine. Its tensors lie in mapped host memory, so that a test writes and reads them itself.
pub(super) struct Bench {
    pub(super) model: ModelSpec,
    sizes: Sizes,
    pub(super) kernels: Kernels,
    pub(super) stream: Stream,
    upload: HostBuffer,
    frame: DeviceBuffer,
    pub(super) input: HostBuffer,
    detections: HostBuffer,
    prototypes: HostBuffer,
    answer: HostBuffer,
    args: LaneArgs,
    n_frames: u64,
    _workspace: DeviceBuffer,
    pub(super) context: Arc<Context>,
}

const MAX_FRAME_BYTES: usize = 8 << 20;

/// None, with the reason printed, where there is no driver; a failure where there is meant to be one.
pub(super) fn device() -> Option<Device> {
    let wanted = env::var("CELLSEGD_GPU__DEVICE").unwrap_or_else(|_| "0".to_owned());
    match probe().and_then(|gpus| gpus.choose(&wanted).cloned()) {
        Ok(device) => Some(device),
        Err(why) => {
            assert!(
                env::var("CELLSEGD_REQUIRE_GPU").as_deref() != Ok("1"),
                "CELLSEGD_REQUIRE_GPU=1, but: {why}"
            );
            eprintln!("skipped: {why}");
            None
        }
    }
}

impl Bench {
    pub(super) fn open() -> Option<Bench> {
        let device = device()?;
        let model = bundled().unwrap().spec;
        let storage = Storage {
            input: Stored::F32,
            detections: Stored::F32,
            prototypes: Stored::F32,
            batch: 1,
            dynamic_batch: false,
        };
        let sizes = Sizes::new(
            &model,
            &storage,
            &Bounds::default(),
            MAX_FRAME_BYTES,
            device.multiprocessors,
        );
        let context = Context::new(device.index as i32).unwrap();
        let stream = Stream::new(&context, GpuPriority::High).unwrap();
        let mapped = |n_bytes| HostBuffer::mapped(&context, n_bytes).unwrap();
        let (input, answer) = (mapped(sizes.input), mapped(sizes.answer));
        let (detections, prototypes) = (mapped(sizes.detections), mapped(sizes.prototypes));
        let frame = DeviceBuffer::zeroed(&context, sizes.upload, &stream).unwrap();
        let workspace = DeviceBuffer::zeroed(&context, sizes.workspace, &stream).unwrap();
        let addresses = Addresses {
            upload: frame.address(),
            input: input.device_address().unwrap(),
            detections: detections.device_address().unwrap(),
            prototypes: prototypes.device_address().unwrap(),
            workspace: workspace.address(),
            answer: answer.device_address().unwrap(),
        };
        Some(Bench {
            args: LaneArgs::new(&sizes, &addresses),
            kernels: Kernels::load(&context, &model.head, &sizes).unwrap(),
            upload: HostBuffer::to_send(&context, sizes.upload).unwrap(),
            model,
            sizes,
            stream,
            frame,
            input,
            detections,
            prototypes,
            answer,
            n_frames: 0,
            _workspace: workspace,
            context,
        })
    }

    pub(super) fn launch(&self, kernels: &[Kernel]) -> Result<(), CudaError> {
        for kernel in kernels {
            for _ in 0..kernel.times {
                // SAFETY: the kernels' own parameter, over buffers of `self`; every test synchronises before it goes on.
                unsafe {
                    self.stream
                        .launch(&kernel.function, kernel.blocks, kernel.threads, &self.args)
                }?;
            }
        }
        Ok(())
    }

    pub(super) fn launch_all(&self) -> Result<(), CudaError> {
        let Kernels {
            before,
            after,
            export,
        } = &self.kernels;
        [before, after, export]
            .into_iter()
            .try_for_each(|kernels| self.launch(kernels))
    }

    pub(super) fn copy_up(&mut self, frame: &Frame, params: &Params) {
        self.n_frames += 1;
        // SAFETY: every test synchronises before the next frame.
        let upload = unsafe { self.upload.bytes_mut() };
        let pixels = kernels::fill(
            upload,
            &self.sizes,
            self.n_frames,
            frame,
            params,
            &self.model,
        )
        .unwrap();
        let n_bytes = pixels.end;
        kernels::fill_pixels(&mut upload[pixels], frame);
        // SAFETY: as above.
        unsafe { self.stream.copy_up(&self.upload, &self.frame, n_bytes) }.unwrap();
    }

    pub(super) fn read(&self, frame: &Frame, params: &Params) -> Answer {
        self.stream.synchronize().unwrap();
        // SAFETY: nothing is under way.
        let answer = unsafe { self.answer.bytes() };
        kernels::read(
            answer,
            &self.sizes,
            self.n_frames,
            frame,
            params,
            &self.model,
        )
        .unwrap()
    }

    /// The engine's outputs, as if it had run.
    pub(super) fn set_outputs(&mut self, (detections, prototypes): &(Vec<f32>, Vec<f32>)) {
        for (buffer, numbers) in [
            (&mut self.detections, detections),
            (&mut self.prototypes, prototypes),
        ] {
            // SAFETY: nothing is under way.
            let bytes = unsafe { buffer.bytes_mut() };
            assert_eq!(bytes.len(), 4 * numbers.len());
            for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
                *bytes = number.to_ne_bytes();
            }
        }
    }

    pub(super) fn params(&self, normalization: Normalization) -> Params {
        Params::new(self.model.thresholds.clone(), normalization)
    }

    /// What the CPU makes of the same.
    pub(super) fn decoded(
        &self,
        outputs: &(Vec<f32>, Vec<f32>),
        frame: &Frame,
        params: &Params,
    ) -> decode::Decoded {
        decode::decode(
            &self.model.head,
            Outputs {
                detections: &outputs.0,
                prototypes: &outputs.1,
            },
            &self.letterbox(frame),
            &params.thresholds,
            &Bounds::default(),
            &mut decode::Scratch::default(),
        )
    }

    pub(super) fn letterbox(&self, frame: &Frame) -> Letterbox {
        let input = (self.model.input_width, self.model.input_height);
        Letterbox::new((frame.width(), frame.height()), input)
    }
}

/// Numbers of a fixed sequence, 0 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}

pub(super) fn frame(format: PixelFormat, width: u32, height: u32, padding: u32) -> Frame {
    let row_stride = format.row_bytes(width) as u32 + padding;
    let mut noise = Noise(u64::from(width));
    let data = (0..row_stride * height).map(|i| ((i % 251) as f32 * noise.next()) as u8);
    let layout = Layout {
        format,
        width,
        height,
        row_stride,
        significant_bits: 0,
    };
    Frame::new(
        layout,
        data.collect::<Vec<u8>>().into(),
        FrameMetadata::default(),
        &FrameLimits::default(),
    )
    .unwrap()
}

const PERCENTILES: Normalization = Normalization::Percentiles {
    low: 1.0,
    high: 99.5,
    min_span: MinSpan::Counts(10.0),
};

pub(super) fn frames() -> Vec<(Frame, Normalization)> {
    use PixelFormat::*;
    let window = Normalization::Window {
        low: 10.0,
        high: 700.0,
    };
    vec![
        (frame(Mono8, 640, 640, 0), Normalization::FullRange),
        (frame(Mono16, 1, 1, 0), PERCENTILES),
        (frame(Mono12, 333, 71, 3), PERCENTILES),
        (frame(Mono16, 2048, 2048, 0), PERCENTILES),
        (frame(Rgb8, 97, 513, 1), window),
        (frame(Bgra8, 801, 640, 0), Normalization::FullRange),
        (frame(Mono10, 5, 1999, 1), window),
        (frame(Mono12p, 333, 201, 0), PERCENTILES),
        (frame(Rgb16, 97, 65, 1), Normalization::FullRange),
    ]
}

/// Clumps of overlapping boxes, a third of them above the model's confidence; smooth prototypes.
pub(super) fn outputs(model: &ModelSpec, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let shape = model.head.shape();
    let mut noise = Noise(seed);
    let (n, width) = (shape.anchors, model.input_width as f32);
    let mut detections = vec![0.0; (4 + shape.classes + shape.coefficients) * n];
    for anchor in 0..n {
        let mut set = |row: usize, value: f32| detections[row * n + anchor] = value;
        let clump = (anchor % 40) as f32;
        set(0, clump * width / 40.0 + 12.0 * noise.next());
        set(1, (clump * 7.0 % 40.0) * width / 40.0 + 12.0 * noise.next());
        set(2, 4.0 + 36.0 * noise.next());
        set(3, 4.0 + 36.0 * noise.next());
        for class in 0..shape.classes {
            set(4 + class, noise.next() * 0.37);
        }
        for coefficient in 0..shape.coefficients {
            set(4 + shape.classes + coefficient, noise.next() - 0.5);
        }
    }
    let cells = shape.prototype_width * shape.prototype_height;
    let prototypes = (0..shape.coefficients * cells)
        .map(|i| ((i % cells) as f32 * 0.01 * (1 + i / cells) as f32).sin() + noise.next() * 0.1);
    (detections, prototypes.collect())
}
