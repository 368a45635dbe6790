//! How many frames an engine takes at a time.

use std::{fmt, str::FromStr};

use crate::{backend::cuda::trt::Shapes, cli::UsageError, model::ModelFile};

/// The most that [`crate::model`] takes.
const MOST: u32 = 64;

/// "4", or "1..8".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    min: u32,
    max: u32,
}

/// The daemon runs one frame at a time.
pub(super) const ONE: Batch = Batch { min: 1, max: 1 };

impl FromStr for Batch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| (1..=MOST).contains(n));
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (number(min), number(max.trim_start_matches('='))),
            None => (number(text), number(text)),
        };
        match (min, max) {
            (Some(min), Some(max)) if min <= max => Ok(Batch { min, max }),
            _ => Err(format!(
                "{text:?} is neither N nor 1..N, with N from 1 to {MOST}"
            )),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "{}", self.min),
            false => write!(f, "{}..{}", self.min, self.max),
        }
    }
}

impl Batch {
    /// Shapes of `model`'s input: what its file leaves open is settled here.
    pub(super) fn shapes(wanted: Option<Batch>, model: &ModelFile) -> Result<Shapes, UsageError> {
        let input = model.tensors.iter().find(|tensor| tensor.input);
        let input = input.expect("a model that was read has an input");
        let sides = [model.spec.input_height, model.spec.input_width];
        let batch = match (input.dims[0], wanted) {
            (None, wanted) => wanted.unwrap_or(ONE),
            (Some(fixed), None) => Batch::fixed(fixed),
            (Some(fixed), Some(wanted)) if wanted == Batch::fixed(fixed) => wanted,
            (Some(fixed), Some(_)) => {
                return Err(UsageError(format!(
                    "the ONNX file takes exactly {fixed} frame{} at a time: leave --batch out, or export it with a dynamic \
                     batch (ultralytics: dynamic=True)",
                    if fixed == 1 { "" } else { "s" }
                )));
            }
        };
        let dims = |frames: u32| {
            let [height, width] = sides;
            vec![i64::from(frames), 3, i64::from(height), i64::from(width)]
        };
        Ok(Shapes {
            tensor: input.name.clone(),
            min: dims(batch.min),
            // One frame at a time is what the daemon runs: made best for that.
            opt: dims(batch.min),
            max: dims(batch.max),
        })
    }

    fn fixed(frames: usize) -> Batch {
        let frames = u32::try_from(frames).unwrap_or(MOST);
        Batch {
            min: frames,
            max: frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn a_batch_is_a_number_or_a_range() {
        for (text, batch) in [
            ("1", Some((1, 1))),
            ("64", Some((64, 64))),
            ("1..8", Some((1, 8))),
            ("2..=4", Some((2, 4))),
            ("0", None),
            ("65", None),
            ("4..2", None),
            ("1..", None),
            ("many", None),
        ] {
            let batch = batch.map(|(min, max)| Batch { min, max });
            assert_eq!(text.parse::<Batch>().ok(), batch, "{text}");
        }
    }

    #[test]
    fn what_the_file_fixes_stays() {
        let mut model = model::bundled().unwrap();
        let shapes = Batch::shapes(None, &model).unwrap();
        assert_eq!(
            (&*shapes.tensor, &shapes.max[..]),
            ("images", &[1, 3, 640, 640][..])
        );
        let wanted = "1..4".parse().ok();
        let error = Batch::shapes(wanted, &model).unwrap_err().to_string();
        assert!(error.contains("exactly 1 frame at a time"), "{error}");
        let input = model
            .tensors
            .iter_mut()
            .find(|tensor| tensor.input)
            .unwrap();
        input.dims[0] = None;
        let shapes = Batch::shapes(wanted, &model).unwrap();
        assert_eq!((shapes.min[0], shapes.opt[0], shapes.max[0]), (1, 1, 4));
    }
}
