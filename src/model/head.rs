//! Which head a model has: by the shapes of its tensors, its task and the number of its class names.

use super::{
    Head, HeadShape, Tensors,
    onnx::{Element, Onnx, Tensor},
};

/// What a model takes and gives.
#[derive(Debug)]
pub(super) struct Interface {
    pub width: usize,
    pub height: usize,
    pub head: Head,
    pub tensors: Tensors,
}

/// Strides of the three levels at which YOLO's heads detect.
const STRIDES: [usize; 3] = [8, 16, 32];
const MAX_SIDE: usize = 4096;

/// `n_classes` where the metadata or the manifest name them. Err: what was found.
pub(super) fn interface(onnx: &Onnx, n_classes: Option<usize>) -> Result<Interface, String> {
    if let Some(task) = onnx.metadata.get("task").filter(|task| *task != "segment") {
        return Err(format!("a model for the task {task:?}"));
    }
    let (input, width, height) = input(onnx)?;
    let (detections, prototypes) = outputs(onnx)?;

    let [_, coefficients, rows, columns] = prototypes.shape[..] else {
        unreachable!("outputs() gives prototypes of four dimensions")
    };
    let coefficients =
        coefficients.ok_or_else(|| format!("prototypes of no fixed depth: {prototypes}"))?;
    let [_, first, last] = detections.shape[..] else {
        unreachable!("outputs() gives detections of three dimensions")
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
    // The number of anchors is a multiple of 21, one cell of each stride in a square of 32: never that of an end-to-end row.
    let end_to_end = last == Some(6 + coefficients);
    let head = match (first, n_classes) {
        (Some(rows), Some(classes)) if end_to_end => Head::YoloSegEndToEnd(shape(classes, rows)),
        (Some(channels), _) if !end_to_end => {
            let classes = channels.saturating_sub(4 + coefficients);
            if classes == 0 || n_classes.is_some_and(|n| n != classes) {
                return Err(refused());
            }
            let anchors = || STRIDES.iter().map(|s| (width / s) * (height / s)).sum();
            Head::YoloSeg(shape(classes, last.unwrap_or_else(anchors)))
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
    })
}

fn input(onnx: &Onnx) -> Result<(&Tensor, usize, usize), String> {
    let [input] = &onnx.inputs[..] else {
        return Err(format!(
            "{} inputs: {}",
            onnx.inputs.len(),
            list(&onnx.inputs)
        ));
    };
    let refused = || format!("input {input}");
    let [None | Some(1), Some(3), height, width] = input.shape[..] else {
        return Err(refused());
    };
    if input.element != Element::FLOAT {
        return Err(refused());
    }
    let [exported_height, exported_width] = exported_size(onnx).unwrap_or([640, 640]);
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

/// `imgsz` of the metadata: `[height, width]`.
fn exported_size(onnx: &Onnx) -> Option<[usize; 2]> {
    let text = onnx.metadata.get("imgsz")?;
    let (height, width) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some([height.trim().parse().ok()?, width.trim().parse().ok()?])
}

/// Detections and prototypes.
fn outputs(onnx: &Onnx) -> Result<(&Tensor, &Tensor), String> {
    let of_rank = |rank| {
        let mut found = onnx.outputs.iter().filter(|o| {
            // A batch of one; float64 is narrowed by the engine.
            o.shape.len() == rank
                && matches!(o.shape[0], None | Some(1))
                && [Element::FLOAT, Element::DOUBLE].contains(&o.element)
        });
        found.next().filter(|_| found.next().is_none())
    };
    of_rank(3)
        .zip(of_rank(4))
        .ok_or_else(|| format!("outputs {}", list(&onnx.outputs)))
}

fn list(tensors: &[Tensor]) -> String {
    let texts: Vec<String> = tensors.iter().map(Tensor::to_string).collect();
    texts.join(", ")
}
