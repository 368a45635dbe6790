//! Which head a model has: by the shapes of its tensors, its task and the number of its class names.

use super::{
    Head, HeadShape, Tensors,
    tensor::{Element, TensorShape},
};

/// What a model takes and gives.
#[derive(Debug)]
pub(super) struct Interface {
    pub width: usize,
    pub height: usize,
    pub head: Head,
    pub tensors: Tensors,
    /// Frames at a time; None: dynamic.
    pub batch: Option<usize>,
}

/// What the file says beside its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    /// "segment".
    pub task: Option<String>,
    /// It was exported for: height, width.
    pub size: Option<[usize; 2]>,
    /// Class names, where the file or the manifest has them.
    pub n_classes: Option<usize>,
}

/// Which tensors are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub inputs: &'static [Element],
    pub outputs: &'static [Element],
    /// More than one frame at a time.
    pub batches: bool,
}

impl Rules {
    /// Of ONNX files; float64 is narrowed by the engine.
    pub(super) const ONNX: Rules = Rules {
        inputs: &[Element::F32],
        outputs: &[Element::F32, Element::F64],
        batches: false,
    };
    /// Of ONNX files that become engines.
    pub(super) const TO_BUILD: Rules = Rules {
        batches: true,
        ..Rules::ONNX
    };
    pub(super) const ENGINE: Rules = Rules {
        inputs: &[Element::F32, Element::F16, Element::U8, Element::I8],
        outputs: &[Element::F32, Element::F16, Element::I8],
        batches: true,
    };
}

/// Strides of the three levels at which YOLO's heads detect.
const STRIDES: [usize; 3] = [8, 16, 32];
const MAX_SIDE: usize = 4096;
const MAX_BATCH: usize = 64;

/// Err: what was found.
pub(super) fn interface(
    tensors: &[TensorShape],
    about: &About,
    rules: Rules,
) -> Result<Interface, String> {
    if let Some(task) = about.task.as_ref().filter(|task| *task != "segment") {
        return Err(format!("a model for the task {task:?}"));
    }
    let n_classes = about.n_classes;
    let (inputs, outputs): (Vec<&TensorShape>, _) = tensors.iter().partition(|tensor| tensor.input);
    let (input, width, height) = input(&inputs, about, rules)?;
    let (detections, prototypes) = detections_and_prototypes(&outputs, input.dims[0], rules)?;

    let [_, coefficients, rows, columns] = prototypes.dims[..] else {
        unreachable!("detections_and_prototypes() gives prototypes of four dimensions")
    };
    let coefficients =
        coefficients.ok_or_else(|| format!("prototypes of no fixed depth: {prototypes}"))?;
    let [_, first, last] = detections.dims[..] else {
        unreachable!("detections_and_prototypes() gives detections of three dimensions")
    };
    let refused = || {
        let classes = n_classes.map_or("no".to_owned(), |n| n.to_string());
        format!("outputs {detections} and {prototypes}, {classes} class names")
    };
    let shape = |classes, anchors| HeadShape {
        classes,
        coefficients,
        anchors,
        prototype_width: columns.unwrap_or(width / 4),
        prototype_height: rows.unwrap_or(height / 4),
    };
    let anchors: usize = STRIDES.iter().map(|s| (width / s) * (height / s)).sum();
    // The number of anchors is a multiple of 21, one cell of each stride in a square of 32: never that of an end-to-end row.
    let end_to_end = last == Some(6 + coefficients);
    let head = match (first, n_classes) {
        // As many rows as anchors: another head's output, transposed, of two classes. NMS leaves fewer.
        (Some(rows), _) if end_to_end && rows == anchors => return Err(refused()),
        (Some(rows), Some(classes)) if end_to_end => Head::YoloSegEndToEnd(shape(classes, rows)),
        (Some(channels), _) if !end_to_end => {
            let classes = channels.saturating_sub(4 + coefficients);
            if classes == 0 || n_classes.is_some_and(|n| n != classes) {
                return Err(refused());
            }
            Head::YoloSeg(shape(classes, last.unwrap_or(anchors)))
        }
        _ => return Err(refused()),
    };
    Ok(Interface {
        width,
        height,
        head,
        tensors: Tensors {
            input: input.name.clone(),
            detections: detections.name.clone(),
            prototypes: prototypes.name.clone(),
        },
        batch: input.dims[0],
    })
}

fn input<'t>(
    inputs: &[&'t TensorShape],
    about: &About,
    rules: Rules,
) -> Result<(&'t TensorShape, usize, usize), String> {
    let &[input] = inputs else {
        return Err(format!("{} inputs: {}", inputs.len(), list(inputs)));
    };
    let refused = || format!("input {input}");
    let [batch, Some(3), height, width] = input.dims[..] else {
        return Err(refused());
    };
    if !rules.inputs.contains(&input.element) || !batch_fits(batch, rules) {
        return Err(refused());
    }
    let [exported_height, exported_width] = about.size.unwrap_or([640, 640]);
    let (width, height) = (
        width.unwrap_or(exported_width),
        height.unwrap_or(exported_height),
    );
    match [width, height]
        .iter()
        .all(|&side| 0 < side && side <= MAX_SIDE && side % 32 == 0)
    {
        true => Ok((input, width, height)),
        false => Err(refused()),
    }
}

fn batch_fits(batch: Option<usize>, rules: Rules) -> bool {
    batch.is_none_or(|frames| frames == 1 || rules.batches && frames <= MAX_BATCH)
}

fn detections_and_prototypes<'t>(
    outputs: &[&'t TensorShape],
    batch: Option<usize>,
    rules: Rules,
) -> Result<(&'t TensorShape, &'t TensorShape), String> {
    let of_rank = |rank| {
        let mut found = outputs.iter().copied().filter(|output| {
            output.dims.len() == rank
                && rules.outputs.contains(&output.element)
                && output.dims[0]
                    .is_none_or(|frames| Some(frames) == batch || frames == 1 && batch.is_none())
        });
        found.next().filter(|_| found.next().is_none())
    };
    of_rank(3)
        .zip(of_rank(4))
        .ok_or_else(|| format!("outputs {}", list(outputs)))
}

fn list(tensors: &[&TensorShape]) -> String {
    let texts: Vec<String> = tensors.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
