//! Parameters of requests and of their tensors: each client writes numbers in its own way.

use std::{collections::BTreeMap, fmt};

use tonic::Status;

use super::{
    super::{
        Peer,
        shm::{RegionError, Regions},
    },
    memory,
};
use crate::inference::{InferParameter, infer_parameter::ParameterChoice as Choice};

/// A parameter with its name.
#[derive(Clone, Copy)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    choice: Option<&'a Choice>,
}

/// Where in shared memory a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) region: String,
    /// Bytes from its start.
    pub(super) offset: u64,
    pub(super) byte_size: u64,
}

/// Of a tensor, beside [`Place`]'s: what HTTP's form of the protocol says of it.
const OF_TENSORS: [&str; 2] = ["binary_data", "binary_data_size"];

const REGION: &str = "shared_memory_region";
const BYTE_SIZE: &str = "shared_memory_byte_size";
const OFFSET: &str = "shared_memory_offset";

impl<'a> Parameter<'a> {
    pub(super) fn new(name: &'a str, parameter: &'a InferParameter) -> Self {
        Parameter {
            name,
            choice: parameter.parameter_choice.as_ref(),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Status> {
        match self.choice {
            Some(Choice::StringParam(text)) => Ok(text),
            _ => Err(self.wrong("a string")),
        }
    }

    pub(super) fn number(self) -> Result<f64, Status> {
        let number = match self.choice {
            Some(Choice::DoubleParam(number)) => Some(*number),
            Some(Choice::Int64Param(number)) => Some(*number as f64),
            Some(Choice::Uint64Param(number)) => Some(*number as f64),
            Some(Choice::StringParam(text)) => text.trim().parse().ok(),
            Some(Choice::BoolParam(_)) | None => None,
        };
        // Most of them are of single precision in the contract.
        number
            .filter(|number| (*number as f32).is_finite())
            .ok_or_else(|| self.wrong("a number between -3.4e38 and 3.4e38"))
    }

    pub(super) fn whole(self) -> Result<u64, Status> {
        let number = match self.choice {
            Some(Choice::Int64Param(number)) => u64::try_from(*number).ok(),
            Some(Choice::Uint64Param(number)) => Some(*number),
            Some(Choice::StringParam(text)) => text.trim().parse().ok(),
            Some(Choice::DoubleParam(_) | Choice::BoolParam(_)) | None => None,
        };
        number.ok_or_else(|| self.wrong("a whole number from 0"))
    }

    pub(super) fn whole_32(self) -> Result<u32, Status> {
        let number = self.whole()?;
        u32::try_from(number).map_err(|_| self.wrong("a whole number of at most 32 bits"))
    }

    pub(super) fn flag(self) -> Result<bool, Status> {
        match self.choice {
            Some(Choice::BoolParam(flag)) => Ok(*flag),
            Some(Choice::Int64Param(0) | Choice::Uint64Param(0)) => Ok(false),
            Some(Choice::Int64Param(1) | Choice::Uint64Param(1)) => Ok(true),
            Some(Choice::StringParam(text)) if text == "true" => Ok(true),
            Some(Choice::StringParam(text)) if text == "false" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// The value of a word.
    pub(super) fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Result<T, Status> {
        let found = match self.choice {
            Some(Choice::StringParam(text)) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        found.map(|&(_, value)| value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            self.wrong(&format!("one of {}", known.join(", ")))
        })
    }

    /// Whether it is a string.
    pub(super) fn is_text(self) -> bool {
        matches!(self.choice, Some(Choice::StringParam(_)))
    }

    /// It is not what it has to be.
    pub(super) fn wrong(self, expected: &str) -> Status {
        Status::invalid_argument(format!(
            "parameter '{}' is {self}: {expected} is expected",
            self.name
        ))
    }
}

impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.choice {
            Some(Choice::BoolParam(flag)) => write!(f, "{flag}"),
            Some(Choice::Int64Param(number)) => write!(f, "{number}"),
            Some(Choice::Uint64Param(number)) => write!(f, "{number}"),
            Some(Choice::DoubleParam(number)) => write!(f, "{number}"),
            Some(Choice::StringParam(text)) => {
                // What is wrong shows in its beginning.
                let shown: String = text.chars().take(64).collect();
                write!(f, "{shown:?}")
            }
            None => write!(f, "empty"),
        }
    }
}

/// Where in shared memory `tensor` lies, by its parameters. None: it does not.
pub(super) fn place(
    parameters: &BTreeMap<String, InferParameter>,
    tensor: &str,
) -> Result<Option<Place>, Status> {
    let (mut region, mut byte_size, mut offset) = (None, None, 0);
    for (name, parameter) in parameters {
        let parameter = Parameter::new(name, parameter);
        match name.as_str() {
            REGION => region = Some(parameter.text()?.to_owned()),
            BYTE_SIZE => byte_size = Some(parameter.whole()?),
            OFFSET => offset = parameter.whole()?,
            other if OF_TENSORS.contains(&other) => {}
            other => {
                return Err(Status::invalid_argument(format!(
                    "{tensor}: unexpected parameter '{other}'; understood are {REGION}, {BYTE_SIZE}, {OFFSET}"
                )));
            }
        }
    }
    match (region, byte_size) {
        (None, None) => Ok(None),
        (Some(region), Some(byte_size)) => Ok(Some(Place {
            region,
            offset,
            byte_size,
        })),
        _ => Err(Status::invalid_argument(format!(
            "{tensor}: {REGION} and {BYTE_SIZE} belong together"
        ))),
    }
}

impl Place {
    /// Whether the caller has that memory. Errors: which of it there is not.
    pub(super) fn check(&self, regions: &Regions, peer: &Peer) -> Result<(), Status> {
        let len = usize::try_from(self.byte_size).unwrap_or(usize::MAX);
        match regions.slot(peer, &self.region, self.offset, len) {
            Ok(_) => Ok(()),
            Err(RegionError::NotFound(_)) => Err(memory::unknown(&self.region)),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, and whether an answer may be written there. Errors: as above, and memory that can only be read.
    pub(super) fn check_for_answer(&self, regions: &Regions, peer: &Peer) -> Result<(), Status> {
        self.check(regions, peer)?;
        // No bytes yet: it is refused as they would be.
        Ok(regions.write(peer, &self.region, self.offset, &[])?)
    }

    /// As the answer's tensor says it, with as many bytes as were written.
    pub(super) fn told(&self, written: usize) -> BTreeMap<String, InferParameter> {
        let whole = |number: u64| Choice::Int64Param(i64::try_from(number).unwrap_or(i64::MAX));
        let mut told = vec![
            (REGION, Choice::StringParam(self.region.clone())),
            (BYTE_SIZE, whole(written as u64)),
        ];
        if self.offset != 0 {
            told.push((OFFSET, whole(self.offset)));
        }
        let told = told.into_iter();
        told.map(|(name, choice)| (name.to_owned(), parameter(choice)))
            .collect()
    }
}

pub(super) fn parameter(choice: Choice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(choice),
    }
}
